/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tiles of kernels/pairwise.inc.h need of an item, and its logarithm of the determinant.
 *
 * Parameters: real.h, the vector words, math.inc.h, lanes.inc.h.
 */
#ifndef REAL
#error kernels/pairwise_items.inc.h needs simd/real.h
#endif

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
