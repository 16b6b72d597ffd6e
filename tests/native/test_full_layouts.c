/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Matrices and low ranks: the same bits whatever the memory, the storage, the threads and the
 * company of an item.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"

static void check_all(const gaussians *x, const manner *how, const manner *other,
                      const char *name) {
    results want = solve(x, how);
    check_same(x, other, &want, name);
    results_free(&want);
}

/* What lies above the diagonals of matrices: NaN, or any numbers. */
static void fill_above(gaussians *x, double with) {
    for (int k = 1; k < GKL_MAX_IN; ++k)
        for (ptrdiff_t e = 0; x->in[k] && is_matrix(x, k) && e < x->rows * x->d * x->d; ++e)
            if (e % x->d > e / x->d % x->d)
                x->in[k][e] = isnan(with) ? with : e % 3 ? with : uniform(-5, 5);
}

/* Every layout of all operands and outputs together, and of each of them alone. */
void test_full_layouts(void) {
    static const ptrdiff_t sizes[][2] = {{42, 1}, {30, 2}, {36, 3}, {18, 7},
                                         {24, 10}, {18, 17}, {6, 33}};
    group_begin("full: layouts");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q) EACH(t, 2) {
        if (!tried(s, p, q, t))
            continue;
        gaussians x;
        matrices_make(&x, p, q, computed[t], sizes[s][0], sizes[s][1]);
        x.in[1][item_size(&x, 1) * 5] = (double)NAN; /* bad items too */
        EACH_STRUCTURED_OUTPUT(output, p, q) {
            const manner plain = {.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            results want = solve(&x, &plain);
            EACH(at_end, 2) {
                manner how = plain;
                how.shift = 1;
                how.at_end = at_end;
                check_same(&x, &how, &want, "buffers off their alignment");
            }
            fill_above(&x, (double)INFINITY);
            check_same(&x, &plain, &want, "other numbers above the diagonals");
            fill_above(&x, (double)NAN);
            for (layout l = ROWS; l < LAYOUTS; ++l)
                for (int part = l == ROWS ? 6 : 0; part < 8 && l != SHARED && l != SCALAR;) {
                    manner how = plain;
                    how.batch_axes = 3;
                    how.at_end = part % 2;
                    const int which = part / 2; /* p, q, outputs, all */
                    part += quick ? 3 : 1;
                    EACH(k, GKL_MAX_IN) {
                        const int is_q = k == GKL_FACTOR_Q || k / 2 == 1;
                        how.in[k] = which == 3 || (k != GKL_WEIGHT && which == is_q) ? l : ROWS;
                    }
                    how.out = which >= 2 ? l : ROWS;
                    check_same(&x, &how, &want, layout_names[l]);
                }
            results_free(&want);
        }
        gaussians_free(&x);
    }
    group_end();
}

/* p, q or both shared by all items, which are then factored once; or their factors given. */
void test_full_shared(void) {
    static const ptrdiff_t sizes[][2] = {{40, 1}, {36, 2}, {150, 5}, {42, 9}, {39, 16}, {35, 21}};
    group_begin("full: shared parameters");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q) EACH(t, 2) EACH(which, 3) {
        gaussians x;
        manner how = {.batch_axes = 1, .nthreads = 1};
        if (!tried(s, p, q, t))
            continue;
        matrices_make(&x, p, q, computed[t], sizes[s][0], sizes[s][1]);
        EACH(i, (int)x.rows / 2) if (p == q) matrices_near(&x, 2 * i, i % 3 ? 0.01 : 0);
        EACH(k, GKL_MAX_IN) {
            const int is_q = k == GKL_FACTOR_Q || k / 2 == 1;
            if (!x.in[k] || (which < 2 && is_q != which))
                continue;
            gaussians_share(&x, k);
            how.in[k] = SHARED;
        }
        EACH(bad, 2) {
            if (bad)
                EACH(k, 4) if (x.in[k] && how.in[k] == SHARED && k % 2)
                    for (ptrdiff_t i = 0; i < x.rows; ++i)
                        x.in[k][i * item_size(&x, k)] = (double)NAN;
            EACH_STRUCTURED_OUTPUT(output, p, q) {
                how.output = (gkl_output)output;
                const manner plain = {.output = how.output, .batch_axes = 1, .nthreads = 1};
                check_all(&x, &plain, &how, bad ? "bad shared parameters" : "shared parameters");
            }
        }
        gaussians_free(&x);
    }
    for (int p = GKL_COV; p <= GKL_PRECISION; ++p) EACH(t, 2) EACH(which, 3) EACH(d, 20) {
        gaussians x;
        matrices_make(&x, p, p, computed[t], 21, d + 1);
        EACH(i, 21) if (i % 3) matrices_near(&x, i, i % 3 == 1 ? 0.01 : 0);
        EACH(output, GKL_ENTROPY) {
            if (p == GKL_TRIL || output == GKL_PER_DIM)
                continue;
            const manner how = {.output = (gkl_output)output, .batch_axes = 1, .at_end = 1,
                                .nthreads = 1};
            results want = solve(&x, &how);
            EACH(is_q, 2) {
                if (which < 2 && is_q != which)
                    continue;
                gaussians single = x;
                const manner factor = {.output = GKL_FACTOR, .batch_axes = 1, .nthreads = 1};
                single.q = GKL_UNIT;
                single.in[1] = x.in[is_q ? 3 : 1];
                single.in[GKL_FACTOR_P] = NULL;
                results l = solve(&single, &factor);
                x.in[GKL_FACTOR_P + is_q] = l.out[0];
                fill_above(&x, (double)NAN);
                if (!is_q) {
                    single.in[GKL_FACTOR_P] = l.out[0];
                    const manner entropy = {.output = GKL_ENTROPY, .batch_axes = 1, .nthreads = 1};
                    gaussians bare = single;
                    bare.in[GKL_FACTOR_P] = NULL;
                    results a = solve(&bare, &entropy), b = solve(&single, &entropy);
                    check(same(&a, &b), "%s %s, d = %d: another entropy by the factor",
                          kind_names[p], type_names[x.type], d + 1);
                    results_free(&a);
                    results_free(&b);
                }
            }
            check_same(&x, &how, &want, "factors given");
            EACH(is_q, 2) {
                free(x.in[GKL_FACTOR_P + is_q]);
                x.in[GKL_FACTOR_P + is_q] = NULL;
            }
            results_free(&want);
        }
        gaussians_free(&x);
    }
    group_end();
}

