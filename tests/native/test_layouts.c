/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The same bits whatever the memory, the storage, the threads and the company of a row.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "reference.h"

/* Every layout of all operands together, and of each half alone, against C order. */
void test_layouts(void) {
    static const ptrdiff_t sizes[][2] = {{300, 1}, {150, 2}, {60, 5}, {132, 16},
                                         {30, 17}, {12, 33}, {6, 1030}};
    group_begin("layouts");
    EACH_PAIR(p, q) EACH(t, 2) EACH(s, COUNT(sizes)) {
        if ((sizes[s][1] > 1000 && p != q) || (quick && (p + q + s) % 2 != t))
            continue;
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], computed[t], GENERIC, sizes[s][0], sizes[s][1]);
        x.in[1][x.width * 5] = (double)NAN; /* bad items too */
        EACH_OUTPUT(output, q) {
            const manner plain = {.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            results want = solve(&x, &plain);
            EACH(at_end, 2) {
                manner how = plain;
                how.shift = 1;
                how.at_end = at_end;
                check_same(&x, &how, &want, "buffers off their alignment");
            }
            for (layout l = ROWS; l < SHARED; ++l)
                for (int part = l == ROWS ? 3 : 0; part < 4; ++part) { /* p, q, outputs; all */
                    manner how = plain;
                    how.batch_axes = 3;
                    how.at_end = part % 2;
                    EACH(k, GKL_MAX_IN)
                        how.in[k] = part == 3 || (k < 4 && part == k / 2) ? l : ROWS;
                    how.out = part >= 2 ? l : ROWS;
                    check_same(&x, &how, &want, layout_names[l]);
                }
            results_free(&want);
        }
        gaussians_free(&x);
    }
    /* operands that all rows, or all numbers, share: stride 0 */
    EACH_PAIR(p, q) EACH(t, 2) EACH(s, COUNT(sizes)) EACH(scalar, 2) EACH(first, 3) {
        if (s % 2 || (sizes[s][1] > 1000 && p != q))
            continue;
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], computed[t], GENERIC, sizes[s][0], sizes[s][1]);
        manner how = {.batch_axes = 1, .nthreads = 1};
        EACH(k, 4) {
            if (first < 2 && k / 2 != first)
                continue;
            if (scalar)
                for (ptrdiff_t j = 1; j < x.d; ++j)
                    x.in[k][j] = x.in[k][0];
            gaussians_share(&x, k);
            how.in[k] = scalar ? SCALAR : SHARED;
        }
        EACH_OUTPUT(output, q) {
            how.output = (gkl_output)output;
            const manner plain = {.output = how.output, .batch_axes = 1, .nthreads = 1};
            results want = solve(&x, &plain);
            check_same(&x, &how, &want, scalar ? "scalars" : "shared parameters");
            EACH(k, 4) how.in[k] = how.in[k] == ROWS ? COLUMNS : how.in[k];
            check_same(&x, &how, &want, "shared parameters beside columns");
            EACH(k, 4) how.in[k] = how.in[k] == COLUMNS ? ROWS : how.in[k];
            results_free(&want);
        }
        gaussians_free(&x);
    }
    group_end();
}

/* float16 and bfloat16 are read as the floats that they are. */
void test_storage(void) {
    group_begin("half storage");
    EACH_PAIR(p, q) for (gkl_type type = GKL_F16; type <= GKL_BF16; ++type) {
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], type, GENERIC, 18, 45);
        EACH(i, 18) x.in[0][i * 45] = rounded(type, uniform(-1e-4, 1e-4)); /* subnormal as float16 */
        EACH_OUTPUT(output, q) EACH(spaced, 2) check_half(&x, (gkl_output)output, spaced);
        gaussians_free(&x);
    }
    group_end();
}

