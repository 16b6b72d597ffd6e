/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every p against every q: values, memory, company, bad and extreme items, and what is near.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pairs.h"

static void check_value(const pairs *x, double got, const pair_reference *r, ptrdiff_t i,
                        ptrdiff_t j) {
    char what[100];
    if (meets(x, r, got)) {
        check(1, "right");
        return;
    }
    pairs_describe(what, sizeof what, x);
    check(0, "%s, (%td, %td): %.17g, not %.17Lg", what, i, j, got, r->value[x->metric]);
}

/* every metric against the reference: of the pairs one in `every` */
static void check_metrics(pairs *x, int every) {
    const way plain = {.nthreads = 1};
    results got[GKL_METRICS];
    EACH(metric, GKL_METRICS) {
        x->metric = (gkl_metric)metric;
        got[metric] = measure(x, &plain);
        check(got[metric].code == 0, "code %d", got[metric].code);
    }
    EACH(i, x->n) EACH(j, x->m) {
        if ((i * x->m + j) % every)
            continue;
        const pair_reference r = pairs_reference(x, i, j);
        EACH(metric, GKL_METRICS) {
            x->metric = (gkl_metric)metric;
            check_value(x, got[metric].out[0][i * x->m + j], &r, i, j);
            if (x->x.p == x->x.q && j % 4 == 0 && i == j % x->n)
                check(got[metric].out[0][i * x->m + j] == 0, "%s of equal ones: %g",
                      metric_names[metric], got[metric].out[0][i * x->m + j]);
        }
    }
    EACH(metric, GKL_METRICS) results_free(&got[metric]);
}

void test_pairwise_values(void) {
    static const ptrdiff_t sizes[][3] = {{3, 5, 0},   {40, 37, 1}, {21, 26, 3},   {17, 9, 16},
                                         {8, 33, 17}, {5, 20, 65}, {9, 12, 130}, {5, 8, 600}};
    static const double orders[] = {0.2, 0.5, 0.75, 2};
    group_begin("pairwise values");
    EACH_KIND_PAIR(p, q) EACH(t, 2) EACH(s, COUNT(sizes)) {
        if (quick && (s > 5 || (p + q + s) % 2 != t))
            continue;
        pairs x = pairs_make(p, q, computed[t], sizes[s][0], sizes[s][1], sizes[s][2]);
        x.order = orders[(p + q + s) % 4];
        check_metrics(&x, quick ? 5 : 1);
        gaussians_free(&x.x);
    }
    /* the limit of orders at 1, and none where there is no such order */
    static const double limits[] = {1, 0, -1, (double)INFINITY, (double)NAN};
    EACH(t, 2) EACH(k, COUNT(limits)) {
        const way plain = {.nthreads = 1};
        pairs x = pairs_make(GKL_STD, GKL_STD, computed[t], 9, 40, 17);
        results want = measure(&x, &plain);
        x.metric = GKL_RENYI;
        x.order = limits[k];
        EACH(i, k ? 9 * 40 : 0) want.out[0][i] = (double)NAN;
        check_way(&x, &plain, &want, k ? "no order" : "order 1");
        results_free(&want);
        gaussians_free(&x.x);
    }
    group_end();
}

/* ---- the same bits ---- */

void test_pairwise_layouts(void) {
    static const ptrdiff_t sizes[][3] = {{1, 1, 1}, {7, 5, 3}, {33, 70, 17}, {100, 41, 2}};
    static const way ways[] = {{.at_end = 1}, {.shift = 1}, {.shift = 1, .at_end = 1}, {.gap = 1},
                               {.in = COLUMNS, .out = COLUMNS}, {.in = REVERSED, .out = REVERSED},
                               {.in = SPACED, .out = SPACED}, {.in = COLUMNS, .gap = 24},
                               {.out = REVERSED}, {.in = REVERSED, .out = COLUMNS, .at_end = 1}};
    group_begin("pairwise layouts and half storage");
    EACH_KIND_PAIR(p, q) EACH(t, 2) EACH(s, quick ? 3 : COUNT(sizes)) {
        pairs x = pairs_make(p, q, computed[t], sizes[s][0], sizes[s][1], sizes[s][2]);
        x.metric = (gkl_metric)((3 * p + q + s) % GKL_METRICS);
        x.x.in[1][0] = x.m > 1 ? (double)NAN : x.x.in[1][0]; /* a bad item, too */
        const way plain = {.nthreads = 1};
        results want = measure(&x, &plain);
        EACH(w, COUNT(ways)) {
            char name[20];
            snprintf(name, sizeof name, "way %d", w);
            check_way(&x, &ways[w], &want, name);
        }
        results_free(&want);
        gaussians_free(&x.x);
        x = pairs_make(p, q, t ? GKL_F16 : GKL_BF16, sizes[s][0], sizes[s][1], sizes[s][2]);
        const gkl_type half = x.x.type;
        x.x.type = GKL_F32;
        want = measure(&x, &plain);
        x.x.type = half;
        EACH(l, SHARED) if (l != PERMUTED)
            check_way(&x, &(way){.in = (layout)l, .at_end = l % 2}, &want, type_names[half]);
        results_free(&want);
        gaussians_free(&x.x);
    }
    group_end();
}

