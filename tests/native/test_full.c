/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Matrices and low ranks: results against the reference, and where the reference is a word.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"

/* long double in software is slow */
enum { MOST_REFERENCE_D = LDBL_MANT_DIG > 64 ? 9 : REFERENCE_D };

static int near_to(double got, long double want, long double tolerance) {
    return fabsl((long double)got - want) <= tolerance;
}

/* Item i of these results. `exact`: differences of the parameters are those of E to the last bit,
 * so that KL has a relative error; otherwise the parameters are as good as rounded once. */
static void check_item(const gaussians *x, const full_reference *r, int output, const results *got,
                       ptrdiff_t i, int exact) {
    char what[100];
    describe(what, sizeof what, x, output);
    const long double eps = x->type == GKL_F64 ? DBL_EPSILON : FLT_EPSILON;
    const long double unit =
        (output == GKL_JEFFREYS ? 8 : 4) * eps * r->condition * (x->d > 16 ? 2 : 1);
    const long double lost = exact ? 0 : sqrtl(r->kl) + eps * r->scale;
    const long double one[] = {[GKL_VALUE] = r->kl, [GKL_GRAD] = r->kl,
                               [GKL_JEFFREYS] = r->jeffreys, [GKL_CROSS] = r->cross,
                               [GKL_ENTROPY] = r->entropy};
    const int nout = output_count(x, (gkl_output)output);
    EACH(k, nout) {
        if (!got->out[k])
            continue;
        const ptrdiff_t n = got->n[k] / x->rows;
        const double *y = got->out[k] + i * n;
        if ((output == GKL_GRAD && k > 0) || output == GKL_FACTOR) {
            const long double *want = output == GKL_FACTOR ? r->factor : r->gradient[k];
            long double norm = 0, error = 0;
            for (ptrdiff_t j = 0; j < n; ++j) {
                norm += want[j] * want[j];
                error += ((long double)y[j] - want[j]) * ((long double)y[j] - want[j]);
            }
            const int transposed = output == GKL_GRAD && is_matrix(x, operand_of(GKL_GRAD, k));
            for (ptrdiff_t j = 0; transposed && j < n; ++j) {
                const gkl_kind kind = k == 2 ? x->p : x->q;
                const double other = y[j % x->d * x->d + j / x->d];
                check(kind == GKL_TRIL ? j % x->d <= j / x->d || y[j] == 0 : y[j] == other,
                      "%s: gradient %d is not symmetric, or not triangular, at %td", what, k, j);
            }
            check(sqrtl(error) <= 2 * unit * (sqrtl(norm) + (exact ? 0 : r->condition)),
                  "%s, output %d [%td]: norm %.3Lg, error %.3Lg, unit %.3Lg", what, k, i,
                  sqrtl(norm), sqrtl(error), unit);
            continue;
        }
        const long double want = output == GKL_TERMS ? r->terms[k] : one[output];
        const int absolute = output == GKL_CROSS || output == GKL_ENTROPY
                             || (output == GKL_TERMS && k == 2);
        check(near_to(*y, want, unit * (absolute ? r->scale : fabsl(want) + lost)),
              "%s, output %d [%td]: %.17g, not %.17Lg, unit %.3Lg", what, k, i, *y, want, unit);
    }
}

/* Ragged groups of every size, every number of each flush against unmapped pages. */
void test_full_values(void) {
    static const int sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 19, 20,
                                24, 25, 29, 31, 32, 33, 40, 65};
    group_begin("full: values between unmapped pages");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q) EACH(t, 2) {
        const int d = sizes[s];
        if (d > 40 ? (p + q + s) % 8 != t : d > 9 && !tried(s, p, q, t))
            continue;
        gaussians x;
        matrices_make(&x, p, q, computed[t], d > 40 ? 3 : 1 + (d * 7 + p * 5 + q * 3) % 40, d);
        const ptrdiff_t some[] = {0, x.rows / 3, x.rows - 1};
        full_reference want[COUNT(some)];
        const int checked = d > MOST_REFERENCE_D ? 0 : x.rows < 3 ? 1 : COUNT(some);
        EACH(i, checked) want[i] = full_reference_of(&x, some[i]);
        EACH_STRUCTURED_OUTPUT(output, p, q) EACH(at_end, 2) {
            if (!at_end && output > GKL_GRAD)
                continue;
            const manner how = {.output = (gkl_output)output, .batch_axes = 1, .at_end = at_end,
                                .nthreads = 1};
            results got = solve(&x, &how);
            check(got.code == 0 && got.bad == 0, "code %d, %td bad", got.code, got.bad);
            EACH(i, checked) check_item(&x, &want[i], output, &got, some[i], 0);
            results_free(&got);
        }
        EACH(i, checked) free(want[i].memory);
        gaussians_free(&x);
    }
    group_end();
}

