/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Results against the reference, and where the reference is a word: zero, bad, not negative.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "reference.h"

static number wanted(const reference *r, int output, int k) {
    switch (output) {
    case GKL_GRAD:
        return r->gradient[k];
    case GKL_TERMS:
        return r->terms[k];
    case GKL_JEFFREYS:
        return r->jeffreys;
    case GKL_CROSS:
        return r->cross;
    case GKL_ENTROPY:
        return r->entropy;
    default:
        return r->kl;
    }
}

static int met(double got, number want, gkl_type type) {
    const long double eps = type == GKL_F64 ? DBL_EPSILON : FLT_EPSILON;
    return fabsl((long double)got - want.want) <= 4 * eps * want.scale;
}

static void add(number *sum, number x) {
    sum->want += x.want;
    sum->scale += x.scale;
}

static void check_values(const gaussians *x, const reference *want, int output,
                         const results *got) {
    char what[100];
    describe(what, sizeof what, x, output);
    check(got->bad == 0, "%s: %td bad items", what, got->bad);
    for (int k = 0; k < output_count(x, (gkl_output)output); ++k)
        for (ptrdiff_t i = 0; i < x->rows; ++i) {
            const int per_dim = got->n[k] == x->rows * x->d && x->d > 1;
            number sum = {0, 0};
            for (ptrdiff_t j = 0; j < x->d; ++j) {
                const number one = wanted(&want[i * x->width + j], output, k);
                const double value = got->out[k][per_dim ? i * x->d + j : i];
                if (per_dim)
                    check(met(value, one, x->type), "%s, output %d [%td, %td]: %.17g, not %.17Lg",
                          what, k, i, j, value, one.want);
                add(&sum, one);
            }
            if (!per_dim)
                check(met(got->out[k][i], sum, x->type), "%s, output %d [%td]: %.17g, not %.17Lg",
                      what, k, i, got->out[k][i], sum.want);
        }
}

/* Rows of 1 to 130, in buffers between unmapped pages. */
void test_values(regime kind_of, const char *name, int every_d) {
    enum { N = 3, MOST_D = 130 };
    static reference want[N * MOST_D];
    group_begin(name);
    EACH_PAIR(p, q) EACH(t, 2) {
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], computed[t], kind_of, N, MOST_D);
        for (ptrdiff_t i = 0; i < N * MOST_D; ++i)
            want[i] = reference_of(x.p, x.q, x.type, (double[]){x.in[0][i], x.in[1][i],
                                                                x.in[2][i], x.in[3][i]});
        double *const weight = x.in[4];
        x.in[4] = NULL;
        for (x.d = 1; x.d <= MOST_D; x.d += !every_d ? 43 : quick && x.d > 40 ? 7 : 1)
            EACH_OUTPUT(output, q) EACH(at_end, 2) {
                const manner how = {.output = (gkl_output)output, .batch_axes = 1,
                                    .at_end = at_end, .nthreads = 1};
                results got = solve(&x, &how);
                check_values(&x, want, output, &got);
                results_free(&got);
            }
        x.in[4] = weight;
        gaussians_free(&x);
    }
    group_end();
}

void test_equal(void) {
    group_begin("KL(p, p) = 0");
    EACH(p, 3) EACH(t, 2) {
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[p], computed[t], WIDE, 20, 37);
        EACH(k, 2) memcpy(x.in[k + 2], x.in[k], 20 * 37 * sizeof(double));
        EACH(output, GKL_CROSS) {
            const manner how = {.output = (gkl_output)output, .batch_axes = 1, .nthreads = 1};
            results got = solve(&x, &how);
            EACH(k, GKL_MAX_OUT)
                for (ptrdiff_t i = 0; i < got.n[k]; ++i)
                    check(got.out[k][i] == (output == GKL_TERMS && k == 1 ? 37 : 0),
                          "%s %s: output %d is %g", kind_names[p], output_names[output], k,
                          got.out[k][i]);
            results_free(&got);
        }
        gaussians_free(&x);
    }
    group_end();
}

