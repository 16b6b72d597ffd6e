/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything for AVX-512 (F, DQ, VL, BW).
 */
#if defined(__x86_64__)
#include "simd/x86.h"
#include "internal.h" /* system headers stay outside the target region */

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")
#endif

#define ISA avx512
#define ISA_WORDS "simd/avx512.h"
#define VECTOR_BYTES 64
#define TILE 4
#define ISA_AVAILABLE \
    (__builtin_cpu_init(), __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") \
     && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
#include "spine.inc.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int gkl_not_here; /* ISO C wants a declaration */
#endif
