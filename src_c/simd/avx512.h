/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Words for AVX-512 (F, DQ, VL, BW), read once for each element type; the rest: generic.h.
 */
#define MM(op) GKL_PASTE(_mm512_, GKL_PASTE(op, MM_TYPE))
#define MM_MASK(op) GKL_PASTE(MM(op), _mask)

typedef REAL vec __attribute__((vector_size(VECTOR_BYTES)));
#define HAVE_TYPES

INLINE vec FN(wset)(REAL x) { return MM(set1)(x); }
#define HAVE_vset

#if BITS == 32
typedef __mmask16 mask;
#else
typedef __mmask8 mask;
#endif
INLINE mask FN(wless)(vec a, vec b) { return MM_MASK(cmp)(a, b, _CMP_LT_OQ); }
INLINE mask FN(wless_equal)(vec a, vec b) { return MM_MASK(cmp)(a, b, _CMP_LE_OQ); }
INLINE mask FN(wboth)(mask a, mask b) { return a & b; }
INLINE int FN(wall)(mask m) { return m == (mask)-1; }
INLINE int FN(wany)(mask m) { return m != 0; }
INLINE unsigned FN(wbits)(mask m) { return m; }
INLINE mask FN(wpositive)(vec a) { /* not of the classes NaN, 0, -0, inf, -inf, negative */
    return (mask)~MM_MASK(fpclass)(a, 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80);
}
#define HAVE_mask

INLINE vec FN(wload_part)(const REAL *p, int n) {
    return MM(maskz_loadu)((mask)((1u << n) - 1), p);
}
#define HAVE_vload_part

INLINE vec FN(wselect)(mask m, vec yes, vec no) { return MM(mask_blend)(m, no, yes); }
#define HAVE_vselect

INLINE vec FN(wfma)(vec a, vec b, vec c) { return MM(fmadd)(a, b, c); }
INLINE vec FN(wfnma)(vec a, vec b, vec c) { return MM(fnmadd)(a, b, c); }
#define HAVE_vfma

INLINE void FN(wstream)(REAL *p, vec a) { MM(stream)(p, a); }
#define HAVE_vstream

/* compilers make a register of a number that is used more than once, by a shuffle: 20 % slower */
INLINE vec FN(wminus)(vec a, const REAL *p) {
    vec difference;
#if BITS == 32
    __asm__("vsubps %2%{1to16%}, %1, %0" : "=v"(difference) : "v"(a), "m"(*p));
#else
    __asm__("vsubpd %2%{1to8%}, %1, %0" : "=v"(difference) : "v"(a), "m"(*p));
#endif
    return difference;
}
#define HAVE_vminus

INLINE vec FN(wmin)(vec a, vec b) { return MM(min)(a, b); }
INLINE vec FN(wmax)(vec a, vec b) { return MM(max)(a, b); }
#define HAVE_vmin

INLINE vec FN(wsqrt)(vec a) { return MM(sqrt)(a); }
#define HAVE_vsqrt

INLINE vec FN(wreciprocal)(vec a) { return MM(rcp14)(a); }
#define HAVE_vreciprocal

INLINE vec FN(wround)(vec a) {
    return MM(roundscale)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE vec FN(wfloor)(vec a) {
    return MM(roundscale)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
#define HAVE_vround

INLINE vec FN(wsquare_residual)(vec a, vec h) { return MM(fmsub)(a, a, h); }
#define HAVE_vsquare_residual

INLINE vec FN(wscale)(vec x, vec k) { return MM(scalef)(x, k); }
INLINE vec FN(wpower)(vec k) { return MM(scalef)(vset(1), k); }
INLINE vec FN(wexponent)(vec x, vec *c) {
    const vec k = MM(getexp)(x);
    *c = MM(scalef)(vset(1), -k);
    return k;
}
INLINE vec FN(wsplit)(vec x, vec *e) {
    *e = MM(getexp)(x);
    return MM(getmant)(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
}
#define HAVE_vscale
#if BITS == 32
INLINE void FN(wwiden)(vec a, wide *low, wide *high) {
    *low = _mm512_cvtps_pd(_mm512_castps512_ps256(a));
    *high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1));
}
#define HAVE_vwiden
#endif
#undef MM
#undef MM_MASK
