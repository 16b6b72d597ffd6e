/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What of q is near to each p is what sorting all values gives; and all of it stops when told.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pairs.h"

enum { VALUES = GKL_MAX_IN, INDEX, START }; /* slots */
static const way plain = {.nthreads = 1, .at_end = 1};

static const double *sorted_by;

static int by_value(const void *a, const void *b) {
    const ptrdiff_t i = *(const ptrdiff_t *)a, j = *(const ptrdiff_t *)b;
    const double x = sorted_by[i], y = sorted_by[j];
    return x < y ? -1 : x > y ? 1 : i < j ? -1 : i > j;
}

/* those of a row that count, in order; how many */
static ptrdiff_t sorted(const double *value, ptrdiff_t m, ptrdiff_t self, ptrdiff_t *to) {
    ptrdiff_t n = 0;
    EACH(j, m) if (!isnan(value[j]) && j != self)
        to[n++] = j;
    sorted_by = value;
    qsort(to, (size_t)n, sizeof *to, by_value);
    return n;
}

static void check_nearest(const pairs *x, const results *all, ptrdiff_t k, ptrdiff_t self,
                          int nthreads) {
    const ptrdiff_t size = value_size(x);
    const size_t cells = (size_t)(x->n * k);
    ptrdiff_t stride[4], order[256];
    char what[100];
    pairs_describe(what, sizeof what, x);
    gkl_pairwise_job job = job_of(x, &plain, stride);
    job.nthreads = nthreads;
    char *value = buffer_of(VALUES, cells * (size_t)size, &plain);
    ptrdiff_t *index = (ptrdiff_t *)(void *)buffer_of(INDEX, cells * sizeof *index, &plain);
    check(gkl_nearest(&job, k, self, value, index) == 0, "%s: %td nearest", what, k);
    EACH(i, x->n) {
        const double *row = all->out[0] + i * x->m;
        const ptrdiff_t n = sorted(row, x->m, self == GKL_NO_SELF ? -1 : i + self, order);
        EACH(c, k) {
            const double got = get(value_type(x), value + (i * k + c) * size);
            const ptrdiff_t at = index[i * k + c];
            if (c < n)
                check(at == order[c] && memcmp(&got, &row[order[c]], sizeof got) == 0,
                      "%s: number %d of %td near to %d is %td (%g), not %td (%g)", what, c, k, i,
                      at, got, order[c], row[order[c]]);
            else
                check(at == -1 && isnan(got), "%s: number %d of %td good ones is %td (%g)", what,
                      c, n, at, got);
        }
    }
}

/* the bound of a row is one of its values, below all, or beyond all */
static void check_within(const pairs *x, const results *all, ptrdiff_t self, int nthreads) {
    ptrdiff_t stride[4], *index = NULL, order[256], at = 0;
    double bound[64], *value = NULL;
    char what[100];
    pairs_describe(what, sizeof what, x);
    gkl_pairwise_job job = job_of(x, &plain, stride);
    job.nthreads = nthreads;
    ptrdiff_t *start = (ptrdiff_t *)(void *)buffer_of(
        START, (size_t)(x->n + 1) * sizeof *start, &plain);
    EACH(i, x->n) {
        const double one = all->out[0][i * x->m + i * 7 % x->m];
        bound[i] = (double[]){one, one, -1, (double)INFINITY, (double)NAN}[i % 5];
    }
    check(gkl_within(&job, bound, self, start, &index, &value) == 0 && index && value,
          "%s: within", what);
    EACH(i, x->n) {
        const double *row = all->out[0] + i * x->m;
        sorted(row, x->m, self == GKL_NO_SELF ? -1 : i + self, order);
        check(start[i] == at, "%s: item %d starts at %td", what, i, start[i]);
        EACH(j, x->m) if (row[j] <= bound[i] && (self == GKL_NO_SELF || j != i + self)) {
            check(at < start[i + 1] && index[at] == j && value[at] == row[j],
                  "%s: %d is within %g of %d", what, j, bound[i], i);
            ++at;
        }
    }
    check(start[x->n] == at, "%s: %td within, not %td", what, start[x->n], at);
    free(index);
    free(value);
}

void test_nearest(void) {
    static const ptrdiff_t sizes[][3] = {{0, 5, 3},  {5, 1, 3},   {13, 12, 0},
                                         {40, 37, 2}, {21, 250, 9}, {40, 150, 17}};
    static const ptrdiff_t selves[] = {GKL_NO_SELF, 0, 3, -2};
    group_begin("nearest and within");
    EACH_KIND_PAIR(p, q) EACH(t, 2) EACH(s, COUNT(sizes)) {
        const ptrdiff_t n = sizes[s][0], m = sizes[s][1], d = sizes[s][2];
        if ((p + q + s) % 2 != t)
            continue;
        pairs x = pairs_make(p, q, computed[t], n, m, d);
        x.metric = (gkl_metric)((p + 3 * q + s) % GKL_METRICS);
        x.order = 2; /* infinite ones, too */
        for (ptrdiff_t j = 5; j < m; ++j)
            EACH(k, j % 3 ? 0 : 2)
                memcpy(x.x.in[2 + k] + j * d, x.x.in[2 + k] + (j - 5) * d,
                       (size_t)d * sizeof(double));
        if (n > 5 && d > 0)
            x.x.in[1][4 * d] = x.x.in[2][8 * d] = x.x.in[3][d] = (double)NAN;
        results all = measure(&x, &plain);
        EACH(i, COUNT(selves)) {
            const ptrdiff_t counts[] = {1 + i, i % 2 ? m : m + 3};
            EACH(c, COUNT(counts)) check_nearest(&x, &all, counts[c], selves[i], 1 + i % 3);
            check_within(&x, &all, selves[i], 1 + i % 3);
        }
        ptrdiff_t stride[4];
        const gkl_pairwise_job job = job_of(&x, &plain, stride);
        check(gkl_nearest(&job, 0, 0, NULL, NULL) == 0, "none of the nearest");
        results_free(&all);
        gaussians_free(&x.x);
    }
    group_end();
}