/* p at relative distances down to 1e-8 of q: KL is small, right, and not negative. */
void test_full_near(void) {
    static const double apart[] = {1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8};
    static const int sizes[] = {1, 2, 5, 8, 17, 40};
    enum { N = COUNT(apart) };
    group_begin("full: near p = q");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q) EACH(t, 2) {
        if ((p != q && q != GKL_UNIT) || p == GKL_LOW_RANK || sizes[s] > MOST_REFERENCE_D)
            continue;
        gaussians x;
        matrices_make(&x, p, q, computed[t], N, sizes[s]);
        full_reference want[N];
        EACH(i, N) {
            matrices_near(&x, i, apart[i]);
            want[i] = full_reference_of(&x, i);
        }
        EACH_STRUCTURED_OUTPUT(output, p, q) {
            const manner how = {.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            results got = solve(&x, &how);
            EACH(i, N) {
                /* what is inverted on one side alone has lost its last digits */
                check_item(&x, &want[i], output, &got, i, p != GKL_PRECISION || q == p);
                check(output > GKL_JEFFREYS || got.out[output == GKL_TERMS ? 3 : 0][i] >= 0,
                      "a negative divergence");
            }
            results_free(&got);
        }
        EACH(i, N) free(want[i].memory);
        gaussians_free(&x);
    }
    group_end();
}

