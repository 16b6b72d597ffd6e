/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functions that take rows instead of a job: the bits of gkl_run, and what they return.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"

enum { OUT = 5 };

static ptrdiff_t call(const gaussians *x, gkl_output output, const void *const *in,
                      void *const *out) {
    const gkl_api *api = gkl_get_api();
    if (output == GKL_VALUE && x->type == GKL_F64)
        return api->kl_f64(x->p, x->q, x->rows, x->d, in[0], in[1], in[2], in[3], out[0]);
    if (output == GKL_VALUE)
        return api->kl_f32(x->p, x->q, x->rows, x->d, in[0], in[1], in[2], in[3], out[0]);
    if (x->type == GKL_F64)
        return api->kl_and_grad_f64(x->p, x->q, x->rows, x->d, in[0], in[1], in[2], in[3], out[0],
                                    out[1], out[2], out[3], out[4]);
    return api->kl_and_grad_f32(x->p, x->q, x->rows, x->d, in[0], in[1], in[2], in[3], out[0],
                                out[1], out[2], out[3], out[4]);
}

/* the same results as a job's, of exactly as many bytes */
static void check_call(const gaussians *x, gkl_output output, int without, int at_end) {
    const manner how = {.output = output, .batch_axes = 1, .nthreads = 1, .without = without};
    const size_t size = x->type == GKL_F64 ? sizeof(double) : sizeof(float);
    const void *in[4] = {0};
    void *out[OUT] = {0};
    results want = solve(x, &how), got = {.bad = 0};
    EACH(k, x->q == GKL_UNIT ? 2 : 4) {
        const ptrdiff_t n = x->rows * item_size(x, k);
        char *to = guarded(k, (size_t)n * size, at_end);
        EACH(i, n) put(x->type, to + (size_t)i * size, x->in[k][i]);
        in[k] = to;
    }
    EACH(k, OUT) {
        got.n[k] = want.n[k];
        if (want.out[k]) {
            out[k] = guarded(GKL_MAX_IN + k, (size_t)want.n[k] * size, at_end);
            memset(out[k], CANARY, (size_t)want.n[k] * size);
        }
    }
    got.bad = call(x, output, in, out);
    EACH(k, OUT) if (want.out[k]) {
        got.out[k] = malloc((size_t)want.n[k] * sizeof(double) + 1);
        EACH(i, want.n[k]) got.out[k][i] = get(x->type, (char *)out[k] + (size_t)i * size);
    }
    char what[100];
    describe(what, sizeof what, x, (int)output);
    check(got.bad == want.bad, "%s: %td, not %td", what, got.bad, want.bad);
    check(same(&want, &got), "%s: other bits than those of a job", what);
    results_free(&got);
    results_free(&want);
}

static void check_calls(const gaussians *x) {
    EACH(at_end, 2) {
        check_call(x, GKL_VALUE, 0, at_end);
        check_call(x, GKL_GRAD, 0, at_end);
    }
    check_call(x, GKL_GRAD, 1, 1);
    check_call(x, GKL_GRAD, 2 | 8, 1);
    check_call(x, GKL_GRAD, 1 | 4 | 16, 1);
}

static void test_diagonal(void) {
    static const int sizes[][2] = {{0, 3},  {3, 0},  {1, 1},   {1, 64}, {7, 17}, {8, 64}, {9, 64},
                                   {512, 1}, {513, 1}, {1, 512}, {1, 513}, {3, 700}};
    group_begin("rows: diagonal Gaussians");
    EACH_PAIR(p, q) EACH(t, 2) EACH(s, COUNT(sizes)) {
        gaussians x;
        gaussians_make(&x, kinds[p], kinds[q], computed[t], GENERIC, sizes[s][0], sizes[s][1]);
        free(x.in[GKL_WEIGHT]);
        x.in[GKL_WEIGHT] = NULL;
        check_calls(&x);
        if (x.rows * x.d > 2 && x.d > 0) { /* bad items, and a value that is infinite */
            const ptrdiff_t n = x.rows * x.d;
            x.in[1][n - 1] = p == GKL_LOGVAR ? (double)INFINITY : -1;
            x.in[0][n / 2] = (double)NAN;
            x.in[0][0] = x.type == GKL_F64 ? 1e300 : 1e30;
            check_calls(&x);
        }
        gaussians_free(&x);
    }
    group_end();
}

static void test_matrices(void) {
    static const int sizes[][2] = {{5, 3}, {0, 4}, {1, 70}};
    group_begin("rows: full covariances");
    EACH_STRUCTURED(p, q) EACH(t, 2) EACH(s, COUNT(sizes)) {
        if (p == GKL_LOW_RANK || q == GKL_LOW_RANK || p == GKL_UNIT || !tried(s, p, q, t))
            continue;
        gaussians x;
        matrices_make(&x, p, q, computed[t], sizes[s][0], sizes[s][1]);
        EACH(output, 2) check_call(&x, output ? GKL_GRAD : GKL_VALUE, 0, s % 2);
        if (x.rows > 2) {
            x.in[1][2 * item_size(&x, 1)] = p == GKL_LOGVAR ? (double)NAN : -1;
            EACH(output, 2) check_call(&x, output ? GKL_GRAD : GKL_VALUE, 0, s % 2);
        }
        gaussians_free(&x);
    }
    group_end();
}

