/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Words for AVX2 with FMA, read once for each element type; the rest comes from generic.h.
 */
#define MM(op) GKL_PASTE(_mm256_, GKL_PASTE(op, MM_TYPE))

typedef REAL vec __attribute__((vector_size(VECTOR_BYTES)));
typedef INT mask __attribute__((vector_size(VECTOR_BYTES)));
#define HAVE_TYPES

INLINE vec FN(wset)(REAL x) { return MM(set1)(x); }
#define HAVE_vset

INLINE vec FN(wselect)(mask m, vec yes, vec no) { return MM(blendv)(no, yes, (vec)m); }
#define HAVE_vselect

INLINE vec FN(wfma)(vec a, vec b, vec c) { return MM(fmadd)(a, b, c); }
INLINE vec FN(wfnma)(vec a, vec b, vec c) { return MM(fnmadd)(a, b, c); }
#define HAVE_vfma

INLINE void FN(wstream)(REAL *p, vec a) { MM(stream)(p, a); }
#define HAVE_vstream

INLINE vec FN(wmin)(vec a, vec b) { return MM(min)(a, b); }
INLINE vec FN(wmax)(vec a, vec b) { return MM(max)(a, b); }
#define HAVE_vmin

INLINE vec FN(wsqrt)(vec a) { return MM(sqrt)(a); }
#define HAVE_vsqrt

INLINE vec FN(wround)(vec a) { return MM(round)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vec FN(wfloor)(vec a) { return MM(round)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
#define HAVE_vround

INLINE vec FN(wsquare_residual)(vec a, vec h) { return MM(fmsub)(a, a, h); }
#define HAVE_vsquare_residual
#if BITS == 32
INLINE void FN(wwiden)(vec a, wide *low, wide *high) {
    *low = _mm256_cvtps_pd(_mm256_castps256_ps128(a));
    *high = _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1));
}
#define HAVE_vwiden
#endif
#undef MM
