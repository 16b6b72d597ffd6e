/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums over rows, in one fixed order that knows nothing of threads, strides or the position in the
 * batch, so that a row has the same bits everywhere:
 *
 *     d > 16    terms j and j + 16 of each 32 are added as they are; that goes to partial sum
 *               j mod 16, a double; then partial sums i and i + 8, i + 4, i + 2, i + 1
 *     d <= 16   terms i and i + 8, then i + 4 as they are; the last four in double
 *
 * What is added as it is costs two roundings at most, whatever the length. Sums of float lose
 * nothing in double; those of double carry their rounding errors along (Knuth's two-sum).
 *
 * Parameters: real.h and the vector words.
 */
#ifndef REAL
#error kernels/sums.inc.h needs simd/real.h
#endif

enum { FN(COMPENSATED) = BITS == 64 };

/* The tree of partial sums; those beyond `lanes` are zero and would change nothing. */
INLINE double FN(tree)(double *sum, double *rest, const int lanes) {
#pragma GCC unroll 8
    for (int half = GKL_SUM_LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < half; ++i)
            if (i + half < lanes) {
                if (FN(COMPENSATED)) {
                    rest[i] = rest[i] + rest[i + half];
                    gkl_two_sum(&sum[i], &rest[i], sum[i + half]);
                } else {
                    sum[i] = sum[i] + sum[i + half];
                }
            }
    return gkl_sum_of(sum[0], FN(COMPENSATED) ? rest[0] : 0);
}

/* sum + x in vectors, the errors to rest */
INLINE wide FN(two_sum)(wide sum, wide x, wide *rest) {
    const wide s = sum + x, y = s - sum;
    *rest = *rest + ((sum - (s - y)) + (x - y));
    return s;
}

enum { FN(WIDES) = GKL_SUM_LANES * 8 / VECTOR_BYTES, FN(VECTORS) = GKL_SUM_LANES / LANES };

/* the sixteen pairs of 32 terms to sixteen partial sums */
INLINE void FN(add_pairs)(wide *sum, wide *rest, const REAL *t) {
    for (int v = 0; v < FN(VECTORS); ++v) {
        const vec pair = vload(t + v * LANES) + vload(t + GKL_SUM_LANES + v * LANES);
#if BITS == 64
        sum[v] = FN(two_sum)(sum[v], pair, &rest[v]);
#else
        wide low, high;
        vwiden(pair, &low, &high);
        sum[2 * v] = sum[2 * v] + low;
        sum[2 * v + 1] = sum[2 * v + 1] + high;
        (void)rest;
#endif
    }
}

INLINE void FN(add_terms)(wide *sum, wide *rest, const REAL *term, ptrdiff_t n) {
    enum { PAIRS = 2 * GKL_SUM_LANES };
    ptrdiff_t j = 0;
    for (; j + PAIRS <= n; j += PAIRS)
        FN(add_pairs)(sum, rest, term + j);
    if (j < n) {
        REAL last[PAIRS] = {0};
        memcpy(last, term + j, (size_t)(n - j) * sizeof(REAL));
        FN(add_pairs)(sum, rest, last);
    }
}

/* the tree, its first levels in whole vectors */
INLINE double FN(total)(wide *sum, wide *rest) {
    double s[VECTOR_BYTES / 8], r[VECTOR_BYTES / 8];
#pragma GCC unroll 8
    for (int half = FN(WIDES) / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; ++i) {
            if (FN(COMPENSATED)) {
                rest[i] = rest[i] + rest[i + half];
                sum[i] = FN(two_sum)(sum[i], sum[i + half], &rest[i]);
            } else {
                sum[i] = sum[i] + sum[i + half];
            }
        }
    memcpy(s, &sum[0], sizeof s);
    memcpy(r, &rest[0], sizeof r);
    return FN(tree)(s, r, VECTOR_BYTES / 8);
}

static void FN(sum_add)(gkl_sum *sum, const void *term, ptrdiff_t n) {
    wide s[FN(WIDES)], r[FN(WIDES)];
    memcpy(s, sum->sum, sizeof s);
    memcpy(r, sum->rest, sizeof r);
    FN(add_terms)(s, r, term, n);
    memcpy(sum->sum, s, sizeof s);
    memcpy(sum->rest, r, sizeof r);
}

static double FN(sum_total)(const gkl_sum *sum) {
    gkl_sum s = *sum;
    return FN(tree)(s.sum, s.rest, GKL_SUM_LANES);
}

/* terms i, i + 8, i + 4 and i + 12 of a row of d <= 16; d and i are constants */
INLINE double FN(four_terms)(const REAL *t, const int d, const int i) {
    if (i >= d)
        return 0;
    const REAL low = i + 8 < d ? t[i] + t[i + 8] : t[i];
    if (i + 4 >= d)
        return (double)low;
    return (double)(low + (i + 12 < d ? t[i + 4] + t[i + 12] : t[i + 4]));
}

INLINE void FN(sum_short_rows)(const REAL *t, ptrdiff_t rows, const int d, double *total) {
    for (ptrdiff_t r = 0; r < rows; ++r, t += d) {
        double a = FN(four_terms)(t, d, 0), b = FN(four_terms)(t, d, 1), rest = 0;
        const double c = FN(four_terms)(t, d, 2), e = FN(four_terms)(t, d, 3);
        if (FN(COMPENSATED)) {
            gkl_two_sum(&a, &rest, c);
            gkl_two_sum(&b, &rest, e);
            gkl_two_sum(&a, &rest, b);
        } else {
            a = (a + c) + (b + e);
        }
        total[r] = gkl_sum_of(a, rest);
    }
}

static void FN(sum_rows)(const void *term, ptrdiff_t rows, ptrdiff_t d, double *total) {
    const REAL *t = term;
#define SHORT(n)                                                                                 \
    case n:                                                                                      \
        FN(sum_short_rows)(t, rows, n, total);                                                   \
        return;
    switch (d) {
        SHORT(1) SHORT(2) SHORT(3) SHORT(4) SHORT(5) SHORT(6) SHORT(7) SHORT(8)
        SHORT(9) SHORT(10) SHORT(11) SHORT(12) SHORT(13) SHORT(14) SHORT(15) SHORT(16)
    default:
        break;
    }
#undef SHORT
    for (ptrdiff_t r = 0; r < rows; ++r, t += d) {
        wide sum[FN(WIDES)] = {0}, rest[FN(WIDES)] = {0};
        FN(add_terms)(sum, rest, t, d);
        total[r] = FN(total)(sum, rest);
    }
}

/* x[i] to sum[i] */
INLINE void FN(add_each)(double *sum, double *rest, const REAL *x, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; ++i) {
        if (FN(COMPENSATED))
            gkl_two_sum(&sum[i], &rest[i], (double)x[i]);
        else
            sum[i] += (double)x[i];
    }
}

