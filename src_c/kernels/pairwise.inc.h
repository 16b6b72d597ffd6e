/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every one of some rows against every lane of some vectors, diagonal Gaussians.
 *
 *     delta = mean_1 - mean_2,  u = v_1/v_2 - 1,  y = log(v_1/v_2)
 *
 *     KL            = 1/2 sum [u + delta^2/v_2] - 1/2 (log det S_1 - log det S_2)       the product form
 *                   = 1/2 sum [phi(u) + delta^2/v_2]                             the difference form
 *     Jeffreys      = 1/2 sum [(v_1 - v_2)^2/(v_1 v_2) + delta^2 (1/v_1 + 1/v_2)]
 *     Wasserstein^2 = sum [delta^2 + (s_1 - s_2)^2]
 *     Renyi         = 1/2 sum [log1p((1 - a) u)/(1 - a) - log1p(u) + a delta^2/(v_2 + (1 - a)(v_1 - v_2))]
 *
 * The product form takes four instructions a pair and dimension, and loses digits where KL is
 * small beside the numbers that are summed.  Where it may have lost too many, the difference form
 * takes its place, pair by pair: what a pair gives depends on nothing but itself.
 *
 * Parameters: real.h, the vector words, math.inc.h, lanes.inc.h.
 */
#ifndef REAL
#error kernels/pairwise.inc.h needs simd/real.h
#endif

#ifndef PAIR_ROWS
#define PAIR_ROWS 4
#if VECTOR_BYTES == 64 /* sums that stay in registers, with what else there is: of 32, of 16 */
#define PAIR_VECTORS 4
#else
#define PAIR_VECTORS 2
#endif
#define PAIR_CHAIN 16  /* dimensions that are added up before they go to the sum so far, */
#define PAIR_BLOCK 512 /* and before that goes to the total */
#endif

/* ---- items: what is needed of each dimension (GKL_PRODUCT numbers, then GKL_DIFFERENCE) ---- */

INLINE vec FN(plain_exp)(vec x) {
    vec k;
    const vec t = FN(exp_parts)(x, &k, 0);
    return (vset(1) + t) * vpower(k) * vpower(k);
}

INLINE vec FN(plain_log)(vec x) {
    vec low;
    const vec high = FN(log_parts)(x, &low);
    return high + low;
}

/* a scale in the units of another parameter */
INLINE vec FN(converted)(vec x, gkl_kind from, gkl_kind to) {
    if (from == to)
        return x;
    if (to == GKL_LOGVAR)
        return FN(plain_log)(x) * vset(from == GKL_STD ? 2 : 1);
    if (from == GKL_LOGVAR)
        x = FN(plain_exp)(to == GKL_STD ? x * vset((REAL)0.5) : x);
    else
        x = to == GKL_STD ? vsqrt(x) : x * x;
    return x;
}

/* the numbers of LANES dimensions, to the arrays `field` */
INLINE void FN(item_vector)(vec mean, vec scale, gkl_kind kind, vec *x) {
    const vec one = vset(1), zero = vset(0);
    vec low = zero, high = zero;
    x[0] = mean;
    if (kind == GKL_LOGVAR) {
        x[1] = FN(plain_exp)(scale);
        x[2] = FN(plain_exp)(-scale);
        x[3] = scale;
        x[4] = FN(plain_exp)(scale * vset((REAL)0.5));
    } else {
        high = FN(log_parts)(scale, &low);
        x[1] = kind == GKL_STD ? scale * scale : scale;
        x[2] = one / x[1];
        if (kind == GKL_STD) {
            x[3] = scale;
            x[4] = one / scale;
        } else { /* the standard deviation and what its rounding lost */
            const vec root = vsqrt(scale), square = root * root;
            x[3] = root;
            x[4] = ((scale - square) - vsquare_residual(root, square)) * vset((REAL)0.5) / root;
        }
    }
    x[5] = high;
    x[6] = low;
}

/* An item with contiguous parameters; field[i] is as long as whole vectors for n dimensions.  The
 * logarithm of its determinant is logdet[0] + logdet[1].  Items that are not plain are left to
 * others: their numbers are those of a Gaussian far away. */
