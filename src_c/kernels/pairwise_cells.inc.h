/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Divergences of a row and a vector in one dimension, without cancellation: the difference form of
 * kernels/pairwise.inc.h and its other formulas, halved in the end.
 *
 * Parameters: real.h, the vector words, math.inc.h.
 */
#ifndef REAL
#error kernels/pairwise_cells.inc.h needs simd/real.h
#endif

enum { FN(SKEW_TERMS) = COUNT(FN(skew_coefficients)) };

/* psi(y), y = log(a/b), from difference = a - b and the inverses of a and b; where y is not near 0
 * with the logarithms */
INLINE vec FN(psi_of_difference)(vec difference, vec over_a, vec over_b, const vec *a,
                                 const vec *b) {
    const vec u = difference * over_b, w = difference * over_a, g = u * w;
    const mask is_near = vless(g, vset((REAL)0.0625));
    vec skew = vset(FN(skew_coefficients)[FN(SKEW_TERMS) - 1]);
    UNROLL for (int i = FN(SKEW_TERMS) - 2; i >= 0; --i)
        skew = vfma(skew, g, vset(FN(skew_coefficients)[i]));
    const vec near = g * vfma(u + w, skew, vset((REAL)0.5));
    if (vall(is_near))
        return near;
    return vselect(is_near, near, u - ((a[5] - b[5]) + (a[6] - b[6])));
}

/* 2 cosh y - 2 for |y| <= 1/2, by its series */
INLINE vec FN(twice_coshm1)(vec y) {
    static const REAL c[] = {(REAL)1 / 12, (REAL)1 / 30, (REAL)1 / 56,
                             (REAL)1 / 90, (REAL)1 / 132, (REAL)1 / 182};
    const vec z = y * y;
    vec x = vset(1);
    UNROLL for (int i = BITS == 32 ? 2 : 5; i >= 0; --i)
        x = vfma(x, z * vset(c[i]), vset(1));
    return z * x;
}

/* what a dimension adds; a is the first Gaussian of the divergence, b the second */
INLINE vec FN(pair_kl)(const vec *a, const vec *b, const int kind) {
    const vec delta = a[0] - b[0], mean_part = delta * (delta * b[2]);
    if (kind == GKL_LOGVAR) {
        const vec y = a[3] - b[3], far = vfma(a[1], b[2], vset(-1)) - y;
        return mean_part + vselect(vless_equal(vabs(y), vset(1)), FN(psi_reduced)(y), far);
    }
    if (kind == GKL_VAR)
        return mean_part + FN(psi_of_difference)(a[1] - b[1], a[2], b[2], a, b);
    const vec difference = a[3] - b[3], t = difference * b[4];
    const vec psi = FN(psi_of_difference)(difference, a[4], b[4], a, b);
    return mean_part + vfma(t, t, psi + psi);
}

INLINE vec FN(pair_jeffreys)(const vec *a, const vec *b, const int kind) {
    const vec delta = a[0] - b[0], mean_part = delta * delta * (a[2] + b[2]);
    const vec difference = kind == GKL_STD ? (a[3] - b[3]) * (a[3] + b[3]) : a[1] - b[1];
    vec cov_part = (difference * a[2]) * (difference * b[2]);
    if (kind == GKL_LOGVAR) {
        const vec y = a[3] - b[3];
        cov_part = vselect(vless(vabs(y), vset((REAL)0.5)), FN(twice_coshm1)(y), cov_part);
    }
    return mean_part + cov_part;
}

INLINE vec FN(pair_wasserstein)(const vec *a, const vec *b, const int kind) {
    const vec delta = a[0] - b[0];
    if (kind == GKL_LOGVAR) {
        const vec y = (a[3] - b[3]) * vset((REAL)0.5), difference = a[4] - b[4];
        const vec near = a[4] * b[4] * FN(twice_coshm1)(y), far = difference * difference;
        return vfma(delta, delta, vselect(vless(vabs(y), vset((REAL)0.5)), near, far));
    }
    vec difference = a[3] - b[3];
    if (kind == GKL_VAR)
        difference = difference + (a[4] - b[4]);
    return vfma(delta, delta, difference * difference);
}

/* Near v_a = v_b the two logarithms would cancel: phi(u) - phi((1 - a) u)/(1 - a) does not; far
 * from there it is the other way round. */
INLINE vec FN(pair_renyi)(const vec *a, const vec *b, const int kind, vec order, vec rest) {
    const int scale = kind == GKL_VAR ? 1 : 3;
    const vec one = vset(1), delta = a[0] - b[0];
    const FN(relation) x = FN(relate)(a[scale], b[scale], kind, kind, 0);
    const vec small = rest * x.excess, mixed = one + small;
    const vec above = mixed - one, lost = (one - (mixed - above)) + (small - above);
    const mask inside = vless(vset(ORDINARY_LOW), mixed);
    const vec safe = vselect(inside, mixed, one);
    const vec residual = vselect(inside, lost, vset(0));
    const FN(ratio) m = FN(ratio_careful)(safe, one, residual, OF_A, safe, one, vset(0), 1);
    const vec near = (x.half + x.half) - m.phi / rest, far = m.log / rest - x.log;
    const mask is_near = vless(vabs(x.excess), vset((REAL)0.5));
    const vec total = vselect(is_near, near, far) + order * (delta * (delta * b[2]) / safe);
    return vselect(inside, total, vset((REAL)INFINITY));
}
