/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every p against every q: made, put into memory, run, compared.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pairs.h"

const char *const metric_names[] = {"kl",    "reverse kl",    "symmetric kl", "wasserstein2",
                                    "renyi", "bhattacharyya", "hellinger"};

/* ---- numbers ---- */

static double moved(gkl_kind kind, double x, double e) {
    return kind == GKL_LOGVAR ? x + uniform(-e, e) : x * (1 + uniform(-e, e));
}

void pairs_near(pairs *x, ptrdiff_t j, ptrdiff_t i, double e) {
    const ptrdiff_t d = x->x.d;
    EACH(c, d) EACH(k, 2)
        x->x.in[2 + k][j * d + c] = rounded(
            x->x.type, moved(k ? x->x.p : GKL_VAR, x->x.in[k][i * d + c], e));
}

pairs pairs_make(int p, int q, gkl_type type, ptrdiff_t n, ptrdiff_t m, ptrdiff_t d) {
    const double nearest = type == GKL_F64 ? 1e-10 : 1e-6;
    const double apart[] = {0, 1e-3, 0.1, 0, 0, nearest, 1e-3};
    pairs x = {.n = n, .m = m, .order = 0.75};
    gaussians_make(&x.x, (gkl_kind)p, (gkl_kind)q, type, GENERIC, n > m ? n : m, d);
    for (ptrdiff_t j = 0; p == q && n > 0 && j < m; ++j)
        if (j % 4 < 3)
            pairs_near(&x, j, j % n, apart[j % 8]);
    return x;
}

pairs pairs_alone(const pairs *x, ptrdiff_t i, ptrdiff_t j) {
    pairs one = *x;
    one.n = one.m = one.x.rows = 1;
    EACH(k, 4) one.x.in[k] += (k < 2 ? i : j) * x->x.d;
    return one;
}

void pairs_describe(char *text, size_t size, const pairs *x) {
    snprintf(text, size, "%s (%g) %s-%s %s, %td x %td x %td", metric_names[x->metric], x->order,
             kind_names[x->x.p], kind_names[x->x.q], type_names[x->x.type], x->n, x->m, x->x.d);
}

/* ---- memory ---- */

typedef struct {
    ptrdiff_t first, stride[2]; /* bytes */
    size_t bytes;
} view;

static view view_of(layout l, ptrdiff_t n, ptrdiff_t width, ptrdiff_t size, ptrdiff_t gap) {
    view x = {.stride = {width * size + gap, size}};
    if (l == COLUMNS)
        x = (view){.stride = {size, n * size}};
    if (l == SPACED)
        x = (view){.stride = {2 * (width + 3) * size, 2 * size}};
    if (l == REVERSED)
        x = (view){.stride = {-width * size, -size}};
    const ptrdiff_t last = (n - 1) * x.stride[0] + (width - 1) * x.stride[1];
    if (n * width > 0) {
        x.first = last < 0 ? -last : 0;
        x.bytes = (size_t)(llabs(last) + size);
    }
    return x;
}

char *buffer_of(int slot, size_t bytes, const way *how) {
    const size_t shift = (size_t)how->shift;
    return guarded(slot, bytes + shift, how->at_end) + (how->at_end ? 0 : shift);
}

gkl_pairwise_job job_of(const pairs *x, const way *how, ptrdiff_t *stride) {
    static const ptrdiff_t sizes[] = {[GKL_F16] = 2, [GKL_BF16] = 2, [GKL_F32] = 4, [GKL_F64] = 8};
    const ptrdiff_t d = x->x.d;
    gkl_pairwise_job job = {.metric = x->metric, .order = x->order, .p = x->x.p, .q = x->x.q,
                            .storage = x->x.type, .n = x->n, .m = x->m, .dim = d,
                            .nthreads = how->nthreads, .poll = how->poll};
    EACH(k, 4) {
        const ptrdiff_t rows = k < 2 ? x->n : x->m;
        const view v = view_of(how->in, rows, d, sizes[x->x.type], 0);
        char *data = buffer_of(k, v.bytes, how) + v.first;
        EACH(i, rows) EACH(j, d)
            put(x->x.type, data + i * v.stride[0] + j * v.stride[1], x->x.in[k][i * d + j]);
        stride[k] = v.stride[0];
        job.in[k] = (gkl_array){.data = data, .stride = &stride[k], .step = v.stride[1]};
    }
    return job;
}