static gkl_item_state FN(pairwise_item)(gkl_kind from, gkl_kind kind, ptrdiff_t n, const void *mean,
                                       const void *scale, void *const *field, void *logdet) {
    const REAL neutral = from == GKL_LOGVAR ? 0 : 1;
    FN(tally) sum;
    int good = 1, plain = 1;
    memset(&sum, 0, sizeof sum);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        REAL m[LANES], s[LANES];
        const ptrdiff_t count = n - j < LANES ? n - j : LANES;
        for (int i = 0; i < LANES; ++i) {
            m[i] = 0;
            s[i] = neutral;
        }
        memcpy(m, (const REAL *)mean + j, (size_t)count * sizeof(REAL));
        memcpy(s, (const REAL *)scale + j, (size_t)count * sizeof(REAL));
        const vec a = vload(m), b = vload(s);
        const mask finite = vless_equal(vabs(a), vset(LARGEST));
        const vec checked = FN(checked)(vset(0), b, from);
        good &= vall(vboth(finite, vless_equal(checked, checked)));
        plain &= vall(vboth(vless(vabs(a), vset(ORDINARY_HIGH)), FN(ordinary)(b, from)));
        vec x[GKL_PRODUCT + GKL_DIFFERENCE];
        FN(item_vector)(a, FN(converted)(b, from, kind), kind, x);
        for (int f = 0; f < GKL_PRODUCT + GKL_DIFFERENCE; ++f)
            vstore((REAL *)field[f] + j, x[f]);
        FN(tally_add)(&sum, kind == GKL_LOGVAR ? x[3] : x[5]);
        FN(tally_add)(&sum, x[6]);
    }
    double total = 0, rest = 0;
    for (int i = 0; i < LANES; ++i) {
#if BITS == 32
        gkl_two_sum(&total, &rest, i < LANES / 2 ? sum.low[i] : sum.high[i - LANES / 2]);
#else
        gkl_two_sum(&total, &rest, sum.sum[i]);
        rest += sum.rest[i];
#endif
    }
    const double times = kind == GKL_STD ? 2 : 1;
    REAL *both = logdet;
    both[0] = (REAL)(times * total);
    both[1] = (REAL)(times * ((total - (double)both[0] / times) + rest));
    if (good && plain)
        return GKL_PLAIN;
    for (int f = 0; f < GKL_PRODUCT + GKL_DIFFERENCE; ++f)
        for (ptrdiff_t j = 0; j < n; ++j)
            ((REAL *)field[f])[j] = f == 0 ? (REAL)0x1p20 : f == 1 || f == 2 || f == 4 ? 1 : 0;
    both[0] = both[1] = 0;
    return good ? GKL_EXTREME : GKL_BAD;
}

/* Row r of its panel of PAIR_ROWS: the first numbers of a dimension beside those of the other rows,
 * the further ones by themselves. */
static void FN(pairwise_row)(ptrdiff_t n, const void *const *field, ptrdiff_t r, void *product,
                             void *difference) {
    for (int f = 0; f < GKL_PRODUCT; ++f)
        for (ptrdiff_t j = 0; j < n; ++j)
            ((REAL *)product)[(j * PAIR_ROWS + r) * GKL_PRODUCT + f] = ((const REAL *)field[f])[j];
    for (int f = 0; f < GKL_DIFFERENCE; ++f)
        for (ptrdiff_t j = 0; j < n; ++j)
            ((REAL *)difference)[j * GKL_DIFFERENCE + f] =
                ((const REAL *)field[GKL_PRODUCT + f])[j];
}

/* ---- the product form: twice KL but for the logarithms ---- */

/* dimensions [first, end), added up from 0, in variables of its own that stay in registers */
INLINE void FN(product_chain)(ptrdiff_t first, ptrdiff_t end, const REAL *row,
                              const vec *const *lane, vec *to, const int reversed) {
    vec sum[PAIR_ROWS * PAIR_VECTORS];
    UNROLL for (int s = 0; s < PAIR_ROWS * PAIR_VECTORS; ++s)
        sum[s] = vset(0);
    for (ptrdiff_t j = first; j < end; ++j) {
        vec mean[PAIR_VECTORS], var[PAIR_VECTORS], inverse[PAIR_VECTORS];
        UNROLL for (int v = 0; v < PAIR_VECTORS; ++v) {
            mean[v] = lane[v][j * GKL_PRODUCT];
            var[v] = lane[v][j * GKL_PRODUCT + 1];
            inverse[v] = lane[v][j * GKL_PRODUCT + 2];
        }
        UNROLL for (int r = 0; r < PAIR_ROWS; ++r) {
            const REAL *x = row + (j * PAIR_ROWS + r) * GKL_PRODUCT;
            UNROLL for (int v = 0; v < PAIR_VECTORS; ++v) {
                vec *s = &sum[r * PAIR_VECTORS + v];
                const vec delta = vminus(mean[v], &x[0]);
                const vec excess = vminus(var[v], &x[1]);
                if (reversed)
                    *s = vfma(vset(x[2]), vfma(delta, delta, excess), *s);
                else
                    *s = vfma(inverse[v], vfma(delta, delta, -excess), *s);
            }
        }
    }
    UNROLL for (int s = 0; s < PAIR_ROWS * PAIR_VECTORS; ++s)
        to[s] = sum[s];
}