/* columns keep the order of rows: a term waits for the one 16 further on */
static void FN(sum_column)(gkl_column_sum *sum, const void *term, ptrdiff_t rows, ptrdiff_t j) {
    const ptrdiff_t lane = j % GKL_SUM_LANES;
    const REAL *t = term;
    REAL *held = (REAL *)sum->held[lane];
    if (j / GKL_SUM_LANES % 2 == 0) {
        memcpy(held, t, (size_t)rows * sizeof(REAL));
        return;
    }
    for (ptrdiff_t r = 0; r < rows; ++r)
        held[r] += t[r];
    FN(add_each)(sum->sum[lane], sum->rest[lane], held, rows);
}

static void FN(sum_columns_total)(gkl_column_sum *sum, ptrdiff_t rows, ptrdiff_t d,
                                  double *total) {
    if (d <= GKL_SUM_LANES) {
        for (ptrdiff_t r = 0; r < rows; ++r) {
            REAL row[GKL_SUM_LANES];
            for (ptrdiff_t j = 0; j < d; ++j)
                row[j] = ((const REAL *)sum->held[j])[r];
            FN(sum_rows)(row, 1, d, &total[r]);
        }
        return;
    }
    for (ptrdiff_t j = d / (2 * GKL_SUM_LANES) * 2 * GKL_SUM_LANES; j < d; ++j) {
        const ptrdiff_t lane = j % GKL_SUM_LANES;
        if (j / GKL_SUM_LANES % 2 == 0 && j + GKL_SUM_LANES >= d)
            FN(add_each)(sum->sum[lane], sum->rest[lane], (const REAL *)sum->held[lane], rows);
    }
    for (ptrdiff_t r = 0; r < rows; ++r) {
        double s[GKL_SUM_LANES], rest[GKL_SUM_LANES] = {0};
        for (int lane = 0; lane < GKL_SUM_LANES; ++lane) {
            s[lane] = sum->sum[lane][r];
            if (FN(COMPENSATED))
                rest[lane] = sum->rest[lane][r];
        }
        total[r] = FN(tree)(s, rest, GKL_SUM_LANES);
    }
}

/* gradients of shared parameters */
static void FN(accumulate)(double *sum, double *rest, const void *gradient, ptrdiff_t n) {
    FN(add_each)(sum, rest, gradient, n);
}
