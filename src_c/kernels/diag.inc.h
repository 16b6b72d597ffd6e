/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Diagonal Gaussians, one dimension: p = N(mean_p, v_p), q = N(mean_q, v_q).
 *
 *     delta = mean_p - mean_q,  m = delta^2/v_q,  r = v_p/v_q,  u = r - 1,  y = log r
 *
 *     KL = m/2 + c       c = phi(u)/2                      from variances
 *                        c = phi(t) + t^2/2, t = s_p/s_q - 1    from standard deviations
 *                        c = psi(y)/2                      from log-variances
 *
 *     d/dmean_p = delta/v_q = -d/dmean_q
 *     d/dv_p = u/(2 v_p)             d/dv_q = -(u + m)/(2 v_q)
 *     d/ds_p = u/s_p                 d/ds_q = -(u + m)/s_q
 *     d/dl_p = u/2                   d/dl_q = -(u + m)/2
 *
 *     Jeffreys = u^2/(2 r) + (m + delta^2/v_p)/2
 *     cross-entropy = (log 2 pi + log v_q + r + m)/2,    entropy = (log 2 pi + log v_p + 1)/2
 *
 * p, q and what are constants wherever these functions are used, so that the branches on them go.
 *
 * Parameters: real.h, the vector words and math.inc.h.
 */
#ifndef REAL
#error kernels/diag.inc.h needs simd/real.h
#endif

#define LOG_2_PI ((REAL)1.83787706640934548356)

typedef struct {
    vec ratio;  /* r */
    vec excess; /* u */
    vec log;    /* y */
    vec half;   /* c */
} FN(relation);

/* m and delta/v.  For log-variances the halves of e^-l meet delta one after the other, so that
 * neither overflows before the result does. */
INLINE vec FN(mahalanobis)(vec delta, vec scale, const int kind, vec *slope) {
    if (kind == GKL_VAR) {
        *slope = delta / scale;
        return delta * *slope;
    }
    if (kind == GKL_STD) {
        const vec z = delta / scale;
        *slope = z / scale;
        return z * z;
    }
    if (kind == GKL_LOGVAR) {
        vec k;
        const vec t = FN(exp_parts)(-scale, &k), z = vscale(delta, k);
        *slope = vscale(vfma(z, t, z), k);
        return z * z * (vset(1) + t);
    }
    *slope = delta;
    return delta * delta;
}

/* v = (square + residual) 4^e of a standard deviation, 1 <= square < 4 */
INLINE vec FN(variance_parts)(vec s, vec *residual, vec *e) {
    const vec m = vsplit(s, e), square = m * m;
    *residual = vsquare_residual(m, square);
    return square;
}

/* v 4^-e, kept among the normal numbers: beyond, the ratio is out of range all the same */
INLINE vec FN(beside)(vec v, vec e) {
    return vmin(vmax(vscale(v, -(e + e)), vset(SMALLEST_NORMAL)), vset(LARGEST));
}

/* log v of any kind of parameter, as high + low */
INLINE vec FN(log_variance)(vec scale, const int kind, vec *low) {
    *low = vset(0);
    if (kind == GKL_UNIT)
        return vset(0);
    if (kind == GKL_LOGVAR)
        return scale;
    const vec high = FN(log_parts)(scale, low);
    if (kind == GKL_VAR)
        return high;
    *low = *low + *low;
    return high + high;
}