/* float16 and bfloat16 are read as the floats that they are. */
void test_full_storage(void) {
    static const int sizes[] = {1, 3, 8, 16, 18};
    group_begin("full: half storage");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q)
        for (gkl_type type = GKL_F16; type <= GKL_BF16; ++type) {
            gaussians x;
            matrices_make(&x, p, q, type, 18, sizes[s]);
            EACH_STRUCTURED_OUTPUT(output, p, q) EACH(spaced, 2)
                check_half(&x, (gkl_output)output, spaced);
            gaussians_free(&x);
        }
    group_end();
}

/* Near, equal, far, bad and ordinary items beside each other: each as it is alone, whatever the
 * threads; and the value is the same in every output that has it. */
void test_full_company(void) {
    static const ptrdiff_t sizes[][2] = {{37, 1}, {39, 3}, {41, 8}, {300, 9}, {38, 16}, {35, 23}};
    group_begin("full: threads and items alone");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q) EACH(t, 2) {
        if (!tried(s, p, q, t))
            continue;
        gaussians x;
        matrices_make(&x, p, q, computed[t], sizes[s][0], sizes[s][1]);
        for (ptrdiff_t i = 0; i < x.rows; ++i) {
            if (i * 7 % 11 < 4 && (p == q || q == GKL_UNIT))
                matrices_near(&x, i, i % 2 ? 0 : 1e-3);
            else if (i * 7 % 11 < 6)
                matrices_far(&x, i, i % 2 ? 0x1p20 : 0x1p-20);
            else if (i * 7 % 11 == 7)
                x.in[1][i * item_size(&x, 1)] = i % 3 ? (double)NAN : -(double)INFINITY;
        }
        manner how = {.output = GKL_VALUE, .batch_axes = 1, .nthreads = 1};
        results value = solve(&x, &how);
        EACH_STRUCTURED_OUTPUT(output, p, q) {
            how = (manner){.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            results want = solve(&x, &how);
            if (output == GKL_GRAD || output == GKL_TERMS)
                for (ptrdiff_t i = 0; i < x.rows; ++i) {
                    const double v = want.out[output == GKL_TERMS ? 3 : 0][i];
                    check(v == value.out[0][i] || (isnan(v) && isnan(value.out[0][i])),
                          "%s-%s %s, d = %td: the value beside %s is another", kind_names[p],
                          kind_names[q], type_names[x.type], x.d, output_names[output]);
                }
            for (how.nthreads = 2; how.nthreads <= 3; ++how.nthreads)
                check_same(&x, &how, &want, "more threads");
            ptrdiff_t bad = 0;
            for (ptrdiff_t i = 0; i < x.rows; i += x.rows > 100 ? 9 : 1) {
                const gaussians one = alone(&x, i);
                results got = solve(&one, &how), part = {.bad = got.bad};
                bad += got.bad;
                EACH(k, GKL_MAX_OUT) if (got.out[k]) {
                    part.n[k] = got.n[k];
                    part.out[k] = want.out[k] + i * got.n[k];
                }
                char what[100];
                describe(what, sizeof what, &x, output);
                check(same(&part, &got), "%s: other bits for item %td alone", what, i);
                results_free(&got);
            }
            check(x.rows > 100 || bad == want.bad, "%td bad items, %td alone", want.bad, bad);
            results_free(&want);
        }
        results_free(&value);
        gaussians_free(&x);
    }
    group_end();
}
