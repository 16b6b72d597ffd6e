/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The filter of one Gaussian of low rank, and the small matrices of vectors that it works with, row
 * by row; see low_rank.inc.h.  Double only.
 */

typedef struct {
    ptrdiff_t dim, rank;
    const vec *factor; /* dim x rank */
    const vec *var;
    const vec *mean; /* NULL: 0 */
} low_rank_side;

INLINE vec low_rank_dot(ptrdiff_t n, const vec *x, const vec *y) {
    vec sum = vset(0);
    for (ptrdiff_t i = 0; i < n; ++i)
        sum = vfma(x[i], y[i], sum);
    return sum;
}

INLINE void low_rank_clear(ptrdiff_t n, vec *x) {
    for (ptrdiff_t i = 0; i < n; ++i)
        x[i] = vset(0);
}

INLINE void low_rank_identity(ptrdiff_t n, vec *a) {
    low_rank_clear(n * n, a);
    for (ptrdiff_t i = 0; i < n; ++i)
        a[i * n + i] = vset(1);
}

/* u_j = sum_i x_i a_ij, four columns at a time; the same of y with v when there is a y */
INLINE void low_rank_rows_times(ptrdiff_t m, ptrdiff_t n, const vec *a, const vec *x, vec *u,
                                const vec *y, vec *v, const int two) {
    ptrdiff_t j = 0;
    for (; j + 4 <= n; j += 4) {
        vec s[4], t[4];
        for (int l = 0; l < 4; ++l)
            s[l] = t[l] = vset(0);
        for (ptrdiff_t i = 0; i < m; ++i)
            for (int l = 0; l < 4; ++l) {
                s[l] = vfma(x[i], a[i * n + j + l], s[l]);
                if (two)
                    t[l] = vfma(y[i], a[i * n + j + l], t[l]);
            }
        for (int l = 0; l < 4; ++l) {
            u[j + l] = s[l];
            if (two)
                v[j + l] = t[l];
        }
    }
    for (; j < n; ++j) {
        vec s = vset(0), t = vset(0);
        for (ptrdiff_t i = 0; i < m; ++i) {
            s = vfma(x[i], a[i * n + j], s);
            if (two)
                t = vfma(y[i], a[i * n + j], t);
        }
        u[j] = s;
        if (two)
            v[j] = t;
    }
}

/* a <- a + times x y^T, times = 1 or -1 */
INLINE void low_rank_add_outer(ptrdiff_t m, ptrdiff_t n, const vec *x, const vec *y, vec *a,
                               const int times) {
    for (ptrdiff_t i = 0; i < m; ++i)
        for (ptrdiff_t j = 0; j < n; ++j)
            a[i * n + j] = times > 0 ? vfma(x[i], y[j], a[i * n + j])
                                     : vfnma(x[i], y[j], a[i * n + j]);
}

/* u <- u + a x and v <- v + a^T y, for `rows` rows of n */
INLINE void low_rank_some_rows(ptrdiff_t n, const vec *a, const vec *x, vec *u, const vec *y,
                               vec *v, const int rows) {
    vec s[4];
    for (int l = 0; l < rows; ++l)
        s[l] = u[l];
    for (ptrdiff_t j = 0; j < n; ++j) {
        const vec xj = x[j];
        vec vj = v[j];
        for (int l = 0; l < rows; ++l) {
            s[l] = vfma(a[l * n + j], xj, s[l]);
            vj = vfma(a[l * n + j], y[l], vj);
        }
        v[j] = vj;
    }
    for (int l = 0; l < rows; ++l)
        u[l] = s[l];
}

INLINE void low_rank_both_ways(ptrdiff_t n, const vec *a, const vec *x, vec *u, const vec *y,
                               vec *v) {
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        low_rank_some_rows(n, a + i * n, x, u + i, y + i, v, 4);
    for (; i < n; ++i)
        low_rank_some_rows(n, a + i * n, x, u + i, y + i, v, 1);
}

/* u = a x for a symmetric a whose lower rows follow one another */
INLINE void low_rank_symmetric(ptrdiff_t n, const vec *a, const vec *x, vec *u) {
    for (ptrdiff_t i = 0; i < n; a += ++i) {
        vec s = a[i] * x[i];
        for (ptrdiff_t j = 0; j < i; ++j) {
            s = vfma(a[j], x[j], s);
            u[j] = vfma(a[j], x[i], u[j]);
        }
        u[i] = s;
    }
}

/* `rows` rows of G: of c, K and C g, and then of the next G */
INLINE void low_rank_renew(ptrdiff_t n, vec *root, const vec *t, vec part, vec inverse, vec *c,
                           vec *gain, vec *cg, const int two, const int rows) {
    vec s[4], w[4];
    for (int l = 0; l < rows; ++l)
        s[l] = w[l] = vset(0);
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int l = 0; l < rows; ++l) {
            s[l] = vfma(root[l * n + j], t[j], s[l]);
            if (two)
                w[l] = vfma(root[l * n + j], t[n + j], w[l]);
        }
    for (int l = 0; l < rows; ++l) {
        c[l] = s[l];
        gain[l] = s[l] * inverse;
        if (two)
            cg[l] = w[l];
        s[l] = s[l] * part;
    }
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int l = 0; l < rows; ++l)
            root[l * n + j] = vfnma(s[l], t[j], root[l * n + j]);
}

/* One row of a filter: c = C f and K = c/D, and C g for a second vector; gives 1/D and `share`,
 * which is f^T C f; then C for the next row.  t is room for 2 rank. */
INLINE vec low_rank_step(ptrdiff_t n, vec *root, const vec *f, vec v, vec *c, vec *gain, vec *share,
                         const vec *g, vec *cg, vec *t, const int two) {
    const vec one = vset(1);
    low_rank_rows_times(n, n, root, f, t, g, t + n, two);
    *share = low_rank_dot(n, t, t);
    const vec inverse = one / (v + *share), part = inverse / (one + vsqrt(v * inverse));
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        low_rank_renew(n, root + i * n, t, part, inverse, c + i, gain + i, cg + i, two, 4);
    for (; i < n; ++i)
        low_rank_renew(n, root + i * n, t, part, inverse, c + i, gain + i, cg + i, two, 1);
    return inverse;
}

/* log det of the covariance */
static vec low_rank_log_det(const low_rank_side *p, vec *work) {
    const ptrdiff_t n = p->rank;
    vec *c = work, *gain = c + n, *t = gain + n, *root = t + 2 * n, share, low;
    FN(tally) log = {vset(0), vset(0)};
    low_rank_identity(n, root);
    for (ptrdiff_t k = 0; k < p->dim; ++k) {
        low_rank_step(n, root, p->factor + k * n, p->var[k], c, gain, &share, c, c, t, 0);
        const vec high = FN(log_parts)(p->var[k] + share, &low);
        FN(tally_add)(&log, high);
        FN(tally_add)(&log, low);
    }
    return FN(tally_total)(&log, 1);
}

/* the factor with columns of zeros after its own */
static const vec *low_rank_filled(const low_rank_side *p, ptrdiff_t rank, vec *to) {
    for (ptrdiff_t k = 0; k < p->dim; ++k)
        for (ptrdiff_t j = 0; j < rank; ++j)
            to[k * rank + j] = j < p->rank ? p->factor[k * p->rank + j] : vset(0);
    return to;
}