gkl_type value_type(const pairs *x) { return x->x.type == GKL_F64 ? GKL_F64 : GKL_F32; }

ptrdiff_t value_size(const pairs *x) { return x->x.type == GKL_F64 ? 8 : 4; }

results measure(const pairs *x, const way *how) {
    const ptrdiff_t size = value_size(x), sides[] = {x->n * x->m, x->n, x->m};
    const view v = view_of(how->out, x->n, x->m, size, how->gap);
    ptrdiff_t stride[4];
    gkl_pairwise_job job = job_of(x, how, stride);
    char *buffer = buffer_of(GKL_MAX_IN, v.bytes, how);
    job.state_p = buffer_of(GKL_MAX_IN + 1, (size_t)x->n, how);
    job.state_q = buffer_of(GKL_MAX_IN + 2, (size_t)x->m, how);
    memset(buffer, CANARY, v.bytes);
    results got = {.code = gkl_pairwise(&job, buffer + v.first, v.stride)};
    EACH(k, 3) {
        got.n[k] = sides[k];
        got.out[k] = malloc((size_t)(sides[k] + 1) * sizeof(double));
    }
    EACH(i, x->n) EACH(j, x->m) {
        char *from = buffer + v.first + i * v.stride[0] + j * v.stride[1];
        got.out[0][i * x->m + j] = get(value_type(x), from);
        memset(from, CANARY, (size_t)size);
    }
    EACH(i, x->n) got.out[1][i] = job.state_p[i];
    EACH(j, x->m) got.out[2][j] = job.state_q[j];
    size_t untouched = 0;
    while (untouched < v.bytes && (unsigned char)buffer[untouched] == CANARY)
        ++untouched;
    check(untouched == v.bytes, "byte %zu between two values was written", untouched);
    return got;
}

void check_way(const pairs *x, const way *how, const results *want, const char *name) {
    char what[100];
    results got = measure(x, how);
    pairs_describe(what, sizeof what, x);
    check(got.code == 0 && same(want, &got), "%s: other bits, %s", what, name);
    results_free(&got);
}

/* ---- values ---- */

pair_reference pairs_reference(const pairs *x, ptrdiff_t i, ptrdiff_t j) {
    const pairs one = pairs_alone(x, i, j);
    return reference_pair(x->x.p, x->x.q, x->x.d, one.x.in, x->order);
}

/* What gkl.h says for equal kinds.  Of others the scale that is converted is off by some eps, which
 * moves a divergence D by eps sqrt(d D), or eps sqrt(tr S_p D); an order above 1 divides by what
 * may be almost 0. */
static long double bound_of(const pairs *x, const pair_reference *r) {
    const int is_f64 = x->x.type == GKL_F64, mixed = x->x.p != x->x.q;
    const long double want = r->value[x->metric], eps = is_f64 ? DBL_EPSILON : FLT_EPSILON;
    const long double worse = x->metric == GKL_RENYI && x->order > 1 ? 1 / fabsl(r->mixed) : 1;
    const long double d = x->metric == GKL_WASSERSTEIN2 ? r->var_p : (long double)x->x.d;
    const long double size = x->metric == GKL_HELLINGER ? 1 : want;
    return (is_f64 ? 1e-13L : 1e-5L) * want + (worse > 1 ? 4 * eps * worse * want : 0)
           + (mixed ? 16 * eps * worse * (sqrtl(d * size) + d * eps) : 0);
}

/* a number that a type can hold, or infinity */
int meets(const pairs *x, const pair_reference *r, double got) {
    const long double want = r->value[x->metric];
    const long double most = x->x.type == GKL_F64 ? DBL_MAX : FLT_MAX;
    const int edge = x->metric == GKL_RENYI && x->order > 1 && fabsl(r->mixed) < 1e-4L;
    if (want > most || isinf(got))
        return edge || (isinf(got) && want > most * (1 - 1e-5L));
    return got >= 0 && (edge || fabsl((long double)got - want) <= bound_of(x, r));
}