static void test_arguments(void) {
    double one[4] = {1, 1, 1, 1}, kl = 7;
    group_begin("rows: arguments");
    check(gkl_kl_f64(GKL_VAR, GKL_VAR, 0, 4, NULL, NULL, NULL, NULL, NULL) == 0, "n = 0");
    check(gkl_kl_and_grad_f64(GKL_VAR, GKL_UNIT, 1, 4, one, one, NULL, NULL, NULL, NULL, NULL,
                              NULL, NULL) == 0, "no outputs");
#define VALUE(p, q, n, d, mean_p, scale_p, mean_q, scale_q, to)                                  \
    gkl_kl_f64((gkl_kind)(p), (gkl_kind)(q), n, d, mean_p, scale_p, mean_q, scale_q, to)
    check(VALUE(GKL_VAR, GKL_UNIT, -1, 4, one, one, 0, 0, &kl) == -GKL_BAD_ARGUMENT, "n < 0");
    check(VALUE(GKL_VAR, GKL_UNIT, 1, -4, one, one, 0, 0, &kl) == -GKL_BAD_ARGUMENT, "d < 0");
    check(VALUE(GKL_VAR, GKL_UNIT, 1, 4, 0, one, 0, 0, &kl) == -GKL_BAD_ARGUMENT, "no mean_p");
    check(VALUE(GKL_VAR, GKL_UNIT, 1, 4, one, 0, 0, 0, &kl) == -GKL_BAD_ARGUMENT, "no scale_p");
    check(VALUE(GKL_VAR, GKL_VAR, 1, 4, one, one, 0, one, &kl) == -GKL_BAD_ARGUMENT, "no mean_q");
    check(VALUE(GKL_VAR, GKL_VAR, 1, 4, one, one, one, 0, &kl) == -GKL_BAD_ARGUMENT, "no scale_q");
    check(VALUE(GKL_VAR, GKL_UNIT, 1, 4, one, one, 0, 0, NULL) == -GKL_BAD_ARGUMENT, "no output");
    check(VALUE(GKL_UNIT, GKL_VAR, 1, 4, one, one, one, one, &kl) == -GKL_NO_KERNEL, "unit p");
    check(VALUE(GKL_LOW_RANK, GKL_VAR, 1, 4, one, one, one, one, &kl) == -GKL_NO_KERNEL, "rank p");
    check(VALUE(GKL_VAR, GKL_LOW_RANK, 1, 4, one, one, one, one, &kl) == -GKL_NO_KERNEL, "rank q");
    check(VALUE(GKL_VAR, 99, 1, 4, one, one, one, one, &kl) == -GKL_NO_KERNEL, "no such kind");
    check(VALUE(-1, GKL_VAR, 1, 4, one, one, one, one, &kl) == -GKL_NO_KERNEL, "no such kind");
    check(kl == 7, "an output was written");
    EACH(p, GKL_LOW_RANK) EACH(q, GKL_LOW_RANK) if (p != GKL_UNIT) { /* an empty array's NULL */
        kl = 7;
        check(VALUE(p, q, 1, 0, 0, 0, 0, 0, &kl) == 0 && kl == 0, "d = 0, %d to %d", p, q);
        kl = 7;
        check(gkl_kl_and_grad_f64((gkl_kind)p, (gkl_kind)q, 1, 0, 0, 0, 0, 0, &kl, 0, 0, 0, 0) == 0
                  && kl == 0, "gradients, d = 0, %d to %d", p, q);
    }
    check(VALUE(GKL_VAR, GKL_UNIT, 1, 0, 0, 0, 0, 0, NULL) == -GKL_BAD_ARGUMENT,
          "d = 0, no output");
    static double many[1000]; /* more than is done without a job; as variances, bad */
    *gkl_bad_items() = 9;
    check(VALUE(GKL_VAR, GKL_UNIT, 1, COUNT(many), many, many, 0, 0, &kl) == 1
              && *gkl_bad_items() == 9, "bad items of the caller's last job");
#undef VALUE
    const gkl_api *api = gkl_get_api();
    check(api->major == GKL_API_MAJOR && api->minor == GKL_API_MINOR
              && strcmp(api->version, GKL_VERSION) == 0, "versions of the table");
    check(api->run == gkl_run && api->bad_items == gkl_bad_items && api->pairwise == gkl_pairwise
              && api->nearest == gkl_nearest && api->within == gkl_within && api->isa == gkl_isa
              && api->threads == gkl_threads && api->set_own_threads == gkl_set_own_threads,
          "functions of the table");
    group_end();
}

static int say_one(void) { return 1; }