/* So many of one side that it takes several blocks: item i is what is from number i on. */
static void check_blocks(int many_p, gkl_metric metric) {
    enum { MANY = 2200, FEW = 3, D = 600, LAST = 5 };
    static double means[MANY + D], scales[MANY + D], all[MANY * FEW], last[LAST * FEW];
    const ptrdiff_t one[] = {sizeof(double)}, out[] = {FEW * 8, 8}, turned[] = {8, FEW * 8};
    EACH(i, MANY + D) {
        means[i] = uniform(-2, 2);
        scales[i] = uniform(0.5, 2);
    }
    gkl_pairwise_job job = {.metric = metric, .order = 0.5, .storage = GKL_F64, .dim = D,
                            .n = many_p ? MANY : FEW, .m = many_p ? FEW : MANY, .nthreads = 3};
    EACH(k, 4)
        job.in[k] = (gkl_array){.data = (char *)(k % 2 ? scales : means), .stride = one, .step = 8};
    memset(all, CANARY, sizeof all);
    check(gkl_pairwise(&job, all, many_p ? out : turned) == 0, "blocks");
    *(many_p ? &job.n : &job.m) = LAST;
    EACH(at, 3) {
        const ptrdiff_t first = at * (MANY - LAST) / 2;
        EACH(k, 2)
            job.in[k + (many_p ? 0 : 2)].data = (char *)((k ? scales : means) + first);
        check(gkl_pairwise(&job, last, many_p ? out : turned) == 0, "a part");
        check(memcmp(last, all + first * FEW, sizeof last) == 0,
              "%s: other bits from %td on, %s", metric_names[metric], first,
              many_p ? "many p" : "many q");
    }
}

/* Any number of threads, and a pair alone or among others. */
void test_pairwise_company(void) {
    group_begin("pairwise threads and pairs alone");
    EACH_KIND_PAIR(p, q) EACH(t, 2) EACH(metric, GKL_METRICS) {
        if ((p + q + t + metric) % (quick ? 5 : 3))
            continue;
        pairs x = pairs_make(p, q, computed[t], 131, 61, 17); /* enough to use threads */
        x.metric = (gkl_metric)metric;
        const way plain = {.nthreads = 1};
        results want = measure(&x, &plain);
        for (int n = 2; n <= 3; ++n)
            check_way(&x, &(way){.nthreads = n}, &want, "more threads");
        EACH(k, quick ? 10 : 40) {
            const ptrdiff_t i = (ptrdiff_t)uniform(0, 131), j = k % 2 ? k : i % 61;
            const pairs one = pairs_alone(&x, i, j);
            results got = measure(&one, &plain);
            check(memcmp(got.out[0], &want.out[0][i * x.m + j], sizeof(double)) == 0,
                  "%s %s-%s %s: (%td, %td) alone has other bits", metric_names[metric],
                  kind_names[p], kind_names[q], type_names[x.x.type], i, j);
            results_free(&got);
        }
        results_free(&want);
        gaussians_free(&x.x);
    }
    EACH(many_p, quick ? 0 : 2) check_blocks(many_p, many_p ? GKL_KL : GKL_WASSERSTEIN2);
    group_end();
}

/* ---- bad and extreme items ---- */

void test_pairwise_bad(void) {
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -1, 0};
    group_begin("pairwise bad items");
    EACH_KIND_PAIR(p, q) EACH(t, 2) EACH(metric, GKL_METRICS) EACH(of_q, 2) {
        if (quick && (p + q + metric) % 3)
            continue;
        pairs x = pairs_make(p, q, computed[t], 21, 45, 1 + 9 * (metric % 3));
        x.metric = (gkl_metric)metric;
        const way how = {.nthreads = 1};
        const ptrdiff_t count = of_q ? x.m : x.n, d = x.x.d;
        results want = measure(&x, &how);
        EACH(b, COUNT(bad)) EACH(of_scale, 2) {
            if ((b > 2 && !of_scale) || (of_scale && b > 2 && (of_q ? q : p) == GKL_LOGVAR))
                continue;
            const ptrdiff_t at = (ptrdiff_t[]){0, count - 1, 7, 8, 16}[b];
            double *to = &x.x.in[2 * of_q + of_scale][at * d + d - 1], before = *to;
            *to = bad[b];
            results got = measure(&x, &how);
            *to = before;
            EACH(i, count) check(got.out[1 + of_q][i] == (i == at), "state of item %d", i);
            EACH(i, of_q ? x.n : x.m) check(got.out[2 - of_q][i] == 0, "state beside, %d", i);
            EACH(i, x.n) EACH(j, x.m) if ((of_q ? j : i) == at) {
                check(isnan(got.out[0][i * x.m + j]), "%s of a bad item (%g): %g",
                      metric_names[metric], bad[b], got.out[0][i * x.m + j]);
                got.out[0][i * x.m + j] = want.out[0][i * x.m + j];
            }
            check(memcmp(got.out[0], want.out[0], (size_t)(x.n * x.m) * sizeof(double)) == 0,
                  "%s: a bad item (%g) changes others", metric_names[metric], bad[b]);
            results_free(&got);
        }
        results_free(&want);
        gaussians_free(&x.x);
    }
    group_end();
}