INLINE void FN(product_form)(ptrdiff_t dim, const REAL *row, const vec *const *lane, vec *total,
                             const int reversed) {
    enum { SUMS = PAIR_ROWS * PAIR_VECTORS };
    FN(product_chain)(0, FN(smaller)(PAIR_CHAIN, dim), row, lane, total, reversed);
    for (ptrdiff_t first = PAIR_CHAIN; first < dim; first += PAIR_BLOCK) {
        const ptrdiff_t block_end = FN(smaller)(first + PAIR_BLOCK, dim);
        vec sum[SUMS], part[SUMS];
        UNROLL for (int s = 0; s < SUMS; ++s)
            sum[s] = vset(0);
        for (ptrdiff_t at = first; at < block_end; at += PAIR_CHAIN) {
            FN(product_chain)(at, FN(smaller)(at + PAIR_CHAIN, block_end), row, lane, part, reversed);
            UNROLL for (int s = 0; s < SUMS; ++s)
                sum[s] = sum[s] + part[s];
        }
        UNROLL for (int s = 0; s < SUMS; ++s)
            total[s] = total[s] + sum[s];
    }
}

/* Where the product form is good enough: KL >= this times d.
 *
 * u_j is found with a relative error of 2 eps, sums of 16 and of what they give lose about 6 eps
 * of the sum of |u_j| + delta_j^2/v, which is at most 2.6 sqrt(d KL) + 6.5 KL, since |u| is at most
 * 1.8 sqrt(phi) or 3.3 phi.  To this come, for each dimension, 0.7 eps from each logarithm, and
 * what v and 1/v were rounded by where they are not parameters: eps from a standard deviation, 5 eps
 * from a log-variance.  With x = sqrt(d/KL) the relative error is within 1e-5 (1e-13 of double) where
 *
 *     c (2.6 x + 6.5) + e x^2 <= 168 (900),   c = 6, 7, 8.5,   e = 1.4, 3.8, 5
 *
 * (in units of half an eps), which gives x, and this is 1/x^2, by kind of parameter. */
#if BITS == 32
static const REAL FN(product_limit)[] = {(REAL)0.035, (REAL)0.072, (REAL)0.11};
#else
static const REAL FN(product_limit)[] = {0.0026, 0.0063, 0.0085};
#endif

/* ---- the difference form and the other divergences, a dimension of a row and a vector ---- */

enum { FN(SKEW_TERMS) = COUNT(FN(skew_coefficients)) };

/* psi(y), y = log(a/b), from difference = a - b and the inverses of a and b; where y is not near 0
 * with the logarithms */
INLINE vec FN(psi_of_difference)(vec difference, vec over_a, vec over_b, const vec *a, const vec *b) {
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
        return vfma(delta, delta, vselect(vless(vabs(y), vset((REAL)0.5)),
                                          a[4] * b[4] * FN(twice_coshm1)(y), difference * difference));
    }
    vec difference = a[3] - b[3];
    if (kind == GKL_VAR)
        difference = difference + (a[4] - b[4]);
    return vfma(delta, delta, difference * difference);
}

/* Near v_a = v_b the two logarithms would cancel: phi(u) - phi((1 - a) u)/(1 - a) does not, far from
 * there it is the other way round. */