static int polls;

static int stop_at_second(void) { return ++polls < 2 ? 0 : -7; }
static int go_on(void) { return ++polls, 1; } /* not less than 0 */

/* Between blocks of q; all the items are one item. */
void test_pairwise_poll(void) {
    enum { MANY = 300, D = 1000 };
    static double means[D], vars[D], values[2 * MANY], bound[2];
    static ptrdiff_t near[2 * MANY];
    const ptrdiff_t none[] = {0}, stride[] = {MANY * 8, 8};
    ptrdiff_t start[3], *index;
    double *found;
    group_begin("pairwise poll");
    EACH(j, D) vars[j] = 1;
    gkl_pairwise_job job = {.storage = GKL_F64, .n = 2, .m = MANY, .dim = D, .nthreads = 2};
    EACH(k, 4)
        job.in[k] = (gkl_array){.data = (char *)(k % 2 ? vars : means), .stride = none, .step = 8};
    EACH(what, 6) {
        job.poll = what < 3 ? stop_at_second : go_on;
        polls = 0;
        const int code = what % 3 == 0   ? gkl_pairwise(&job, values, stride)
                         : what % 3 == 1 ? gkl_nearest(&job, MANY, 0, values, near)
                                         : gkl_within(&job, bound, 0, start, &index, &found);
        check(what < 3 ? code == -7 && polls == 2 : code == 0 && polls > 2,
              "%d: code %d after %d polls", what, code, polls);
        if (what % 3 == 2) {
            free(index);
            free(found);
        }
    }
    check(start[1] == MANY - 1 && start[2] == 2 * (MANY - 1), "after polls: %td, %td", start[1],
          start[2]);
    group_end();
}

/* What is refused by all three, and nothing is written. */
static void test_refused(void) {
    double bound[2] = {1, 1}, values[4] = {7, 7, 7, 7}, *found;
    ptrdiff_t near[2], start[3] = {7, 7, 7}, *index;
    const ptrdiff_t stride[] = {16, 8};
    char state[4] = {7, 7, 7, 7};
    const gkl_array in = {.data = (char *)bound, .stride = stride, .step = 8};
    const gkl_pairwise_job good = {.storage = GKL_F64, .n = 2, .m = 2, .dim = 1,
                                   .in = {in, in, in, in}, .state_p = state,
                                   .state_q = state + 2};
#define REFUSED(field, value, status)                                                            \
    do {                                                                                         \
        gkl_pairwise_job job = good;                                                             \
        job.field = value;                                                                       \
        check(gkl_pairwise(&job, values, stride) == (status), "pairwise: " #field " = " #value); \
        EACH(k, 2) check(gkl_nearest(&job, k, 0, values, near) == (status),                      \
                         "%d nearest: " #field " = " #value, k);                                 \
        check(gkl_within(&job, bound, 0, start, &index, &found) == (status),                     \
              "within: " #field " = " #value);                                                   \
        free(index);                                                                             \
        free(found);                                                                             \
    } while (0)
    REFUSED(p, GKL_UNIT, GKL_NO_KERNEL); /* N(0, I) is none of them */
    REFUSED(q, (gkl_kind)-1, GKL_NO_KERNEL);
    REFUSED(metric, GKL_METRICS, GKL_NO_KERNEL);
    REFUSED(storage, (gkl_type)(GKL_F64 + 1), GKL_NO_KERNEL);
    REFUSED(n, -1, GKL_BAD_ARGUMENT);
    REFUSED(m, -1, GKL_BAD_ARGUMENT);
    REFUSED(dim, -1, GKL_BAD_ARGUMENT);
    REFUSED(dim, PTRDIFF_MAX / 8, GKL_NO_MEMORY);
#undef REFUSED
    check(gkl_nearest(&good, -1, 0, values, near) == GKL_BAD_ARGUMENT, "-1 nearest");
    EACH(i, 4) check(values[i] == 7 && state[i] == 7 && start[i % 3] == 7, "%d was written", i);
}

/* The states of both sides are told, though nothing is asked of them. */
static void test_states_of_none(void) {
    enum { MANY = 20000 }; /* more than a block */
    static double one[MANY], var[MANY];
    static char state[2][MANY];
    const ptrdiff_t stride[] = {8, 8};
    EACH(i, MANY) var[i] = i % 7 ? 1 : -1;
    EACH(which, 3) {
        gkl_pairwise_job job = {.storage = GKL_F64, .n = which == 0 ? 0 : MANY,
                                .m = which == 1 ? 0 : MANY, .dim = 1, .state_p = state[0],
                                .state_q = state[1]};
        EACH(k, 4)
            job.in[k] =
                (gkl_array){.data = (char *)(k % 2 ? var : one), .stride = stride, .step = 8};
        memset(state, 7, sizeof state);
        const int code = which == 2 ? gkl_nearest(&job, 0, 0, NULL, NULL)
                                    : gkl_pairwise(&job, NULL, stride);
        check(code == 0, "%d: code %d", which, code);
        EACH(side, 2) EACH(i, MANY)
            check(state[side][i] == (side == which ? 7 : i % 7 == 0),
                  "%d: state %d of side %d is %d", which, i, side, state[side][i]);
    }
}

void test_pairwise_arguments(void) {
    group_begin("pairwise arguments");
    test_refused();
    test_states_of_none();
    group_end();
}
