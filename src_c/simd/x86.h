/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The intrinsics of every instruction set, whichever the command line asks for: for Microsoft's
 * library, clang's immintrin.h leaves out the others.
 */
#include <immintrin.h>
#if defined(_MSC_VER)
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#include <avx512fintrin.h>
#include <avx512bwintrin.h>
#include <avx512dqintrin.h>
#endif