INLINE vec FN(pair_renyi)(const vec *a, const vec *b, const int kind, vec order, vec rest) {
    const int scale = kind == GKL_VAR ? 1 : 3;
    const vec one = vset(1), delta = a[0] - b[0];
    const FN(relation) x = FN(relate)(a[scale], b[scale], kind, kind, 0);
    const vec small = rest * x.excess, mixed = one + small;
    const vec above = mixed - one, lost = (one - (mixed - above)) + (small - above);
    const mask inside = vless(vset(ORDINARY_LOW), mixed);
    const vec safe = vselect(inside, mixed, one);
    const FN(ratio) m = FN(ratio_careful)(safe, one, vselect(inside, lost, vset(0)), OF_A, safe, one,
                                          vset(0), 1);
    const vec near = (x.half + x.half) - m.phi / rest, far = m.log / rest - x.log;
    const mask is_near = vless(vabs(x.excess), vset((REAL)0.5));
    const vec total = vselect(is_near, near, far) + order * (delta * (delta * b[2]) / safe);
    return vselect(inside, total, vset((REAL)INFINITY));
}

/* one row and one vector over all dimensions; `row` and `lane` are the numbers of the product form,
 * `row_more` and `lane_more` the others */
INLINE vec FN(strip)(ptrdiff_t dim, const REAL *row, const REAL *row_more, const vec *lane,
                     const vec *lane_more, REAL order, REAL rest, const int form,
                     const int kind) {
    enum { STRIP = 64 };
    vec total = vset(0);
    for (ptrdiff_t first = 0; first < dim; first += STRIP) {
        const ptrdiff_t end = FN(smaller)(first + STRIP, dim);
        vec even = vset(0), odd = vset(0);
        for (ptrdiff_t j = first; j < end; ++j) {
            vec p[GKL_PRODUCT + GKL_DIFFERENCE], q[GKL_PRODUCT + GKL_DIFFERENCE];
            UNROLL for (int f = 0; f < GKL_PRODUCT; ++f) {
                p[f] = vset(row[j * PAIR_ROWS * GKL_PRODUCT + f]);
                q[f] = lane[j * GKL_PRODUCT + f];
            }
            UNROLL for (int f = 0; f < GKL_DIFFERENCE; ++f) {
                p[GKL_PRODUCT + f] = vset(row_more[j * GKL_DIFFERENCE + f]);
                q[GKL_PRODUCT + f] = lane_more[j * GKL_DIFFERENCE + f];
            }
            const vec term = form == GKL_FORM_KL                 ? FN(pair_kl)(p, q, kind)
                             : form == GKL_FORM_REVERSE_KL       ? FN(pair_kl)(q, p, kind)
                             : form == GKL_FORM_JEFFREYS         ? FN(pair_jeffreys)(p, q, kind)
                             : form == GKL_FORM_WASSERSTEIN      ? FN(pair_wasserstein)(p, q, kind)
                             : form == GKL_FORM_RENYI
                                 ? FN(pair_renyi)(p, q, kind, vset(order), vset(rest))
                                 : FN(pair_renyi)(q, p, kind, vset(order), vset(rest));
            const vec before = even;
            even = odd;
            odd = before + term;
        }
        total = total + (even + odd);
    }
    return form == GKL_FORM_WASSERSTEIN ? total : total * vset((REAL)0.5);
}

/* ---- a tile ---- */

/* PAIR_ROWS rows and PAIR_VECTORS vectors by the product form; whether all are good enough, and which */
INLINE int FN(product_values)(const gkl_tile *t, const REAL *panel, const REAL *row_logdet,
                              const vec *const *lane, const vec *const *logdet, vec limit, vec *value,
                              mask *good, const int reversed) {
    FN(product_form)(t->dim, panel, lane, value, reversed);
    mask all = vless_equal(limit, limit);
    UNROLL for (int r = 0; r < PAIR_ROWS; ++r)
        UNROLL for (int v = 0; v < PAIR_VECTORS; ++v) {
            vec *x = &value[r * PAIR_VECTORS + v];
            const vec high = vminus(logdet[v][0], &row_logdet[2 * r]);
            const vec both = high + vminus(logdet[v][1], &row_logdet[2 * r + 1]);
            *x = vset((REAL)0.5) * (reversed ? *x - both : *x + both);
            good[r * PAIR_VECTORS + v] = vless_equal(limit, *x);
            all = vboth(all, good[r * PAIR_VECTORS + v]);
        }
    return vall(all);
}

