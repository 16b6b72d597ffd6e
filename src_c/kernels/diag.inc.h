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

/* What delta contributes.  Halves are taken first: m may be infinite where m/2 is not. */
typedef struct {
    vec half_m; /* m/2 */
    vec slope;  /* delta/v */
    vec pull;   /* m/2v, m/s or m/2: part of the derivative in the scale, when m overflows */
} FN(offset);

/* delta 2^doublings is meant, doublings being 0 unless careful */
INLINE FN(offset) FN(offset_of)(vec delta, vec doublings, vec scale, const int kind,
                                const int careful) {
    const vec half = vset((REAL)0.5), one = vset(1);
    FN(offset) x;
    if (kind == GKL_VAR) {
        x.slope = careful ? vscale(delta / scale, doublings) : delta * (one / scale);
        x.half_m = half * delta * x.slope;
        if (careful) /* half of a number at the lower end may lose its last bit: take the other */
            x.half_m = vscale(vselect(vless(vabs(delta), vabs(x.slope)), delta * (half * x.slope),
                                      x.half_m), doublings);
        x.pull = half * x.slope * x.slope;
    } else if (kind == GKL_STD) {
        const vec z = careful ? vscale(delta / scale, doublings) : delta / scale;
        x.half_m = half * z * z;
        x.slope = z / scale;
        x.pull = z * x.slope;
    } else if (kind == GKL_LOGVAR) { /* e^-l in two halves, one to each delta */
        vec k;
        const vec growth = one + FN(exp_parts)(-scale, &k, careful);
        const vec z = careful ? vscale(delta, k + doublings) : delta * vpower(k), y = z * growth;
        x.half_m = half * z * y;
        x.slope = careful ? vscale(y, k) : y * vpower(k);
        x.pull = x.half_m;
    } else {
        x.half_m = half * delta * delta;
        x.slope = delta;
        x.pull = x.half_m;
    }
    return x;
}

