/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The scalar functions of math.inc.h over arrays, so that tests can walk
 * them input by input; and the copy that leaves the cache alone.
 *
 * Parameters: real.h, the vector words and math.inc.h.
 */
#ifndef REAL
#error kernels/scalar.inc.h needs simd/real.h
#endif

enum { FN(SCALAR_PHI), FN(SCALAR_PSI), FN(SCALAR_LOG), FN(SCALAR_EXP), FN(SCALAR_EXPM1) };

INLINE void FN(scalar_run)(ptrdiff_t n, const void *from, void *to, const int what) {
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        REAL in[LANES], out[LANES];
        const size_t bytes = sizeof(REAL) * (size_t)(n - i < LANES ? n - i : LANES);
        memset(in, 0, sizeof in);
        memcpy(in, (const REAL *)from + i, bytes);
        const vec x = vload(in), one = vset(1);
        vec y, low;
        if (what == FN(SCALAR_PHI)) { /* x = u: the ratio 1 + u and what its rounding lost */
            const vec r = one + x, above = r - one;
            const vec lost = (one - (r - above)) + (x - above);
            const mask plain = vboth(vless(vset(ORDINARY_LOW), r), vless(r, vset(ORDINARY_HIGH)));
            y = vselect(plain, FN(ratio_ordinary)(r, one, one, lost, OF_A, 1).phi,
                        FN(ratio_careful)(r, one, lost, OF_A, r, one, vset(0), 1).phi);
            y = vselect(vpositive(r), y, vset((REAL)NAN));
        } else if (what == FN(SCALAR_LOG)) {
            y = FN(log_parts)(x, &low);
            y = vselect(vpositive(x), y + low, vset((REAL)NAN));
        } else if (what == FN(SCALAR_EXP)) {
            const vec t = FN(exp_parts)(x, &low, 1);
            y = vscale(vscale(one + t, low), low);
        } else {
            const mask plain = vless(vabs(x), vset(LN_ORDINARY));
            const FN(growth) g = FN(growth_of)(x, vset(0), 1, 0),
                             h = FN(growth_of)(x, vset(0), 1, 1);
            y = what == FN(SCALAR_EXPM1) ? vselect(plain, g.expm1, h.expm1)
                                         : vselect(plain, g.half_psi, h.half_psi) * vset(2);
        }
        vstore(out, y);
        memcpy((REAL *)to + i, out, bytes);
    }
}

#define BODY(name, what)                                                                           \
    static void FN(name)(ptrdiff_t n, const void *in, void *out) {                                 \
        FN(scalar_run)(n, in, out, what);                                                          \
    }
BODY(scalar_phi, FN(SCALAR_PHI))
BODY(scalar_psi, FN(SCALAR_PSI))
BODY(scalar_log, FN(SCALAR_LOG))
BODY(scalar_exp, FN(SCALAR_EXP))
BODY(scalar_expm1, FN(SCALAR_EXPM1))
#undef BODY

#define SCALAR_FUNCTIONS(suffix)                                                                 \
    { GKL_PASTE(scalar_phi, suffix), GKL_PASTE(scalar_psi, suffix),                              \
      GKL_PASTE(scalar_log, suffix), GKL_PASTE(scalar_exp, suffix),                              \
      GKL_PASTE(scalar_expm1, suffix) }

/* whole cache lines past the cache, the ends in the usual way; the caller fences */
static void FN(stream)(void *to, const void *from, ptrdiff_t n) {
    char *x = to;
    const char *y = from;
    const ptrdiff_t bytes = n * (ptrdiff_t)sizeof(REAL);
    const ptrdiff_t misaligned = (ptrdiff_t)((uintptr_t)x % VECTOR_BYTES);
    ptrdiff_t at = misaligned ? VECTOR_BYTES - misaligned : 0;
    at = at < bytes ? at : bytes;
    memcpy(x, y, (size_t)at);
    for (; at + VECTOR_BYTES <= bytes; at += VECTOR_BYTES)
        vstream((REAL *)(x + at), vload((const REAL *)(y + at)));
    memcpy(x + at, y + at, (size_t)(bytes - at));
}