INLINE void FN(tile_run)(const gkl_tile *t, const int form, const int kind) {
    const ptrdiff_t product = t->dim * GKL_PRODUCT, more = t->dim * GKL_DIFFERENCE;
    const int is_kl = form == GKL_FORM_KL || form == GKL_FORM_REVERSE_KL;
    const vec limit = vset((REAL)t->dim * FN(product_limit)[kind]);
    for (ptrdiff_t v = 0; v < t->vectors; v += PAIR_VECTORS) {
        const ptrdiff_t vectors = FN(smaller)(t->vectors - v, PAIR_VECTORS);
        const vec *lane[PAIR_VECTORS], *logdet[PAIR_VECTORS];
        for (int i = 0; i < PAIR_VECTORS; ++i) {
            lane[i] = (const vec *)t->lane + (v + (i < vectors ? i : 0)) * product;
            logdet[i] = (const vec *)t->lane_logdet + (v + (i < vectors ? i : 0)) * 2;
        }
        for (ptrdiff_t first = 0; first < t->rows; first += PAIR_ROWS) {
            const ptrdiff_t rows = FN(smaller)(t->rows - first, PAIR_ROWS);
            const REAL *panel = (const REAL *)t->row + first * product;
            vec value[PAIR_ROWS * PAIR_VECTORS];
            mask good[PAIR_ROWS * PAIR_VECTORS];
            const int all = is_kl
                            && FN(product_values)(t, panel, (const REAL *)t->row_logdet + 2 * first,
                                                  lane, logdet, limit, value, good,
                                                  form == GKL_FORM_REVERSE_KL);
            for (ptrdiff_t r = 0; r < rows && !all; ++r)
                for (ptrdiff_t i = 0; i < vectors; ++i) {
                    const ptrdiff_t at = r * PAIR_VECTORS + i;
                    if (is_kl && vall(good[at]))
                        continue;
                    const vec x = FN(strip)(t->dim, panel + r * GKL_PRODUCT,
                                            (const REAL *)t->row_more + (first + r) * more, lane[i],
                                            (const vec *)t->lane_more + (v + i) * more,
                                            (REAL)t->order, (REAL)t->rest, form, kind);
                    value[at] = is_kl ? vselect(good[at], value[at], x) : x;
                }
            REAL *to = (REAL *)t->value + first * t->stride + v * LANES;
            for (ptrdiff_t r = 0; r < rows; ++r, to += t->stride)
                for (ptrdiff_t i = 0; i < vectors; ++i)
                    vstore(to + i * LANES, value[r * PAIR_VECTORS + i]);
        }
    }
}

/* which of n <= 64 values are less than a limit: bit i for value i */
static uint64_t FN(pairwise_less)(const void *value, ptrdiff_t n, double limit) {
    const REAL *x = value;
    uint64_t found = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const mask less = vless(vload(x + i), vset((REAL)limit));
        if (vany(less))
            found |= (uint64_t)vbits(less) << i;
    }
    for (; i < n; ++i)
        found |= (uint64_t)(x[i] < (REAL)limit) << i;
    return found;
}

#define BODY(form, kind)                                                                           \
    static void FN(tile_##form##_##kind)(const gkl_tile *t) {                                      \
        FN(tile_run)(t, GKL_FORM_##form, GKL_##kind);                                              \
    }
#define BODIES(form) BODY(form, VAR) BODY(form, STD) BODY(form, LOGVAR)
BODIES(KL)
BODIES(REVERSE_KL)
BODIES(JEFFREYS)
BODIES(WASSERSTEIN)
BODIES(RENYI)
BODIES(REVERSE_RENYI)
#undef BODIES
#undef BODY

#ifndef PAIR_FORMS /* the table's row of each form */
#define PAIR_FORM(form, suffix)                                                                    \
    [GKL_FORM_##form] = {GKL_PASTE(tile_##form##_VAR, suffix), GKL_PASTE(tile_##form##_STD, suffix), \
                         GKL_PASTE(tile_##form##_LOGVAR, suffix)}
#define PAIR_FORMS(suffix)                                                                         \
    {PAIR_FORM(KL, suffix),       PAIR_FORM(REVERSE_KL, suffix),  PAIR_FORM(JEFFREYS, suffix),     \
     PAIR_FORM(WASSERSTEIN, suffix), PAIR_FORM(RENYI, suffix), PAIR_FORM(REVERSE_RENYI, suffix)}
#endif