/* The ends of the range, every combination: 0 or infinity, but never NaN and never negative. */
void test_corners(void) {
    group_begin("corners");
    EACH_PAIR(p, q) EACH(t, 2) {
        const double small = t ? 5e-324 : 0x1p-149, normal = t ? DBL_MIN : (double)FLT_MIN;
        const double large = t ? DBL_MAX : (double)FLT_MAX;
        const double means[] = {0, 1, -large, large, small};
        const double scales[] = {small, normal, 1, large};
        const double logs[] = {-large, t ? -1000 : -200, 0, t ? 1000 : 200, large};
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], computed[t], GENERIC, 625, 1);
        EACH(i, 625) {
            x.in[0][i] = means[i % 5];
            x.in[1][i] = p == GKL_LOGVAR ? logs[i / 5 % 5] : scales[i / 5 % 4];
            x.in[2][i] = means[i / 25 % 5];
            x.in[3][i] = q == GKL_LOGVAR ? logs[i / 125] : scales[i / 125 % 4];
        }
        const gkl_output outputs[] = {GKL_VALUE, GKL_PER_DIM, GKL_JEFFREYS};
        EACH(o, COUNT(outputs)) {
            const manner how = {.output = outputs[o], .batch_axes = 1, .nthreads = 1};
            results got = solve(&x, &how);
            check(got.bad == 0, "%td of the corners are bad", got.bad);
            EACH(i, 625) {
                check(got.out[0][i] >= 0, "%s-%s %s %s: (%g, %g), (%g, %g) give %g", kind_names[p],
                      kind_names[q], output_names[outputs[o]], type_names[x.type], x.in[0][i],
                      x.in[1][i], x.in[2][i], x.in[3][i], got.out[0][i]);
            }
            results_free(&got);
        }
        gaussians_free(&x);
    }
    group_end();
}

/* phi, psi, log, exp and expm1 over the exponents of their ranges */
void test_scalar_functions(void) {
    enum { N = 4096, PHI = 0, PSI, LOG, EXP };
    static const char *const names[] = {"phi", "psi", "log", "exp", "expm1"};
    static double x[N], y[N];
    static float xf[N], yf[N];
    group_begin("scalar functions");
    EACH(t, 2) EACH(f, COUNT(names)) {
        const int ratio = f == PHI || f == LOG;
        EACH(i, N) {
            const double size = exp2(uniform(t ? -60 : -30, ratio ? 60 : t ? 9 : 6));
            const int negative = f != LOG && i % 2 && (f != PHI || size < 0.999);
            x[i] = rounded(computed[t], negative ? -size : size);
            xf[i] = (float)x[i];
        }
        const int code = t ? gkl_scalar_function(names[f], GKL_F64, N, x, y)
                           : gkl_scalar_function(names[f], GKL_F32, N, xf, yf);
        check(code == 0, "%s is not there", names[f]);
        EACH(i, N) {
            const long double a = (long double)x[i];
            const long double want = f == PHI   ? reference_phi(a)
                                     : f == PSI ? reference_psi(a)
                                     : f == LOG ? logl(a)
                                     : f == EXP ? expl(a)
                                                : expm1l(a);
            const double got = t ? y[i] : (double)yf[i];
            check(met(got, (number){want, fabsl(want)}, computed[t]),
                  "%s %s(%.17g) = %.17g, not %.17Lg", type_names[computed[t]], names[f], x[i], got,
                  want);
        }
    }
    check(gkl_scalar_function("nothing", GKL_F32, 0, NULL, NULL) != 0, "an unknown name");
    group_end();
}

/* One row after another made bad in one number: counted, NaN there, nothing else touched. */
void test_bad_items(void) {
    enum { N = 40, D = 19, ROW = 7, DIMENSION = 11 };
    const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0, -0.0, -1};
    group_begin("bad items");
    EACH_PAIR(p, q) EACH(t, 2) EACH_OUTPUT(output, q) {
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], computed[t], GENERIC, N, D);
        char what[100];
        describe(what, sizeof what, &x, output);
        EACH(layout_of, 2) EACH(operand, q == GKL_UNIT ? 2 : 4) {
            manner how = {.output = (gkl_output)output, .batch_axes = 1, .nthreads = 2};
            EACH(k, GKL_MAX_IN) how.in[k] = layout_of ? COLUMNS : ROWS;
            if (output == GKL_ENTROPY && operand != 1)
                continue;
            if (output == GKL_GRAD) /* the value is not needed to see that an item is bad */
                how.without = layout_of;
            results good = solve(&x, &how);
            const gkl_kind kind = kinds[operand < 2 ? p : q];
            const int positive = operand % 2 && kind != GKL_LOGVAR;
            EACH(b, positive ? COUNT(bad) : 3) {
                double *one = &x.in[operand][ROW * D + DIMENSION], before = *one;
                *one = bad[b];
                results got = solve(&x, &how);
                *one = before;
                check(got.bad == 1, "%s, %g in operand %d: %td bad items", what, bad[b], operand,
                      got.bad);
                got.bad = 0;
                EACH(k, GKL_MAX_OUT) {
                    const ptrdiff_t width = got.n[k] / N;
                    for (ptrdiff_t j = 0; j < width; ++j) {
                        double *y = &got.out[k][ROW * width + j];
                        if (output == GKL_PER_DIM && j != DIMENSION)
                            continue;
                        check(isnan(*y), "%s, %g in operand %d: output %d is %g", what, bad[b],
                              operand, k, *y);
                        *y = good.out[k][ROW * width + j];
                    }
                }
                check(same(&good, &got), "%s, %g in operand %d: other items changed", what, bad[b],
                      operand);
                results_free(&got);
            }
            results_free(&good);
        }
        gaussians_free(&x);
    }
    group_end();
}
