/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names without suffix for the vector vocabulary, so that the mathematics reads as mathematics:
 * in a file that is read once for float and once for double, `vec` is vec_f32, then vec_f64.
 */
#ifndef GKL_WORDS_H
#define GKL_WORDS_H

#define GKL_PASTE_(a, b) a##b
#define GKL_PASTE(a, b) GKL_PASTE_(a, b)
#define FN(name) GKL_PASTE(name, SUFFIX)

/* every vector function must melt into its caller: it is compiled for the caller's ISA */
#define INLINE static inline __attribute__((always_inline, unused))

#define vec FN(vec)   /* LANES numbers */
#define mask FN(mask) /* LANES truth values */
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))

#define vset(x) FN(vset)(x)                             /* x in every lane */
#define vload(p) FN(vload)(p)                           /* no alignment needed */
#define vstore(p, a) FN(vstore)(p, a)
#define vstream(p, a) FN(vstream)(p, a)                 /* past the cache, p aligned */
#define vwiden(a, low, high) FN(vwiden)(a, low, high)   /* its halves as double, BITS 32 */
#define vless(a, b) FN(vless)(a, b)                     /* false where either is NaN */
#define vless_equal(a, b) FN(vless_equal)(a, b)
#define vboth(a, b) FN(vboth)(a, b)
#define vselect(m, yes, no) FN(vselect)(m, yes, no)
#define vfma(a, b, c) FN(vfma)(a, b, c)                 /* a b + c, fused where the ISA can */
#define vmin(a, b) FN(vmin)(a, b)                       /* b where either is NaN */
#define vmax(a, b) FN(vmax)(a, b)
#define vabs(a) FN(vabs)(a)
#define vround(a) FN(vround)(a)                         /* nearest integer, ties to even */
#define vfloor(a) FN(vfloor)(a)
#define vpositive(a) FN(vpositive)(a)                   /* mask of 0 < a < inf */
#define vall(m) FN(vall)(m)                             /* is every lane true? */
#define vpower(k) FN(vpower)(k)                         /* 2^k of the normal range, 0 below, inf above */
#define vexponent(x, c) FN(vexponent)(x, c)             /* k, 2^k <= x < 2 2^k, normal; c = 2^-k */
#define vscale(x, k) FN(vscale)(x, k)                   /* x 2^k */
#define vsplit(x, e) FN(vsplit)(x, e)                   /* x = m 2^e, 1 <= m < 2 */
#define vsquare_residual(a, h) FN(vsquare_residual)(a, h) /* a a - h, exactly */

#endif