INLINE FN(relation) FN(relate)(vec scale_p, vec scale_q, const int p, const int q) {
    const vec half = vset((REAL)0.5);
    FN(relation) x;
    if (p == GKL_LOGVAR || q == GKL_LOGVAR) {
        vec low_p, low_q, low;
        const vec log_p = FN(log_variance)(scale_p, p, &low_p);
        const vec log_q = FN(log_variance)(scale_q, q, &low_q);
        vec high = FN(two_difference)(log_p, log_q, &low);
        if (p != q && q != GKL_UNIT) { /* one of them is a logarithm with a low part */
            vec rest = low + (low_p - low_q), sum = high + rest;
            low = vselect(vless(vabs(sum), vset(LARGEST)), (high - sum) + rest, vset(0));
            high = sum;
        }
        const FN(growth) g = FN(growth_of)(high, low);
        x.ratio = g.exp;
        x.excess = g.expm1;
        x.log = high;
        x.half = g.half_psi;
    } else if (p == GKL_STD && (q == GKL_STD || q == GKL_UNIT)) {
        const FN(ratio) s = FN(ratio_of)(scale_p, scale_q, vset(0), q == GKL_UNIT);
        x.ratio = s.ratio * s.ratio;
        x.excess = vfma(s.excess, s.excess, s.excess + s.excess);
        x.log = vset(2) * (s.log_high + s.log_low);
        x.half = vfma(half * s.excess, s.excess, s.phi);
    } else {
        FN(ratio) v;
        vec residual, e;
        if (q == GKL_STD) {
            const vec square = FN(variance_parts)(scale_q, &residual, &e);
            v = FN(ratio_of)(FN(beside)(scale_p, e), square, -residual, 0);
        } else if (p == GKL_STD) {
            const vec square = FN(variance_parts)(scale_p, &residual, &e);
            v = FN(ratio_of)(square, FN(beside)(scale_q, e), residual, 0);
        } else {
            v = FN(ratio_of)(scale_p, scale_q, vset(0), q == GKL_UNIT);
        }
        x.ratio = v.ratio;
        x.excess = v.excess;
        x.log = v.log_high + v.log_low;
        x.half = half * v.phi;
    }
    return x;
}

/* numerator over the scale in the units of its parameter: d/dv = g/2v, d/ds = g/s, d/dl = g/2 */
INLINE vec FN(per_scale)(vec g, vec scale, const int kind) {
    if (kind == GKL_STD)
        return g / scale;
    g = vset((REAL)0.5) * g;
    return kind == GKL_VAR ? g / scale : g;
}

/* NaN where a variance or a standard deviation is not positive and finite */
INLINE vec FN(checked)(vec value, vec scale, const int kind) {
    if (kind == GKL_VAR || kind == GKL_STD)
        return vselect(vpositive(scale), value, vset((REAL)NAN));
    return value;
}

/* LANES dimensions from `in`, to `out` (gradients) and `term` (what is summed over the row) */
INLINE void FN(diag_vector)(const REAL *const *in, REAL *const *out, double *const *term,
                            const int p, const int q, const int what) {
    const vec half = vset((REAL)0.5), zero = vset(0);
    if (what == GKL_ENTROPY) {
        const vec scale = vload(in[1]);
        vec low;
        const vec high = FN(log_variance)(scale, p, &low);
        vwiden(term[0], FN(checked)(half * (high + (low + vset(1 + LOG_2_PI))), scale, p));
        return;
    }
    const vec mean_p = vload(in[0]), scale_p = vload(in[1]);
    const vec mean_q = q == GKL_UNIT ? zero : vload(in[2]);
    const vec scale_q = q == GKL_UNIT ? vset(1) : vload(in[3]);
    const vec delta = q == GKL_UNIT ? mean_p : mean_p - mean_q;
    vec slope, slope_p;
    const vec m = FN(mahalanobis)(delta, scale_q, q, &slope);
    const FN(relation) x = FN(relate)(scale_p, scale_q, p, q);

    vec value = vfma(half, m, x.half);
    if (what == GKL_JEFFREYS) {
        const vec m_p = FN(mahalanobis)(delta, scale_p, p, &slope_p);
        const vec ratio = vmin(x.ratio, vset(LARGEST));
        value = half * (x.excess * (x.excess / ratio) + (m + m_p));
    }
    if (what == GKL_CROSS) {
        vec low;
        const vec high = FN(log_variance)(scale_q, q, &low);
        value = half * ((high + (low + vset(LOG_2_PI))) + (x.ratio + m));
    }
    value = FN(checked)(FN(checked)(value, scale_p, p), scale_q, q);
    vwiden(term[0], value);

    if (what == GKL_TERMS) {
        vwiden(term[1], m);
        vwiden(term[2], x.ratio);
        vwiden(term[3], -x.log);
        vwiden(term[4], x.half);
    }
    if (what == GKL_GRAD) {
        vec d_scale_p = FN(per_scale)(x.excess, scale_p, p);
        vec d_scale_q = FN(per_scale)(-(x.excess + m), scale_q, q);
        if (in[GKL_WEIGHT]) {
            const vec weight = vload(in[GKL_WEIGHT]);
            slope = slope * weight;
            d_scale_p = d_scale_p * weight;
            d_scale_q = d_scale_q * weight;
        }
        if (out[1])
            vstore(out[1], slope);
        if (out[2])
            vstore(out[2], d_scale_p);
        if (q != GKL_UNIT && out[3])
            vstore(out[3], -slope);
        if (q != GKL_UNIT && out[4])
            vstore(out[4], d_scale_q);
    }
}

