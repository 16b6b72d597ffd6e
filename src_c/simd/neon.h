/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Words for Advanced SIMD on AArch64, read once for each element type; the rest: generic.h.
 */
#define MM(op) GKL_PASTE(op, SUFFIX)

typedef REAL vec __attribute__((vector_size(VECTOR_BYTES)));
#define HAVE_TYPES

INLINE vec FN(wfma)(vec a, vec b, vec c) { return MM(vfmaq)(c, a, b); }
INLINE vec FN(wfnma)(vec a, vec b, vec c) { return MM(vfmsq)(c, a, b); }
#define HAVE_vfma

INLINE vec FN(wsqrt)(vec a) { return MM(vsqrtq)(a); }
#define HAVE_vsqrt

INLINE vec FN(wround)(vec a) { return MM(vrndnq)(a); }
INLINE vec FN(wfloor)(vec a) { return MM(vrndmq)(a); }
#define HAVE_vround

INLINE vec FN(wsquare_residual)(vec a, vec h) { return MM(vfmaq)(-h, a, a); }
#define HAVE_vsquare_residual
#undef MM