/* v = (square + residual) 4^e of a standard deviation; e = 0 unless careful */
INLINE vec FN(variance_parts)(vec s, vec *residual, vec *e, const int careful) {
    const vec m = careful ? vsplit(s, e) : s, square = m * m;
    *residual = vsquare_residual(m, square);
    return square;
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

INLINE FN(ratio) FN(ratio_of)(vec a, vec b, const int b_is_one, const int careful) {
    const vec none = vset(0);
    if (careful || !FUSED)
        return FN(ratio_careful)(a, b, none, OF_NONE, a, b, none, b_is_one);
    return FN(ratio_ordinary)(a, b, vset(1) / b, none, OF_NONE, b_is_one);
}

/* v_p/v_q where one is given as a standard deviation, whose square is not rounded */
INLINE FN(ratio) FN(ratio_of_square)(vec scale_p, vec scale_q, const int p, const int careful) {
    vec residual, e;
    const vec s = p == GKL_STD ? scale_p : scale_q, v = p == GKL_STD ? scale_q : scale_p;
    const vec square = FN(variance_parts)(s, &residual, &e, careful || !FUSED);
    if (careful || !FUSED) {
        const vec beside = vscale(v, -(e + e));
        return p == GKL_STD
                   ? FN(ratio_careful)(square, beside, residual, OF_A, square, v, e + e, 0)
                   : FN(ratio_careful)(beside, square, residual, OF_B, v, square, -(e + e), 0);
    }
    return p == GKL_STD ? FN(ratio_ordinary)(square, v, vset(1) / v, residual, OF_A, 0)
                        : FN(ratio_ordinary)(v, square, vset(1) / square, residual, OF_B, 0);
}

/* from log-variances, or the logarithms of the others */
INLINE FN(relation) FN(relate_logs)(vec scale_p, vec scale_q, const int p, const int q,
                                    const int careful) {
    const int exact = q == GKL_UNIT;
    vec high = scale_p, low = vset(0), low_p, low_q;
    if (!exact) {
        const vec log_p = FN(log_variance)(scale_p, p, &low_p);
        const vec log_q = FN(log_variance)(scale_q, q, &low_q);
        high = FN(two_difference)(log_p, log_q, &low, careful);
    }
    if (p != q && !exact) { /* one of them is a logarithm with a low part */
        const vec rest = low + (low_p - low_q), sum = high + rest;
        const vec error = (high - sum) + rest;
        const mask small = vless(vabs(sum), vset(2 * EXPONENT_BIAS));
        low = careful ? vselect(small, error, vset(0)) : error;
        high = sum;
    }
    const FN(growth) g = FN(growth_of)(high, low, exact, careful);
    return (FN(relation)){g.exp, g.expm1, high, g.half_psi};
}

INLINE FN(relation) FN(relate)(vec scale_p, vec scale_q, const int p, const int q,
                               const int careful) {
    const vec half = vset((REAL)0.5);
    if (p == GKL_LOGVAR || q == GKL_LOGVAR)
        return FN(relate_logs)(scale_p, scale_q, p, q, careful);
    if (p == GKL_STD && (q == GKL_STD || q == GKL_UNIT)) {
        const FN(ratio) s = FN(ratio_of)(scale_p, scale_q, q == GKL_UNIT, careful);
        return (FN(relation)){s.ratio * s.ratio, vfma(s.excess, s.excess, s.excess + s.excess),
                              s.log + s.log, vfma(half * s.excess, s.excess, s.phi)};
    }
    const FN(ratio) v = p == q || q == GKL_UNIT
                            ? FN(ratio_of)(scale_p, scale_q, q == GKL_UNIT, careful)
                            : FN(ratio_of_square)(scale_p, scale_q, p, careful);
    return (FN(relation)){v.ratio, v.excess, v.log, half * v.phi};
}

/* 2 g over the scale in the units of its parameter: d/dv = g/v, d/ds = 2 g/s, d/dl = g */
INLINE vec FN(per_scale)(vec g, vec scale, const int kind) {
    if (kind == GKL_LOGVAR || kind == GKL_UNIT)
        return g;
    g = g / scale;
    return kind == GKL_STD ? g + g : g;
}

/* NaN where a scale is not finite, or is a variance or standard deviation that is not positive */
INLINE vec FN(checked)(vec value, vec scale, const int kind) {
    if (kind == GKL_UNIT)
        return value;
    const mask good =
        kind == GKL_LOGVAR ? vless(vabs(scale), vset((REAL)INFINITY)) : vpositive(scale);
    return vselect(good, value, vset((REAL)NAN));
}

/* What a kernel gives for LANES dimensions. */
typedef struct {
    vec term[GKL_MAX_TERMS];                 /* to be summed over the row */
    vec slope, d_scale_p, negative_d_scale_q; /* gradients: slope is that of mean_p */
} FN(cell);

INLINE FN(cell) FN(evaluate)(vec mean_p, vec scale_p, vec mean_q, vec scale_q, const int p,
                             const int q, const int what, const int careful) {
    const vec half = vset((REAL)0.5);
    FN(cell) cell;
    vec value, low;
    if (what == GKL_ENTROPY) {
        const vec high = FN(log_variance)(scale_p, p, &low);
        cell.term[0] = half * (high + (low + vset(1 + LOG_2_PI)));
    } else {
        vec delta = q == GKL_UNIT ? mean_p : mean_p - mean_q, doublings = vset(0);
        if (careful && q != GKL_UNIT) { /* a difference that overflows: half of it */
            const mask fits = vless_equal(vabs(delta), vset(LARGEST));
            delta = vselect(fits, delta, half * mean_p - half * mean_q);
            doublings = vselect(fits, doublings, vset(1));
        }
        const FN(offset) d = FN(offset_of)(delta, doublings, scale_q, q, careful);
        const FN(relation) x = FN(relate)(scale_p, scale_q, p, q, careful);
        const vec half_u = half * x.excess;
        value = d.half_m + x.half;
        if (what == GKL_JEFFREYS) {
            const FN(offset) back = FN(offset_of)(delta, doublings, scale_p, p, careful);
            const vec ratio = vmin(x.ratio, vset(LARGEST)); /* or inf/inf */
            value = half_u * (x.excess / ratio) + (d.half_m + back.half_m);
        }
        if (what == GKL_CROSS) {
            const vec high = FN(log_variance)(scale_q, q, &low);
            value = half * (high + (low + vset(LOG_2_PI))) + (half * x.ratio + d.half_m);
        }
        cell.term[0] = value;
        cell.term[1] = d.half_m;
        cell.term[2] = x.ratio;
        cell.term[3] = -x.log;
        cell.term[4] = x.half;
        cell.d_scale_p = FN(per_scale)(half_u, scale_p, p);
        cell.slope = d.slope;
        cell.negative_d_scale_q = FN(per_scale)(half_u + d.half_m, scale_q, q);
        if (careful) { /* m may be out of range where m/v is not; beside an m that overflows, only a
                          large u counts */
            const mask below = vless_equal(d.half_m, vset(LARGEST));
            const mask within = vboth(below, vless_equal(vset(SMALLEST_NORMAL), d.half_m));
            const vec u = vselect(below, half_u, vmax(half_u, vset(0)));
            cell.negative_d_scale_q = vselect(within, cell.negative_d_scale_q,
                                              FN(per_scale)(u, scale_q, q) + d.pull);
        }
    }
    if (careful)
        cell.term[0] = FN(checked)(FN(checked)(cell.term[0], scale_p, p), scale_q, q);
    return cell;
}

/* scales that are far from the ends of the range */
INLINE mask FN(ordinary)(vec scale, const int kind) {
    if (kind == GKL_LOGVAR)
        return vless(vabs(scale), vset(LN_ORDINARY));
    if (kind == GKL_STD)
        return vboth(vless(vset(ORDINARY_STD_LOW), scale), vless(scale, vset(ORDINARY_STD_HIGH)));
    return vboth(vless(vset(ORDINARY_LOW), scale), vless(scale, vset(ORDINARY_HIGH)));
}

/* LANES dimensions from `in`, to `out` (gradients) and `term` (what is summed over the row).  A
 * lane takes the careful way or not for itself alone, whatever its neighbors do. */
INLINE void FN(diag_vector)(const REAL *const *in, REAL *const *out, REAL *const *term,
                            const int p, const int q, const int what) {
    const int pair = q != GKL_UNIT, entropy = what == GKL_ENTROPY;
    const vec mean_p = entropy ? vset(0) : vload(in[0]), scale_p = vload(in[1]);
    const vec mean_q = pair ? vload(in[2]) : vset(0), scale_q = pair ? vload(in[3]) : vset(1);
    FN(cell) x = FN(evaluate)(mean_p, scale_p, mean_q, scale_q, p, q, what, 0);

    mask plain = FN(ordinary)(scale_p, p);
    if (pair)
        plain = vboth(plain, FN(ordinary)(scale_q, q));
    if (what == GKL_GRAD && pair) { /* m may be out of range where m/v is not */
        const vec size = vabs(mean_p - mean_q);
        plain = vboth(plain, FN(ordinary)(vselect(vless(vset(0), size), size, vset(1)), GKL_VAR));
    }
    if (__builtin_expect(!vall(plain), 0)) {
        const FN(cell) y = FN(evaluate)(mean_p, scale_p, mean_q, scale_q, p, q, what, 1);
        for (int t = 0; t < (what == GKL_TERMS ? GKL_MAX_TERMS : 1); ++t)
            x.term[t] = vselect(plain, x.term[t], y.term[t]);
        if (what == GKL_GRAD) {
            x.slope = vselect(plain, x.slope, y.slope);
            x.d_scale_p = vselect(plain, x.d_scale_p, y.d_scale_p);
            x.negative_d_scale_q = vselect(plain, x.negative_d_scale_q, y.negative_d_scale_q);
        }
    }

    for (int t = 0; t < (what == GKL_TERMS ? GKL_MAX_TERMS : 1); ++t)
        vstore(term[t], x.term[t]);
    if (what == GKL_GRAD) {
        if (in[GKL_WEIGHT]) {
            const vec weight = vload(in[GKL_WEIGHT]), zero = vset(0);
            const mask nothing = vless_equal(vabs(weight), zero); /* 0 times an overflow is 0 here */
            x.slope = vselect(nothing, zero, x.slope * weight);
            x.d_scale_p = vselect(nothing, zero, x.d_scale_p * weight);
            x.negative_d_scale_q = vselect(nothing, zero, x.negative_d_scale_q * weight);
        }
        if (out[1])
            vstore(out[1], x.slope);
        if (out[2])
            vstore(out[2], x.d_scale_p);
        if (pair && out[3])
            vstore(out[3], -x.slope);
        if (pair && out[4])
            vstore(out[4], -x.negative_d_scale_q);
    }
}

/* n dimensions.  What is left after whole vectors is done in a padded copy, never by reading or
 * writing past the end. */
INLINE void FN(diag_run)(ptrdiff_t n, const gkl_block *block, const int p, const int q,
                         const int what) {
    const int pair = q != GKL_UNIT, weighted = what == GKL_GRAD && block->in[GKL_WEIGHT];
    const int uses[GKL_MAX_IN] = {what != GKL_ENTROPY, 1, pair, pair, weighted};
    const int nout = what != GKL_GRAD ? 0 : pair ? GKL_MAX_GRAD : 3;
    const gkl_block b = *block; /* a copy that no store can change */
    REAL pad_in[GKL_MAX_IN][LANES], pad_out[GKL_MAX_GRAD][LANES];
    const REAL *in[GKL_MAX_IN] = {0};
    REAL *out[GKL_MAX_GRAD] = {0};
    REAL *term[GKL_MAX_TERMS];
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const ptrdiff_t left = n - i;
        for (int k = 0; k < GKL_MAX_IN; ++k)
            if (uses[k]) {
                in[k] = (const REAL *)b.in[k] + i;
                __builtin_prefetch((const char *)in[k] + b.ahead[k]);
            }
        for (int k = 1; k < nout; ++k)
            out[k] = b.out[k] ? (REAL *)b.out[k] + i : NULL;
        for (int k = 0; k < GKL_MAX_TERMS; ++k)
            term[k] = (REAL *)b.term[k] + i;
        if (left < LANES) {
            for (int k = 0; k < GKL_MAX_IN; ++k)
                if (uses[k]) {
                    for (int lane = 0; lane < LANES; ++lane)
                        pad_in[k][lane] = 1;
                    memcpy(pad_in[k], in[k], (size_t)left * sizeof(REAL));
                    in[k] = pad_in[k];
                }
            for (int k = 1; k < nout; ++k)
                out[k] = out[k] ? pad_out[k] : NULL;
        }
        FN(diag_vector)(in, out, term, p, q, what);
        if (left < LANES)
            for (int k = 1; k < nout; ++k)
                if (out[k])
                    memcpy((REAL *)b.out[k] + i, pad_out[k], (size_t)left * sizeof(REAL));
    }
}

/* the bodies: one function for each pair of parameterizations and each output */
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
