/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Numbers, checks, and what diagonal Gaussians in memory are made of.
 */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"

const char *const kind_names[] = {"var", "std",  "logvar",    "unit",
                                  "cov", "tril", "precision", "low rank"};
const char *const output_names[] = {"value", "per_dim", "grad",    "terms",
                                    "jeffreys", "cross", "entropy", "factor"};
const char *const type_names[] = {"f16", "bf16", "f32", "f64"};
const char *const layout_names[] = {"rows",     "columns", "reversed", "spaced",    "permuted",
                                    "shared",   "scalar",  "fortran",  "transposed"};

void describe(char *text, size_t size, const gaussians *x, int output) {
    snprintf(text, size, "%s-%s %s %s, %td x %td", kind_names[x->p], kind_names[x->q],
             output_names[output], type_names[x->type], x->rows, x->d);
}

/* ---- checks ---- */

int quick;

enum { MOST_LINES = 5 };
long checks;
static char group[80];
static long failures;
static int groups_passed, groups_failed;
static struct timespec began;

void group_begin(const char *name) {
    const char *isa = gkl_isa();
    snprintf(group, sizeof group, "%-9s %s", isa, name);
    checks = failures = 0;
    clock_gettime(CLOCK_MONOTONIC, &began);
}

void group_end(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double seconds = (double)(now.tv_sec - began.tv_sec)
                           + 1e-9 * (double)(now.tv_nsec - began.tv_nsec);
    printf("%s %s: %ld checks, %ld failed, %.1f s\n", failures ? "FAILED" : "ok    ", group, checks,
           failures, seconds);
    fflush(stdout);
    *(failures ? &groups_failed : &groups_passed) += 1;
}

void check_failed(const char *format, ...) {
    if (++failures > MOST_LINES)
        return;
    va_list arguments;
    va_start(arguments, format);
    printf("       %s: ", group);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

int report(void) {
    printf("%d passed, %d failed\n", groups_passed, groups_failed);
    return groups_failed > 0;
}

/* ---- numbers ---- */

static uint64_t state;

void seed(unsigned value) { state = value; }

double uniform(double low, double high) { /* Knuth's linear congruential generator, top bits */
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return low + (high - low) * ((double)(state >> 11) * 0x1p-53);
}

static double scale_of(gkl_kind kind, double log_variance) {
    return kind == GKL_VAR   ? exp(log_variance)
           : kind == GKL_STD ? exp(log_variance / 2)
                             : log_variance;
}

void gaussians_make(gaussians *problem, gkl_kind p, gkl_kind q, gkl_type type, regime kind_of,
                  ptrdiff_t rows, ptrdiff_t d) {
    const size_t n = (size_t)(rows * d);
    *problem = (gaussians){.p = p, .q = q, .type = type, .rows = rows, .d = d, .width = d};
    for (int k = 0; k < 4; ++k)
        problem->in[k] = malloc(n * sizeof(double));
    problem->in[4] = malloc((size_t)rows * sizeof(double));
    const double most = kind_of == WIDE ? (type == GKL_F64 ? 200 : 25) : 3;
    const double apart = type == GKL_F64 ? 1e-12 : 1e-6;
    for (size_t i = 0; i < n; ++i) {
        double mean_p = uniform(-2, 2), mean_q = uniform(-2, 2);
        double log_p = uniform(-most, most), log_q = uniform(-most, most);
        if (kind_of == NEAR) {
            mean_q = q == GKL_UNIT ? 0 : mean_p;
            log_q = q == GKL_UNIT ? 0 : log_p;
            mean_p = mean_q + uniform(-apart, apart);
            log_p = log_q + uniform(-apart, apart);
        }
        problem->in[0][i] = rounded(type, mean_p);
        problem->in[1][i] = rounded(type, scale_of(p, log_p));
        problem->in[2][i] = rounded(type, mean_q);
        problem->in[3][i] = rounded(type, scale_of(q, log_q));
    }
    for (ptrdiff_t i = 0; i < rows; ++i)
        problem->in[4][i] = rounded(type, uniform(-1, 1));
}

int is_matrix(const gaussians *problem, int operand) {
    const gkl_kind kind = operand == 1 || operand == GKL_FACTOR_P ? problem->p : problem->q;
    return operand % 2 + operand / GKL_FACTOR_P > 0 && kind >= GKL_COV && kind <= GKL_PRECISION;
}

ptrdiff_t columns_of(const gaussians *problem, int operand) {
    return is_matrix(problem, operand)   ? problem->d
           : operand == GKL_FACTOR_P ? problem->rank_p
           : operand == GKL_FACTOR_Q ? problem->rank_q
                                     : 1;
}

ptrdiff_t item_size(const gaussians *problem, int operand) {
    return operand == GKL_WEIGHT ? 1 : problem->width * columns_of(problem, operand);
}

void gaussians_share(gaussians *problem, int operand) {
    const ptrdiff_t width = item_size(problem, operand);
    for (ptrdiff_t i = 1; i < problem->rows; ++i)
        memcpy(problem->in[operand] + i * width, problem->in[operand],
               (size_t)width * sizeof(double));
}

void gaussians_free(gaussians *problem) {
    for (int k = 0; k < GKL_MAX_IN; ++k)
        free(problem->in[k]);
}

/* ---- comparing ---- */

void check_same(const gaussians *x, const manner *how, const results *want, const char *name) {
    char what[100];
    results got = solve(x, how);
    describe(what, sizeof what, x, (int)how->output);
    check(same(want, &got), "%s: other bits with %s", what, name);
    results_free(&got);
}

void check_half(gaussians *x, gkl_output output, int spaced) {
    manner how = {.output = output, .batch_axes = 1, .nthreads = 1};
    const gkl_type half = x->type;
    x->type = GKL_F32;
    results want = solve(x, &how);
    x->type = half;
    for (int k = 0; k < GKL_MAX_IN; ++k)
        how.in[k] = spaced ? SPACED : ROWS;
    how.at_end = 1;
    check_same(x, &how, &want, type_names[half]);
    results_free(&want);
}