/* Any number of threads, a row alone or among others, and the value in every output. */
void test_threads(void) {
    static const ptrdiff_t sizes[][2] = {{1, 140000}, {2, 66666}, {1050, 129}, {20000, 7}};
    static const int pairs[][2] = {
        {GKL_VAR, GKL_VAR}, {GKL_STD, GKL_LOGVAR}, {GKL_LOGVAR, GKL_UNIT}};
    group_begin("threads and rows alone");
    EACH(pair, COUNT(pairs)) EACH(t, 2) EACH(s, COUNT(sizes)) {
        gaussians x;
        gaussians_make(&x, kinds[pairs[pair][0]], kinds[pairs[pair][1]], computed[t], GENERIC,
                       sizes[s][0], sizes[s][1]);
        manner how = {.output = GKL_VALUE, .batch_axes = 1, .nthreads = 1};
        results value = solve(&x, &how);
        EACH_OUTPUT(output, x.q) EACH(columns, x.rows > x.d ? 2 : 1) {
            if (pair > 0 && output != (t ? GKL_VALUE : GKL_GRAD))
                continue;
            how = (manner){.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            EACH(k, 4) how.in[k] = columns ? COLUMNS : ROWS;
            results want = solve(&x, &how);
            if (output == GKL_GRAD || output == GKL_TERMS)
                check(memcmp(value.out[0], want.out[output == GKL_TERMS ? 3 : 0],
                             (size_t)x.rows * sizeof(double)) == 0,
                      "the value beside %s is another", output_names[output]);
            for (how.nthreads = 2; how.nthreads <= 3; ++how.nthreads)
                check_same(&x, &how, &want, "more threads");
            gaussians alone = x;
            const ptrdiff_t row = x.rows / 2;
            alone.rows = 1;
            EACH(k, GKL_MAX_IN) if (alone.in[k])
                alone.in[k] += row * (k == GKL_WEIGHT ? 1 : x.width);
            results one = solve(&alone, &how);
            EACH(k, GKL_MAX_OUT) if (one.out[k])
                check(memcmp(one.out[k], want.out[k] + row * one.n[k],
                             (size_t)one.n[k] * sizeof(double)) == 0,
                      "%s %td x %td: other bits for a row alone", output_names[output], x.rows,
                      x.d);
            results_free(&one);
            results_free(&want);
        }
        results_free(&value);
        gaussians_free(&x);
    }
    group_end();
}

/* Gradients of shared parameters are summed over the rows, along d, or both, with weights. */
void test_sums(void) {
    static const ptrdiff_t sizes[][2] = {{6, 1}, {60, 5}, {1056, 130}, {12000, 6}, {6, 33000}};
    group_begin("summed gradients");
    EACH_PAIR(p, q) EACH(t, 2) EACH(s, COUNT(sizes)) {
        const int large = sizes[s][0] * sizes[s][1] > 1000;
        if (quick && (p + q + s) % 2 != t)
            continue;
        if (large && (p == GKL_STD || q != (p == GKL_VAR ? GKL_VAR : GKL_UNIT)))
            continue;
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], computed[t], GENERIC, sizes[s][0], sizes[s][1]);
        const ptrdiff_t n = x.rows * x.d;
        const manner plain = {.output = GKL_GRAD, .batch_axes = 3, .nthreads = 1};
        results each = solve(&x, &plain); /* checked against the reference elsewhere */
        EACH(nsum, 4) EACH(mask, 4) EACH(dims, 2) {
            if (nsum == 0 ? mask > 0 || !dims : large && (nsum == 2 || mask % 2))
                continue;
            manner how = plain;
            how.nsum = nsum;
            how.summed = nsum ? (int[]){30, 24, 20, 6}[mask] : 0;
            how.summed_d = dims ? 20 : 0;
            how.nthreads = 3;
            results got = solve(&x, &how);
            check(memcmp(got.out[0], each.out[0], (size_t)x.rows * sizeof(double)) == 0,
                  "the value beside summed gradients is another");
            for (int k = 1; k < output_count(&x, GKL_GRAD); ++k) {
                const ptrdiff_t kept = how.summed >> k & 1 ? (ptrdiff_t[]){x.rows, 6, 2, 1}[nsum]
                                                           : x.rows;
                const ptrdiff_t width = how.summed_d >> k & 1 ? 1 : x.d, cell = n / kept / width;
                check(got.n[k] == kept * width, "gradient %d has %td numbers", k, got.n[k]);
                long double *sum = calloc((size_t)got.n[k] * 2, sizeof *sum);
                for (ptrdiff_t i = 0; i < x.rows; ++i)
                    for (ptrdiff_t j = 0; j < x.d; ++j) {
                        const ptrdiff_t to = i / (x.rows / kept) * width + (width > 1 ? j : 0);
                        const long double g = (long double)each.out[k][i * x.d + j];
                        sum[2 * to] += g;
                        sum[2 * to + 1] += fabsl(g);
                    }
                for (ptrdiff_t i = 0; i < got.n[k]; ++i) {
                    const long double eps = t ? 0x1p-52L : 0x1p-23L;
                    check(fabsl((long double)got.out[k][i] - sum[2 * i]) <= eps * sum[2 * i + 1],
                          "%s-%s %s %td x %td, gradient %d, %td numbers each: %.17g, not %.17Lg",
                          kind_names[p], kind_names[q], type_names[x.type], x.rows, x.d, k, cell,
                          got.out[k][i], sum[2 * i]);
                }
                free(sum);
            }
            how.nthreads = 1;
            check_same(&x, &how, &got, "one thread (summed gradients)");
            results_free(&got);
            if (nsum < 3 || large)
                continue;
            double *one = &x.in[1][x.rows / 2 * x.d], before = *one;
            *one = (double)NAN;
            got = solve(&x, &how);
            *one = before;
            check(got.bad == 1, "%td bad items in summed gradients", got.bad);
            for (int k = 1; k < output_count(&x, GKL_GRAD); ++k)
                for (ptrdiff_t i = 0; how.summed >> k & 1 && i < got.n[k]; ++i)
                    check(isnan(got.out[k][i]), "gradient %d with a bad item is %g", k,
                          got.out[k][i]);
            results_free(&got);
        }
        results_free(&each);
        gaussians_free(&x);
    }
    group_end();
}
