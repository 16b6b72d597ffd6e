/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names without suffix for the vector vocabulary, so that the mathematics reads as mathematics:
 * in a file that is read once for float and once for double, `vec` is vec_f32, then vec_f64, and
 * vmin is wmin_f32, then wmin_f64 (vmin_f32 belongs to arm_neon.h).
 */
#ifndef GKL_WORDS_H
#define GKL_WORDS_H

#define GKL_PASTE_(a, b) a##b
#define GKL_PASTE(a, b) GKL_PASTE_(a, b)
#define FN(name) GKL_PASTE(name, SUFFIX)

/* every vector function must melt into its caller: it is compiled for the caller's ISA */
#define INLINE static inline __attribute__((always_inline, unused))

/* before a loop of constant length */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#define vec FN(vec)   /* LANES numbers */
#define mask FN(mask) /* LANES truth values */
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))

#define vset(x) FN(wset)(x)                             /* x in every lane */
#define vload(p) FN(wload)(p)                           /* no alignment needed */
#define vload_part(p, n) FN(wload_part)(p, n)           /* n of them, no more is read; then 0 */
#define vstore(p, a) FN(wstore)(p, a)
#define vstream(p, a) FN(wstream)(p, a)                 /* past the cache, p aligned */
#define vwiden(a, low, high) FN(wwiden)(a, low, high)   /* its halves as double, BITS 32 */
#define vless(a, b) FN(wless)(a, b)                     /* false where either is NaN */
#define vless_equal(a, b) FN(wless_equal)(a, b)
#define vboth(a, b) FN(wboth)(a, b)
#define vselect(m, yes, no) FN(wselect)(m, yes, no)
#define vfma(a, b, c) FN(wfma)(a, b, c)                 /* a b + c, fused where the ISA can */
#define vfnma(a, b, c) FN(wfnma)(a, b, c)               /* c - a b, likewise */
#define vminus(a, p) FN(wminus)(a, p)                   /* a - *p, a number of the instruction */
#define vmin(a, b) FN(wmin)(a, b)                       /* b where either is NaN */
#define vmax(a, b) FN(wmax)(a, b)
#define vabs(a) FN(wabs)(a)
#define vsqrt(a) FN(wsqrt)(a)
#define vreciprocal(a) FN(wreciprocal)(a)               /* about 1/a: to 2^-12 at least */
#define vround(a) FN(wround)(a)                         /* nearest integer, ties to even */
#define vfloor(a) FN(wfloor)(a)
#define vpositive(a) FN(wpositive)(a)                   /* mask of 0 < a < inf */
#define vall(m) FN(wall)(m)                             /* is every lane true? */
#define vany(m) FN(wany)(m)                             /* is any? */
#define vbits(m) FN(wbits)(m)                           /* bit i: is lane i true? */
#define vzip_low(a, b) FN(wzip_low)(a, b)               /* a0 b0 a1 b1 ... of their lower halves */
#define vzip_high(a, b) FN(wzip_high)(a, b)             /* and of their upper ones */
#define vpower(k) FN(wpower)(k)                         /* 2^k of the normal range, 0 below, inf above */
#define vexponent(x, c) FN(wexponent)(x, c)             /* k, 2^k <= x < 2 2^k, normal; c = 2^-k */
#define vscale(x, k) FN(wscale)(x, k)                   /* x 2^k */
#define vsplit(x, e) FN(wsplit)(x, e)                   /* x = m 2^e, 1 <= m < 2 */
#define vsquare_residual(a, h) FN(wsquare_residual)(a, h) /* a a - h, exactly */

#endif
