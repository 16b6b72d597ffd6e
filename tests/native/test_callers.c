/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Jobs of many threads at once: each gives what it gives alone, and counts its own bad items.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { CALLERS = 6, ROUNDS = 5, ROWS_OF_ALL = 600, DIM = 24, NEIGHBORS = 4 };
enum { NUMBERS = ROWS_OF_ALL * DIM };

static double mean[NUMBERS], var[NUMBERS]; /* of all, p and q */

/* What one caller's jobs give. */
typedef struct {
    int bad; /* so many of the first variances are -1 */
    double var[NUMBERS];
    double kl[ROWS_OF_ALL], grad_mean[NUMBERS], grad_var[NUMBERS];
    double nearest[ROWS_OF_ALL * NEIGHBORS];
    ptrdiff_t index[ROWS_OF_ALL * NEIGHBORS], found;
    int code;
} caller;

static void run_jobs(caller *x) {
    static const ptrdiff_t shape[] = {ROWS_OF_ALL}, row[] = {DIM * sizeof(double)},
                           number[] = {sizeof(double)};
    const ptrdiff_t step = sizeof(double);
    memcpy(x->var, var, sizeof var);
    EACH(i, x->bad) x->var[i * DIM] = -1;
    const gkl_job job = {.p = GKL_VAR, .q = GKL_VAR, .output = GKL_GRAD, .storage = GKL_F64,
                         .ndim = 1, .shape = shape, .dim = DIM, .nthreads = 2,
                         .in = {{.data = (char *)mean, .stride = row, .step = step},
                                {.data = (char *)x->var, .stride = row, .step = step},
                                {.data = (char *)var, .stride = row, .step = step},
                                {.data = (char *)var, .stride = row, .step = step}},
                         .out = {{.data = (char *)x->kl, .stride = number},
                                 {.data = (char *)x->grad_mean, .stride = row, .step = step},
                                 {.data = (char *)x->grad_var, .stride = row, .step = step}}};
    x->code = gkl_run(&job);
    x->found = *gkl_bad_items();
    const gkl_pairwise_job pairs = {.metric = GKL_KL, .p = GKL_VAR, .q = GKL_VAR,
                                    .storage = GKL_F64, .n = ROWS_OF_ALL, .m = ROWS_OF_ALL,
                                    .dim = DIM, .nthreads = 2,
                                    .in = {job.in[0], job.in[1], job.in[0], job.in[2]}};
    x->code |= gkl_nearest(&pairs, NEIGHBORS, GKL_NO_SELF, x->nearest, x->index);
}

static void *run(void *x) {
    EACH(i, ROUNDS) run_jobs(x);
    return NULL;
}

static int equal(const caller *a, const caller *b) {
    return memcmp(a->kl, b->kl, sizeof a->kl) == 0
           && memcmp(a->grad_mean, b->grad_mean, sizeof a->grad_mean) == 0
           && memcmp(a->grad_var, b->grad_var, sizeof a->grad_var) == 0
           && memcmp(a->nearest, b->nearest, sizeof a->nearest) == 0
           && memcmp(a->index, b->index, sizeof a->index) == 0;
}

void test_callers(void) {
    pthread_t thread[CALLERS];
    group_begin("many callers at once");
    caller *callers = calloc(CALLERS, sizeof *callers), *alone = calloc(1, sizeof *alone);
    EACH(i, NUMBERS) {
        mean[i] = uniform(-2, 2);
        var[i] = uniform(0.5, 2);
    }
    EACH(i, CALLERS) {
        callers[i].bad = i;
        check(pthread_create(&thread[i], NULL, run, &callers[i]) == 0, "thread %d", i);
    }
    EACH(i, CALLERS) pthread_join(thread[i], NULL);
    EACH(i, CALLERS) {
        alone->bad = i;
        run_jobs(alone);
        check(callers[i].code == 0 && callers[i].found == i, "caller %d: code %d, %td bad items",
              i, callers[i].code, callers[i].found);
        check(equal(&callers[i], alone), "caller %d: other bits than alone", i);
    }
    free(callers);
    free(alone);
    group_end();
}