/* Every divergence and gradient of two that are the same, alone or beside others. */
void test_full_equal(void) {
    static const int sizes[] = {1, 2, 3, 4, 6, 8, 13, 16, 31, 40};
    enum { N = 19 };
    group_begin("full: KL(p, p) = 0");
    EACH(s, COUNT(sizes)) for (int p = GKL_COV; p < GKL_KINDS; ++p) EACH(t, 2) EACH(mixed, 2) {
        const int d = sizes[s];
        gaussians x;
        matrices_make(&x, p, p, computed[t], N, d);
        EACH(i, N) if (!mixed || i % 3) matrices_near(&x, i, 0);
        EACH(output, GKL_CROSS) {
            if (output == GKL_PER_DIM)
                continue;
            const manner how = {.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            results got = solve(&x, &how);
            EACH(k, GKL_MAX_OUT) for (ptrdiff_t j = 0; j < got.n[k]; ++j) {
                const ptrdiff_t i = j / (got.n[k] / N);
                const double want = output == GKL_TERMS && k == 1 ? d : 0; /* the trace: rounded */
                const double eps = t ? DBL_EPSILON : (double)FLT_EPSILON;
                check((mixed && i % 3 == 0) || fabs(got.out[k][j] - want) <= eps * want,
                      "%s %s %s, d = %d: output %d of item %td is %.17g", kind_names[p],
                      output_names[output], type_names[x.type], d, k, i, got.out[k][j]);
            }
            results_free(&got);
        }
        gaussians_free(&x);
    }
    group_end();
}

/* one number of this operand of an item */
static void spoil(double *to, const gaussians *x, int k, int what) {
    const ptrdiff_t d = x->d, row = d / 2, last = (row + 1) * columns_of(x, k) - 1;
    const ptrdiff_t e = is_matrix(x, k) ? row * (d + 1) : k < GKL_FACTOR_P ? row : last;
    switch (what) {
    case 0:
        to[e] = (double)NAN;
        break;
    case 1: /* off the diagonal, as far from it as can be */
        to[is_matrix(x, k) ? (d - 1) * d : e] = (double)INFINITY;
        break;
    case 2:
        to[e] = -(double)INFINITY;
        break;
    case 3:
        to[e] = 0;
        break;
    default:
        to[e] = -1;
    }
}

/* Items made bad in turn, several in one batch: counted, NaN there, nothing else touched. */
void test_full_bad(void) {
    static const int sizes[] = {1, 2, 5, 8, 10, 17, 23};
    enum { N = 37, BAD = 5, STEP = 7 };
    group_begin("full: bad items");
    EACH(s, COUNT(sizes)) EACH_STRUCTURED(p, q) EACH(t, 2) {
        if (!tried(s, p, q, t))
            continue;
        gaussians x;
        matrices_make(&x, p, q, computed[t], N, sizes[s]);
        EACH_STRUCTURED_OUTPUT(output, p, q) {
            manner how = {.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            results good = solve(&x, &how);
            char name[100];
            describe(name, sizeof name, &x, output);
            EACH(k, GKL_MAX_IN) EACH(what, BAD) {
                const gkl_kind kind = k == 1 ? x.p : x.q;
                const int scale = k == 1 || k == 3;
                if (!x.in[k] || (what > 2 && (!scale || kind == GKL_LOGVAR))
                    || (k != 1 && k != GKL_FACTOR_P && output >= GKL_ENTROPY))
                    continue;
                if (output == GKL_GRAD)
                    how.without = what % 2; /* the value is not needed to see that an item is bad */
                const ptrdiff_t n = item_size(&x, k);
                double *kept = malloc((size_t)(N * n) * sizeof *kept);
                memcpy(kept, x.in[k], (size_t)(N * n) * sizeof *kept);
                ptrdiff_t count = 0;
                for (int i = 3; i < N; i += STEP, ++count)
                    spoil(x.in[k] + i * n, &x, k, what);
                results got = solve(&x, &how);
                memcpy(x.in[k], kept, (size_t)(N * n) * sizeof *kept);
                free(kept);
                check(got.bad == count, "%s, operand %d, %d: %td bad items, not %td", name, k,
                      what, got.bad, count);
                got.bad = 0;
                EACH(o, GKL_MAX_OUT) for (int i = 3; got.n[o] && i < N; i += STEP) {
                    const ptrdiff_t width = got.n[o] / N;
                    const int lower = output == GKL_FACTOR
                                      || (output == GKL_GRAD && is_matrix(&x, o == 2 ? 1 : 3)
                                          && (o == 2 ? p : q) == GKL_TRIL && (o == 2 || o == 4));
                    for (ptrdiff_t j = i * width; j < (i + 1) * width; ++j) {
                        const ptrdiff_t e = j - i * width;
                        check(isnan(got.out[o][j]) || (lower && e % x.d > e / x.d),
                              "%s, operand %d, %d: output %d is %g", name, k, what, o,
                              got.out[o][j]);
                        got.out[o][j] = good.out[o][j];
                    }
                }
                check(same(&good, &got), "%s, operand %d, %d: other items changed", name, k, what);
                results_free(&got);
            }
            results_free(&good);
        }
        gaussians_free(&x);
    }
    group_end();
}

/* d = 0 and no items at all */
void test_full_empty(void) {
    group_begin("full: nothing");
    EACH_STRUCTURED(p, q) EACH(t, 2) EACH(rows, 2) {
        gaussians x;
        matrices_make(&x, p, q, computed[t], rows ? 5 : 0, rows ? 0 : 5);
        EACH_STRUCTURED_OUTPUT(output, p, q) {
            const manner how = {.output = (gkl_output)output, .batch_axes = 1, .at_end = 1,
                                .nthreads = 1};
            results got = solve(&x, &how);
            check(got.code == 0 && got.bad == 0, "code %d, %td bad", got.code, got.bad);
            EACH(k, GKL_MAX_OUT) for (ptrdiff_t i = 0; i < got.n[k]; ++i)
                check(got.out[k][i] == 0, "%s-%s %s: output %d is %g", kind_names[p],
                      kind_names[q], output_names[output], k, got.out[k][i]);
            results_free(&got);
        }
        gaussians_free(&x);
    }
    group_end();
}