/* KL, its reverse and Jeffreys, pair by pair: those of the kernels of rows */
static void check_rows(const pairs *x, const results *got) {
    const int reversed = x->metric == GKL_REVERSE_KL;
    const ptrdiff_t shape[] = {x->n, x->m}, size = value_size(x), out[] = {x->m * size, size};
    ptrdiff_t stride[4], of_p[] = {0, 0}, of_q[] = {0, 0};
    char what[100];
    pairs_describe(what, sizeof what, x);
    const gkl_pairwise_job job = job_of(x, &(way){0}, stride);
    char *values = guarded(GKL_MAX_IN, (size_t)(x->n * x->m * size), 1);
    gkl_job rows = {.p = reversed ? job.q : job.p, .q = reversed ? job.p : job.q,
                    .output = x->metric == GKL_SYMMETRIC_KL ? GKL_JEFFREYS : GKL_VALUE,
                    .storage = job.storage, .ndim = 2, .shape = shape, .dim = job.dim,
                    .nthreads = 1, .out = {{.data = values, .stride = out}}};
    of_p[0] = stride[0];
    of_q[1] = stride[2];
    EACH(k, 4) {
        gkl_array *to = &rows.in[reversed ? (k + 2) % 4 : k];
        *to = job.in[k];
        to->stride = k < 2 ? of_p : of_q;
    }
    check(gkl_run(&rows) == 0, "the kernels of rows");
    EACH(i, x->n) EACH(j, x->m) if (i % 3 == 0 || j % 5 == 0) {
        const double one = get(value_type(x), values + (i * x->m + j) * size);
        check(memcmp(&one, &got->out[0][i * x->m + j], sizeof one) == 0,
              "%s (%d, %d): %.17g, and by rows %.17g", what, i, j, got->out[0][i * x->m + j], one);
    }
}

static double scale_of(gkl_kind kind, double y) {
    return kind == GKL_VAR ? exp(y) : kind == GKL_STD ? exp(y / 2) : y;
}

/* Every third of p and every fifth of q is at the end of the range, in one dimension or in all. */
void test_pairwise_extremes(void) {
    group_begin("pairwise extreme items");
    EACH_KIND_PAIR(p, q) EACH(t, 2) {
        const ptrdiff_t d = 3;
        pairs x = pairs_make(p, q, computed[t], 13, 21, d);
        x.order = (double[]){0.75, 0.3, 2}[(p + q) % 3];
        const double logs = (t ? 300 : 30) * 2.302585092994046;
        EACH(k, 2) for (ptrdiff_t i = 0; i < (k ? x.m : x.n); i += k ? 5 : 3)
            EACH(j, i % 2 ? 1 : d) {
                const double y = (i + j) % 4 < 2 ? logs : -logs;
                x.x.in[2 * k + 1][i * d + j] = rounded(x.x.type, scale_of(k ? x.x.q : x.x.p, y));
            }
        x.x.in[0][d] = 1e6; /* v_p/v_q beyond double, but not delta^2/v_p */
        x.x.in[1][d] = rounded(x.x.type, scale_of(x.x.p, 23));
        x.x.in[0][9 * d] = x.x.in[2][15 * d + 1] = t ? 1e200 : rounded(GKL_F32, 1e25);
        if (p == q) { /* equal and near ones, of them, too */
            pairs_near(&x, 4, 3, 0);
            pairs_near(&x, 10, 6, 1e-3);
            memcpy(x.x.in[2] + 10 * d, x.x.in[0] + 6 * d, (size_t)d * sizeof(double));
        }
        EACH(metric, GKL_METRICS) {
            x.metric = (gkl_metric)metric;
            results got = measure(&x, &(way){.nthreads = 1});
            if (metric <= GKL_SYMMETRIC_KL)
                check_rows(&x, &got);
            EACH(i, x.n) EACH(j, x.m) {
                const pair_reference r = pairs_reference(&x, i, j);
                check_value(&x, got.out[0][i * x.m + j], &r, i, j);
            }
            results_free(&got);
        }
        gaussians_free(&x.x);
    }
    group_end();
}
