/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Gaussians with a matrix or a factor: made, put into memory, run, compared.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"

int structured(int p, int q) { return p != GKL_UNIT && (p > GKL_UNIT || q > GKL_UNIT); }

int has_output(int p, int q, int output) {
    if (output == GKL_ENTROPY)
        return q == GKL_UNIT;
    if (output == GKL_FACTOR)
        return q == GKL_UNIT && (p == GKL_COV || p == GKL_PRECISION);
    return output != GKL_PER_DIM;
}

int tried(int size, int p, int q, int type) {
    if (size < 1)
        return !quick || (p + q) % 2 == type;
    return (p + q + size) % 2 == type && (!quick || (p + 2 * q + size) % 3 == 0);
}

/* L of a well-conditioned L L^T */
static void make_tril(double *to, ptrdiff_t d) {
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j)
            to[i * d + j] = j > i    ? (double)NAN
                            : i == j ? exp(uniform(-0.5, 0.5))
                                     : uniform(-1, 1) / sqrt((double)d);
}

static void make_scale(gkl_kind kind, gkl_type type, double *to, ptrdiff_t d) {
    if (kind < GKL_COV || kind == GKL_LOW_RANK) {
        for (ptrdiff_t i = 0; i < d; ++i)
            to[i] = rounded(type, kind == GKL_LOGVAR ? uniform(-1, 1) : exp(uniform(-1, 1)));
        return;
    }
    make_tril(to, d);
    if (kind != GKL_TRIL) /* from the last element on: L is read before it is written over */
        for (ptrdiff_t i = d - 1; i >= 0; --i)
            for (ptrdiff_t j = i; j >= 0; --j) {
                double sum = 0;
                for (ptrdiff_t k = 0; k <= j; ++k)
                    sum += to[i * d + k] * to[j * d + k];
                to[i * d + j] = sum;
            }
    for (ptrdiff_t i = 0; i < d * d; ++i)
        to[i] = rounded(type, to[i]);
}

void matrices_make(gaussians *x, int p, int q, gkl_type type, ptrdiff_t rows, ptrdiff_t d) {
    *x = (gaussians){.p = (gkl_kind)p, .q = (gkl_kind)q, .type = type, .rows = rows, .d = d,
                     .width = d};
    x->rank_p = p == GKL_LOW_RANK ? (d < 3 ? d : 3) : 0;
    x->rank_q = q == GKL_LOW_RANK ? (p == q ? x->rank_p : d < 2 ? d : 2) : 0;
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        const int is_q = k == 2 || k == 3 || k == GKL_FACTOR_Q;
        const gkl_kind kind = is_q ? x->q : x->p;
        if ((is_q && q == GKL_UNIT) || (k >= GKL_FACTOR_P && kind != GKL_LOW_RANK)
            || k == GKL_WEIGHT)
            continue;
        const ptrdiff_t n = item_size(x, k);
        x->in[k] = malloc((size_t)(rows * n + 1) * sizeof(double));
        for (ptrdiff_t i = 0; i < rows; ++i)
            if (k == 1 || k == 3)
                make_scale(kind, type, x->in[k] + i * n, d);
            else
                for (ptrdiff_t j = 0; j < n; ++j)
                    x->in[k][i * n + j] = rounded(type, uniform(-1, 1));
    }
}

static double moved(double x, double e) { return e > 0 ? x * (1 + uniform(-e, e)) : x; }

void matrices_near(gaussians *x, ptrdiff_t item, double e) {
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        const int from = k < 2 ? k + 2 : GKL_FACTOR_Q;
        if ((k > 1 && k != GKL_FACTOR_P) || !x->in[k])
            continue;
        const ptrdiff_t n = item_size(x, k);
        double *to = x->in[k] + item * n;
        for (ptrdiff_t i = 0; i < n; ++i) {
            const int on_diagonal = k == 1 && is_matrix(x, 1) && i % (x->d + 1) == 0;
            const int above = k == 1 && is_matrix(x, 1) && i % x->d > i / x->d;
            if (x->q == GKL_UNIT) /* of a low rank: v = 1 and hardly a factor */
                to[i] = above ? (double)NAN
                              : (on_diagonal || (k == 1 && !is_matrix(x, 1))) + uniform(-e, e);
            else
                to[i] = moved(x->in[from][item * n + i], e);
            to[i] = rounded(x->type, to[i]);
        }
    }
}

void matrices_far(gaussians *x, ptrdiff_t item, double factor) {
    const ptrdiff_t n = item_size(x, 1), m = item_size(x, GKL_FACTOR_P);
    const double root = sqrt(factor);
    for (ptrdiff_t i = 0; i < n; ++i) {
        double *to = x->in[1] + item * n + i;
        *to = x->p == GKL_LOGVAR                          ? rounded(x->type, *to + log(factor))
              : x->p == GKL_STD || x->p == GKL_TRIL ? *to * root
              : x->p == GKL_PRECISION                     ? *to / factor
                                                          : *to * factor;
    }
    for (ptrdiff_t i = 0; x->p == GKL_LOW_RANK && i < m; ++i)
        x->in[GKL_FACTOR_P][item * m + i] *= root;
}

gaussians alone(const gaussians *x, ptrdiff_t item) {
    gaussians one = *x;
    one.rows = 1;
    for (int k = 0; k < GKL_MAX_IN; ++k)
        if (one.in[k])
            one.in[k] += item * item_size(x, k);
    return one;
}
