/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Matrices and low ranks: gradients of shared parameters, summed over the batch, with weights.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"

/* sums of the gradients of `each` as `how` asks for them, and of their absolute values */
static void check_sum(const gaussians *x, const manner *how, int k, const results *each,
                      const results *got) {
    const ptrdiff_t n = each->n[k] / x->rows;
    const ptrdiff_t all[] = {x->rows, 6, 2, 1}, kept = all[how->summed >> k & 1 ? how->nsum : 0];
    const ptrdiff_t width = how->summed_d >> k & 1 ? 1 : n;
    const long double eps = x->type == GKL_F64 ? 0x1p-52L : 0x1p-23L;
    long double *sum = calloc((size_t)(kept * width) * 2, sizeof *sum);
    check(got->n[k] == kept * width, "gradient %d has %td numbers, not %td", k, got->n[k],
          kept * width);
    for (ptrdiff_t i = 0; i < x->rows; ++i)
        for (ptrdiff_t j = 0; j < n; ++j) {
            const ptrdiff_t to = i / (x->rows / kept) * width + (width > 1 ? j : 0);
            const long double g = (long double)each->out[k][i * n + j];
            sum[2 * to] += g;
            sum[2 * to + 1] += fabsl(g);
        }
    for (ptrdiff_t i = 0; i < got->n[k]; ++i)
        check(fabsl((long double)got->out[k][i] - sum[2 * i]) <= 2 * eps * sum[2 * i + 1],
              "%s-%s %s %td x %td, gradient %d: %.17g, not %.17Lg", kind_names[x->p],
              kind_names[x->q], type_names[x->type], x->rows, x->d, k, got->out[k][i], sum[2 * i]);
    free(sum);
}

static void check_sums(gaussians *x) {
    const manner plain = {.output = GKL_GRAD, .batch_axes = 3, .nthreads = 1};
    int vectors = 0;
    EACH(k, 5) vectors |= (k > 0 && !is_matrix(x, k - 1)) << k;
    results each = solve(x, &plain);
    EACH(nsum, 4) EACH(mask, 4) EACH(dims, 2) {
        const int large = x->rows > 100;
        if ((nsum == 0 && (mask > 0 || !dims)) || (large && (nsum == 2 || mask % 2)))
            continue;
        manner how = plain;
        how.nsum = nsum;
        how.summed = nsum ? (int[]){126, 88, 84, 38}[mask] : 0;
        how.summed_d = dims ? vectors & 22 : 0;
        how.nthreads = 3;
        results got = solve(x, &how);
        check(memcmp(got.out[0], each.out[0], (size_t)x->rows * sizeof(double)) == 0,
              "the value beside summed gradients is another");
        for (int k = 1; k < output_count(x, GKL_GRAD); ++k)
            if (got.out[k])
                check_sum(x, &how, k, &each, &got);
        how.nthreads = 1;
        results again = solve(x, &how);
        check(same(&got, &again), "other sums with one thread");
        results_free(&again);
        results_free(&got);
        if (nsum < 3 || large)
            continue;
        double *one = &x->in[1][x->rows / 2 * item_size(x, 1)], before = *one;
        *one = (double)NAN;
        got = solve(x, &how);
        *one = before;
        check(got.bad == 1, "%td bad items in summed gradients", got.bad);
        for (int k = 1; k < output_count(x, GKL_GRAD); ++k)
            for (ptrdiff_t i = 0; how.summed >> k & 1 && i < got.n[k]; ++i) {
                const int lower = (k == 2 && x->p == GKL_TRIL) || (k == 4 && x->q == GKL_TRIL);
                check(isnan(got.out[k][i]) || (lower && i % x->d > i / x->d),
                      "gradient %d with a bad item is %g", k, got.out[k][i]);
            }
        results_free(&got);
    }
    results_free(&each);
}

void test_full_sums(void) {
    static const ptrdiff_t sizes[][2] = {{6, 1}, {6, 4}, {60, 5}, {36, 17}, {1200, 6}, {12, 33}};
    group_begin("full: summed gradients");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q) EACH(t, 2) {
        if (!tried(s, p, q, t) || (s > 3 && (p + q) % 3 != 0))
            continue;
        gaussians x;
        matrices_make(&x, p, q, computed[t], sizes[s][0], sizes[s][1]);
        if (s % 2) {
            x.in[GKL_WEIGHT] = malloc((size_t)x.rows * sizeof(double));
            for (ptrdiff_t i = 0; i < x.rows; ++i)
                x.in[GKL_WEIGHT][i] = rounded(x.type, i % 5 ? uniform(-1, 1) : 0);
        }
        check_sums(&x);
        gaussians_free(&x);
    }
    group_end();
}

/* A weight scales every gradient, rounded once; 0 times an overflow is 0. */
void test_full_weights(void) {
    enum { N = 21 };
    group_begin("full: weights");
    EACH_STRUCTURED(p, q) EACH(t, 2) EACH(d, 9) {
        const manner how = {.output = GKL_GRAD, .batch_axes = 1, .nthreads = 1};
        gaussians x;
        matrices_make(&x, p, q, computed[t], N, d + 1);
        const double large = t ? 0x1p1000 : 0x1p120; /* its square is too much */
        EACH(i, N) if (i % 4 == 0)
            for (ptrdiff_t j = 0; j <= d; ++j)
                x.in[0][i * (d + 1) + j] = large;
        results plain = solve(&x, &how);
        x.in[GKL_WEIGHT] = malloc(N * sizeof(double));
        EACH(i, N) x.in[GKL_WEIGHT][i] = i % 2 ? rounded(x.type, uniform(-2, 2)) : 0;
        results got = solve(&x, &how);
        check(got.bad == 0 && plain.bad == 0, "%s-%s %s, d = %d: %td bad items, %td weighted",
              kind_names[p], kind_names[q], type_names[x.type], d + 1, plain.bad, got.bad);
        for (int k = 1; k < GKL_MAX_OUT; ++k)
            for (ptrdiff_t j = 0; j < got.n[k]; ++j) {
                const double w = x.in[GKL_WEIGHT][j / (got.n[k] / N)];
                const double want = w != 0 ? rounded(x.type, w * plain.out[k][j]) : 0;
                check(got.out[k][j] == want, "%s-%s %s, d = %d, gradient %d: %g times %g is %g",
                      kind_names[p], kind_names[q], type_names[x.type], d + 1, k, w,
                      plain.out[k][j], got.out[k][j]);
            }
        results_free(&got);
        results_free(&plain);
        gaussians_free(&x);
    }
    group_end();
}
