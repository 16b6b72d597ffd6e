/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums over rows in double, in one fixed order: element j to partial sum j mod 16, in turn; then
 * partial sums i and i + 8, i and i + 4, i and i + 2, 0 and 1.  The order knows nothing of
 * threads, strides or the position in the batch, so a row has the same bits everywhere.
 *
 * float terms are added plainly: double carries 29 bits more. double terms are added with their
 * rounding errors (Knuth's two-sum), so that the error does not grow with the length.
 *
 * Parameters: the vector words for BITS 64.
 */
#if !defined(BITS) || BITS != 64
#error kernels/sums.inc.h is for BITS 64
#endif

/* sum + x, the error to rest */
INLINE vec two_sum(vec sum, vec x, vec *rest) {
    const vec s = sum + x, y = s - sum;
    *rest = *rest + ((sum - (s - y)) + (x - y));
    return s;
}

INLINE void add_vector(double *sum, double *rest, const double *x, const int compensated) {
    if (compensated) {
        vec r = vload(rest);
        vstore(sum, two_sum(vload(sum), vload(x), &r));
        vstore(rest, r);
    } else {
        vstore(sum, vload(sum) + vload(x));
    }
}

/* the tree over the first `lanes` partial sums; the others are zero and would change nothing */
INLINE double tree(double *sum, double *rest, const int lanes, const int compensated) {
    for (int half = GKL_SUM_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i)
            if (i + half < lanes) {
                if (compensated) {
                    rest[i] = rest[i] + rest[i + half];
                    gkl_two_sum(&sum[i], &rest[i], sum[i + half]);
                } else {
                    sum[i] = sum[i] + sum[i + half];
                }
            }
    return compensated ? gkl_sum_of(sum[0], rest[0]) : sum[0] + 0.0;
}

INLINE void add_terms(gkl_sum *sum, const double *term, ptrdiff_t n, const int compensated) {
    enum { VECTORS = GKL_SUM_LANES / LANES };
    vec s[VECTORS], r[VECTORS];
    for (int v = 0; v < VECTORS; ++v) {
        s[v] = vload(sum->sum + v * LANES);
        r[v] = vload(sum->rest + v * LANES);
    }
    double last[GKL_SUM_LANES] = {0};
    for (ptrdiff_t j = 0; j < n; j += GKL_SUM_LANES) {
        const double *t = term + j;
        if (n - j < GKL_SUM_LANES)
            t = memcpy(last, t, (size_t)(n - j) * sizeof(double));
        for (int v = 0; v < VECTORS; ++v) {
            if (compensated)
                s[v] = two_sum(s[v], vload(t + v * LANES), &r[v]);
            else
                s[v] = s[v] + vload(t + v * LANES);
        }
    }
    for (int v = 0; v < VECTORS; ++v) {
        vstore(sum->sum + v * LANES, s[v]);
        vstore(sum->rest + v * LANES, r[v]);
    }
}

static void sum_add(gkl_sum *sum, const double *term, ptrdiff_t n, int compensated) {
    if (compensated)
        add_terms(sum, term, n, 1);
    else
        add_terms(sum, term, n, 0);
}

static double sum_total(const gkl_sum *sum, int compensated) {
    gkl_sum s = *sum;
    return compensated ? tree(s.sum, s.rest, GKL_SUM_LANES, 1)
                       : tree(s.sum, s.rest, GKL_SUM_LANES, 0);
}

/* d is a constant below 16: no partial sum has more than one element */
INLINE void sum_short_rows(const double *term, ptrdiff_t rows, const int d, const int compensated,
                           double *total) {
    for (ptrdiff_t i = 0; i < rows; ++i, term += d) {
        double sum[GKL_SUM_LANES], rest[GKL_SUM_LANES];
        for (int j = 0; j < d; ++j) {
            sum[j] = term[j];
            rest[j] = 0;
        }
        total[i] = tree(sum, rest, d, compensated);
    }
}

INLINE void sum_rows_as(const double *term, ptrdiff_t rows, ptrdiff_t d, const int compensated,
                        double *total) {
#define SHORT(n)                                                                                 \
    case n:                                                                                      \
        sum_short_rows(term, rows, n, compensated, total);                                       \
        return;
    switch (d) {
        SHORT(1) SHORT(2) SHORT(3) SHORT(4) SHORT(5) SHORT(6) SHORT(7) SHORT(8)
        SHORT(9) SHORT(10) SHORT(11) SHORT(12) SHORT(13) SHORT(14) SHORT(15) SHORT(16)
    default:
        break;
    }
#undef SHORT
    for (ptrdiff_t i = 0; i < rows; ++i, term += d) {
        gkl_sum s = {{0}, {0}};
        add_terms(&s, term, d, compensated);
        total[i] = tree(s.sum, s.rest, GKL_SUM_LANES, compensated);
    }
}

static void sum_rows(const double *term, ptrdiff_t rows, ptrdiff_t d, int compensated,
                     double *total) {
    if (compensated)
        sum_rows_as(term, rows, d, 1, total);
    else
        sum_rows_as(term, rows, d, 0, total);
}

static void sum_column(gkl_column_sum *sum, const double *term, ptrdiff_t rows, ptrdiff_t j,
                       int compensated) {
    double *s = sum->sum[j % GKL_SUM_LANES], *r = sum->rest[j % GKL_SUM_LANES];
    for (ptrdiff_t i = 0; i < rows; i += LANES) /* the arrays end at a whole vector */
        add_vector(s + i, r + i, term + i, compensated);
}

static void sum_columns_total(gkl_column_sum *sum, ptrdiff_t rows, int lanes, int compensated,
                              double *total) {
    for (int half = GKL_SUM_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half && i + half < lanes; ++i)
            for (ptrdiff_t k = 0; k < rows; k += LANES) {
                double *r = &sum->rest[i][k];
                if (compensated)
                    vstore(r, vload(r) + vload(&sum->rest[i + half][k]));
                add_vector(&sum->sum[i][k], r, &sum->sum[i + half][k], compensated);
            }
    for (ptrdiff_t k = 0; k < rows; ++k)
        total[k] = compensated ? gkl_sum_of(sum->sum[0][k], sum->rest[0][k]) : sum->sum[0][k] + 0.0;
}

static void widen_f64(double *to, const void *from, ptrdiff_t n) {
    memcpy(to, from, (size_t)n * sizeof(double));
}

static void widen_f32(double *to, const void *from, ptrdiff_t n) {
    const float *x = from;
    for (ptrdiff_t i = 0; i < n; ++i)
        to[i] = (double)x[i];
}

static void accumulate_f64(double *sum, double *rest, const void *gradient, ptrdiff_t n) {
    const double *x = gradient;
    for (ptrdiff_t i = 0; i < n; ++i)
        gkl_two_sum(&sum[i], &rest[i], x[i]);
}

static void accumulate_f32(double *sum, double *rest, const void *gradient, ptrdiff_t n) {
    const float *x = gradient;
    (void)rest;
    for (ptrdiff_t i = 0; i < n; ++i)
        sum[i] += (double)x[i];
}
