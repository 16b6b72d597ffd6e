/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What of q is near to each p: the k nearest, kept in a heap for each row, or all within a bound.
 */
#include <stdlib.h>

#include "pairwise.h"
#include "plan.h"

/* ---- the k nearest ---- */

/* Each row's heap lies in its part of `value` and `index`: (value, index) of a parent is after
 * those of its children, so that the first is the one to go. */
typedef struct {
    gkl_taker taker;
    int is_f64;
    ptrdiff_t k, self;
    char *value;
    ptrdiff_t *index, *count;
    uint64_t (*less)(const void *value, ptrdiff_t n, double limit);
} gkl_heaps;

enum { TOGETHER = 64 }; /* values that are compared at a time */

#define HEAP(REAL, name)                                                                          \
    static int after_##name(REAL a, ptrdiff_t i, REAL b, ptrdiff_t j) {                           \
        return a > b || (a == b && i > j);                                                        \
    }                                                                                             \
                                                                                                  \
    /* (x, i) to where it belongs at or below `at` in a heap of n */                              \
    static void sink_##name(REAL *value, ptrdiff_t *index, ptrdiff_t n, ptrdiff_t at, REAL x,     \
                            ptrdiff_t i) {                                                        \
        for (ptrdiff_t child; (child = 2 * at + 1) < n; at = child) {                             \
            if (child + 1 < n                                                                     \
                && after_##name(value[child + 1], index[child + 1], value[child], index[child]))  \
                ++child;                                                                          \
            if (!after_##name(value[child], index[child], x, i))                                  \
                break;                                                                            \
            value[at] = value[child];                                                             \
            index[at] = index[child];                                                             \
        }                                                                                         \
        value[at] = x;                                                                            \
        index[at] = i;                                                                            \
    }                                                                                             \
                                                                                                  \
    static void add_##name(REAL *value, ptrdiff_t *index, ptrdiff_t at, REAL x, ptrdiff_t i) {    \
        for (ptrdiff_t parent; at > 0; at = parent) {                                             \
            parent = (at - 1) / 2;                                                                \
            if (!after_##name(x, i, value[parent], index[parent]))                                \
                break;                                                                            \
            value[at] = value[parent];                                                            \
            index[at] = index[parent];                                                            \
        }                                                                                         \
        value[at] = x;                                                                            \
        index[at] = i;                                                                            \
    }                                                                                             \
                                                                                                  \
    static void keep_##name(const gkl_heaps *h, ptrdiff_t row, ptrdiff_t column, ptrdiff_t n,     \
                            const REAL *x) {                                                      \
        REAL *value = (REAL *)h->value + row * h->k;                                              \
        ptrdiff_t *index = h->index + row * h->k, count = h->count[row];                          \
        const ptrdiff_t self = h->self == GKL_NO_SELF ? -1 : row + h->self - column;              \
        ptrdiff_t i = 0;                                                                          \
        for (; i < n && count < h->k; ++i)                                                        \
            if (x[i] == x[i] && i != self)                                                        \
                add_##name(value, index, count++, x[i], column + i);                              \
        h->count[row] = count;                                                                    \
        for (; i < n; i += TOGETHER) { /* most often none of them is less */                      \
            const ptrdiff_t some = n - i < TOGETHER ? n - i : TOGETHER;                           \
            for (uint64_t less = h->less(x + i, some, value[0]); less; less &= less - 1) {        \
                const ptrdiff_t at = i + __builtin_ctzll(less);                                   \
                if (x[at] < value[0] && at != self)                                               \
                    sink_##name(value, index, h->k, 0, x[at], column + at);                       \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    /* the heap of a row in ascending order, and what says that there are no more */              \
    static void sort_##name(const gkl_heaps *h, ptrdiff_t row) {                                  \
        REAL *value = (REAL *)h->value + row * h->k;                                              \
        ptrdiff_t *index = h->index + row * h->k;                                                 \
        for (ptrdiff_t n = h->count[row] - 1; n > 0; --n) {                                       \
            const REAL x = value[n];                                                              \
            const ptrdiff_t i = index[n];                                                         \
            value[n] = value[0];                                                                  \
            index[n] = index[0];                                                                  \
            sink_##name(value, index, n, 0, x, i);                                                \
        }                                                                                         \
        for (ptrdiff_t n = h->count[row]; n < h->k; ++n) {                                        \
            value[n] = (REAL)NAN;                                                                 \
            index[n] = -1;                                                                        \
        }                                                                                         \
    }

HEAP(float, f32)
HEAP(double, f64)

static int keep(gkl_taker *taker, ptrdiff_t row, ptrdiff_t column, ptrdiff_t n, const void *value) {
    const gkl_heaps *h = (const gkl_heaps *)taker;
    if (h->is_f64)
        keep_f64(h, row, column, n, value);
    else
        keep_f32(h, row, column, n, value);
    return 0;
}

/* No values, but the states of both sides, and what is wrong with the job. */
static int none_of(const gkl_pairwise_job *job) {
    gkl_pairwise_job of_p = *job, of_q = *job;
    gkl_taker taker = {.out = NULL};
    of_p.m = gkl_min(job->m, 0);
    of_q.n = gkl_min(job->n, 0);
    const int status = gkl_each_pair(&of_p, &taker);
    return status ? status : gkl_each_pair(&of_q, &taker);
}

int gkl_nearest(const gkl_pairwise_job *job, ptrdiff_t k, ptrdiff_t self, void *value,
                ptrdiff_t *index) {
    const int is_f64 = job->storage == GKL_F64;
    gkl_heaps h = {.taker = {.take = keep}, .is_f64 = is_f64, .k = k, .self = self, .value = value,
                   .index = index, .less = gkl_current()->pairwise_less[is_f64]};
    if (k < 1)
        return k < 0 ? GKL_BAD_ARGUMENT : none_of(job);
    h.count = calloc((size_t)gkl_max(job->n, 1), sizeof *h.count);
    const int status = h.count ? gkl_each_pair(job, &h.taker) : GKL_NO_MEMORY;
    for (ptrdiff_t row = 0; row < job->n && !status; ++row)
        (h.is_f64 ? sort_f64 : sort_f32)(&h, row);
    free(h.count);
    return status;
}

/* ---- all within a bound ---- */

typedef struct {
    ptrdiff_t index;
    double value;
} gkl_neighbor;

typedef struct {
    gkl_neighbor *item;
    ptrdiff_t count, most;
} gkl_list;

typedef struct {
    gkl_taker taker;
    gkl_type type;
    ptrdiff_t self;
    const double *bound;
    gkl_list *lists;
} gkl_lists;

static int append(gkl_list *list, ptrdiff_t index, double value) {
    if (list->count == list->most) {
        const ptrdiff_t most = list->most ? 2 * list->most : 8;
        gkl_neighbor *grown = realloc(list->item, (size_t)most * sizeof *grown);
        if (!grown)
            return GKL_NO_MEMORY;
        list->item = grown;
        list->most = most;
    }
    list->item[list->count++] = (gkl_neighbor){index, value};
    return 0;
}

static int collect(gkl_taker *taker, ptrdiff_t row, ptrdiff_t column, ptrdiff_t n,
                   const void *values) {
    const gkl_lists *x = (const gkl_lists *)taker;
    const ptrdiff_t size = (ptrdiff_t)gkl_size(x->type);
    const ptrdiff_t self = x->self == GKL_NO_SELF ? -1 : row + x->self - column;
    for (ptrdiff_t i = 0; i < n; ++i) {
        const double value = gkl_read(x->type, (const char *)values + i * size);
        if (value <= x->bound[row] && i != self && append(&x->lists[row], column + i, value))
            return GKL_NO_MEMORY;
    }
    return 0;
}

static int join(const gkl_lists *x, ptrdiff_t n, ptrdiff_t *start, ptrdiff_t **index,
                double **value) {
    start[0] = 0;
    for (ptrdiff_t row = 0; row < n; ++row)
        start[row + 1] = start[row] + x->lists[row].count;
    *index = malloc((size_t)gkl_max(start[n], 1) * sizeof **index);
    *value = malloc((size_t)gkl_max(start[n], 1) * sizeof **value);
    if (!*index || !*value)
        return GKL_NO_MEMORY;
    for (ptrdiff_t row = 0; row < n; ++row)
        for (ptrdiff_t i = 0; i < x->lists[row].count; ++i) {
            (*index)[start[row] + i] = x->lists[row].item[i].index;
            (*value)[start[row] + i] = x->lists[row].item[i].value;
        }
    return 0;
}

int gkl_within(const gkl_pairwise_job *job, const double *bound, ptrdiff_t self, ptrdiff_t *start,
               ptrdiff_t **index, double **value) {
    const gkl_type type = job->storage == GKL_F64 ? GKL_F64 : GKL_F32;
    gkl_lists x = {{.take = collect}, type, self, bound, NULL};
    x.lists = calloc((size_t)gkl_max(job->n, 1), sizeof *x.lists);
    *index = NULL;
    *value = NULL;
    int status = x.lists ? gkl_each_pair(job, &x.taker) : GKL_NO_MEMORY;
    if (!status)
        status = join(&x, job->n, start, index, value);
    for (ptrdiff_t row = 0; row < job->n && x.lists; ++row)
        free(x.lists[row].item);
    free(x.lists);
    return status;
}
