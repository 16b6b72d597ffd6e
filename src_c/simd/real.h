/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The element type of the files that follow.  Parameter: BITS, 32 or 64.
 */
#undef REAL
#undef INT
#undef SUFFIX
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef SMALLEST_NORMAL
#undef LARGEST
#undef MM_TYPE

#if BITS == 32
#define REAL float
#define INT int32_t
#define SUFFIX _f32
#define MM_TYPE _ps /* how the intrinsics call it */
#define MANTISSA_BITS (FLT_MANT_DIG - 1)
#define EXPONENT_BIAS (FLT_MAX_EXP - 1)
#define SMALLEST_NORMAL FLT_MIN
#define LARGEST FLT_MAX
#elif BITS == 64
#define REAL double
#define INT int64_t
#define SUFFIX _f64
#define MM_TYPE _pd
#define MANTISSA_BITS (DBL_MANT_DIG - 1)
#define EXPONENT_BIAS (DBL_MAX_EXP - 1)
#define SMALLEST_NORMAL DBL_MIN
#define LARGEST DBL_MAX
#else
#error BITS must be 32 or 64
#endif
