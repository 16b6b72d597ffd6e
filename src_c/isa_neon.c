/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything for Advanced SIMD on AArch64.
 */
#if defined(__aarch64__)
#include <arm_neon.h>
#define ISA neon
#define ISA_WORDS "simd/neon.h"
#define VECTOR_BYTES 16
#define TILE 4
#define ISA_AVAILABLE 1
#include "spine.inc.h"
#else
typedef int gkl_not_here; /* ISO C wants a declaration */
#endif