static void test_jobs(void) {
    static double one[4] = {1, 1, 1, 1}, kl;
    static const ptrdiff_t shape[GKL_MAX_DIMS + 1] = {1}, stride[GKL_MAX_DIMS + 1];
    const gkl_array in = {.data = (char *)one, .stride = stride, .step = sizeof *one};
    const gkl_job good = {.p = GKL_VAR, .q = GKL_UNIT, .storage = GKL_F64, .ndim = 1,
                          .shape = shape, .dim = 4, .in = {in, in},
                          .out = {{.data = (char *)&kl, .stride = stride}}};
    kl = 7;
    group_begin("jobs: arguments");
#define REFUSED(field, value, status)                                                            \
    do {                                                                                         \
        gkl_job job = good;                                                                      \
        job.field = value;                                                                       \
        *gkl_bad_items() = 9;                                                                    \
        check(gkl_run(&job) == (status) && *gkl_bad_items() == 0, #field " = " #value);          \
    } while (0)
    REFUSED(p, GKL_UNIT, GKL_NO_KERNEL);
    REFUSED(p, GKL_KINDS, GKL_NO_KERNEL);
    REFUSED(q, GKL_KINDS, GKL_NO_KERNEL);
    REFUSED(output, GKL_OUTPUTS, GKL_NO_KERNEL);
    REFUSED(storage, (gkl_type)(GKL_F64 + 1), GKL_NO_KERNEL);
    REFUSED(ndim, GKL_MAX_DIMS + 1, GKL_BAD_ARGUMENT);
    REFUSED(ndim, -1, GKL_BAD_ARGUMENT);
    REFUSED(nsum, 2, GKL_BAD_ARGUMENT);
    REFUSED(nsum, -1, GKL_BAD_ARGUMENT);
    REFUSED(dim, -1, GKL_BAD_ARGUMENT);
    REFUSED(rank_q, -1, GKL_BAD_ARGUMENT);
    static const ptrdiff_t negative[] = {-1};
    REFUSED(shape, negative, GKL_BAD_ARGUMENT);
    REFUSED(index[1] = stride; job.ndim, 0, GKL_BAD_ARGUMENT);
    REFUSED(index[0] = stride; job.ndim, 2, GKL_BAD_ARGUMENT);
    REFUSED(q = GKL_VAR; job.output, GKL_ENTROPY, GKL_NO_KERNEL);
    REFUSED(p = job.q = GKL_COV; job.output, GKL_ENTROPY, GKL_NO_KERNEL);
#undef REFUSED
    check(kl == 7, "an output was written");
    gkl_job unit_to_matrix = good; /* there is no such pair, not even of groups */
    unit_to_matrix.p = GKL_UNIT;
    unit_to_matrix.q = GKL_COV;
    check(gkl_run(&unit_to_matrix) == GKL_NO_KERNEL, "unit p against a matrix");
    check(gkl_run(&good) == 0 && kl == 2, "a good one");
    gkl_job polled = good;
    polled.poll = say_one;
    kl = 7;
    check(gkl_run(&polled) == 0 && kl == 2, "a poll of more than 0");
    group_end();
}

enum { THREADS = 4, CALLS = 200, ROWS_EACH = 5, DIM = 40 };

/* Each thread has its own Gaussians and outputs; every third item is bad in every other thread. */
static void *many_calls(void *context) {
    const double shift = *(const int *)context, bad = *(const int *)context % 2;
    double mean[ROWS_EACH * DIM], var[ROWS_EACH * DIM], kl[ROWS_EACH];
    ptrdiff_t wrong = 0;
    for (int i = 0; i < ROWS_EACH * DIM; ++i) {
        mean[i] = shift + i / DIM;
        var[i] = bad && i / DIM % 3 == 0 ? -1 : 1;
    }
    for (int i = 0; i < CALLS; ++i) {
        const ptrdiff_t found =
            gkl_kl_f64(GKL_VAR, GKL_UNIT, ROWS_EACH, DIM, mean, var, NULL, NULL, kl);
        wrong += found != (bad ? 2 : 0);
        for (int row = 0; row < ROWS_EACH; ++row) {
            const double want = DIM * (shift + row) * (shift + row) / 2;
            wrong += bad && row % 3 == 0 ? !isnan(kl[row]) : kl[row] != want;
        }
    }
    return wrong ? context : NULL;
}

static void row_callers(void) {
    pthread_t thread[THREADS];
    int number[THREADS];
    group_begin("rows: several callers");
    EACH(i, THREADS) {
        number[i] = i;
        check(pthread_create(&thread[i], NULL, many_calls, &number[i]) == 0, "thread %d", i);
    }
    EACH(i, THREADS) {
        void *wrong;
        pthread_join(thread[i], &wrong);
        check(!wrong, "thread %d has other results", i);
    }
    group_end();
}

void test_rows(void) {
    test_diagonal();
    test_matrices();
    test_arguments();
    test_jobs();
    row_callers();
}