/* n dimensions.  What is left after whole vectors is done in a padded copy, never by reading or
 * writing past the end. */
INLINE void FN(diag_run)(ptrdiff_t n, const gkl_block *block, const int p, const int q,
                         const int what) {
    const int pair = q != GKL_UNIT, weighted = what == GKL_GRAD && block->in[GKL_WEIGHT];
    const int uses[GKL_MAX_IN] = {what != GKL_ENTROPY, 1, pair, pair, weighted};
    const int nout = what != GKL_GRAD ? 0 : pair ? GKL_MAX_GRAD : 3;
    REAL pad_in[GKL_MAX_IN][LANES], pad_out[GKL_MAX_GRAD][LANES];
    const REAL *in[GKL_MAX_IN] = {0};
    REAL *out[GKL_MAX_GRAD] = {0};
    double *term[GKL_MAX_TERMS];
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const ptrdiff_t left = n - i;
        for (int k = 0; k < GKL_MAX_IN; ++k)
            if (uses[k]) {
                in[k] = (const REAL *)block->in[k] + i;
                __builtin_prefetch((const char *)in[k] + block->ahead[k]);
            }
        for (int k = 1; k < nout; ++k)
            out[k] = block->out[k] ? (REAL *)block->out[k] + i : NULL;
        for (int k = 0; k < GKL_MAX_TERMS; ++k)
            term[k] = block->term[k] + i;
        if (left < LANES) {
            for (int k = 0; k < GKL_MAX_IN; ++k)
                if (uses[k]) {
                    for (int lane = 0; lane < LANES; ++lane)
                        pad_in[k][lane] = lane < left ? in[k][lane] : (REAL)1;
                    in[k] = pad_in[k];
                }
            for (int k = 1; k < nout; ++k)
                out[k] = out[k] ? pad_out[k] : NULL;
        }
        FN(diag_vector)(in, out, term, p, q, what);
        if (left < LANES)
            for (int k = 1; k < nout; ++k)
                if (out[k])
                    memcpy((REAL *)block->out[k] + i, pad_out[k], (size_t)left * sizeof(REAL));
    }
}

/* the bodies: one function for each pair of parameterisations and each output */
#define BODY(p, q, what)                                                                         \
    static void FN(GKL_PASTE(diag_##p##_##q##_, what))(ptrdiff_t n, const gkl_block *block) {    \
        FN(diag_run)(n, block, GKL_##p, GKL_##q, GKL_##what);                                    \
    }
#define DIAG_PAIR(name, p, q) BODY(p, q, VALUE) BODY(p, q, GRAD) BODY(p, q, TERMS)               \
    BODY(p, q, JEFFREYS) BODY(p, q, CROSS)
#define DIAG_SINGLE(name, p) BODY(p, UNIT, ENTROPY)
#include "../kernels.def"
#undef BODY
#undef DIAG_PAIR
#undef DIAG_SINGLE
