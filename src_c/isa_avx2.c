/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything for AVX2 with FMA.
 */
#if defined(__x86_64__)
#include "simd/x86.h"
#include "internal.h" /* system headers stay outside the target region */

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define ISA avx2
#define ISA_WORDS "simd/avx2.h"
#define VECTOR_BYTES 32
#define TILE 4
#define ISA_AVAILABLE \
    (__builtin_cpu_init(), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#include "spine.inc.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int gkl_not_here; /* ISO C wants a declaration */
#endif
