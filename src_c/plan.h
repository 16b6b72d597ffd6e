/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a job is cut.  Everything here depends on shapes and strides alone, never on the number of
 * threads, so that results do not either.
 *
 *     batch axes      kept x rows: gradients are summed over `rows` when the job says so,
 *                     otherwise kept is 1
 *     task            (group of kept, block of rows, segment of d)
 *     row layout      blocks of whole rows, or pieces of one long row; element j next to j + 1
 *     column layout   blocks of GKL_COLUMN_ROWS rows, one j after another: for inputs in which
 *                     row i lies next to row i + 1
 */
#ifndef GKL_PLAN_H
#define GKL_PLAN_H

#include "blas.h"
#include "internal.h"

enum { GKL_MAX_SUMS = GKL_MAX_TERMS + GKL_MAX_GRAD };

typedef struct {
    int term;      /* which total of a row */
    int out;       /* goes where */
    double factor; /* times this */
} gkl_emit;

typedef struct {
    const gkl_job *job;
    const gkl_table *table;
    gkl_elementwise *elementwise; /* of diagonal Gaussians, or */
    gkl_group_kernel *group;      /* of the others, items side by side */
    int is_full;                  /* panels, with tiles of this size, not the low-rank kernel */
    const gkl_blas *blas;         /* nor that, but one item at a time by this */
    int inner_threads;            /* of which each has these */
    ptrdiff_t tile;
    ptrdiff_t work;               /* about how much an item is */
    int is_f64;     /* what is computed in, and the type of the outputs */
    ptrdiff_t size; /* its bytes */
    int nterms;     /* what the kernel writes */
    int nsums;      /* and the gradients that are summed along d, as further terms */
    int emits;
    gkl_emit emit[GKL_MAX_SUMS];
    int sum_dim[GKL_MAX_OUT];   /* is summed along d: the term of this gradient, or 0 */
    int sum_batch[GKL_MAX_OUT]; /* is summed over the rows */
    ptrdiff_t columns[GKL_MAX_OUT]; /* numbers of this gradient for each of d */
    int column, stream;

    /* batch axes, merged where all strides allow it; the first nkept are not summed over */
    int nkept, ndim;
    ptrdiff_t shape[GKL_MAX_DIMS];
    ptrdiff_t in[GKL_MAX_IN][GKL_MAX_DIMS], out[GKL_MAX_OUT][GKL_MAX_DIMS];

    ptrdiff_t kept, rows, segments;
    ptrdiff_t kept_per_task, rows_per_task, blocks;
    ptrdiff_t tasks, first_task;
    ptrdiff_t chunk;  /* doubles of one task's gradient sums */
    double *partial;  /* row totals by segment, when there are several */
    double *partials; /* gradient sums by task, when there are several for one of kept */
    ptrdiff_t bad;
    int failed;
} gkl_plan;

void gkl_make_plan(gkl_plan *plan, const gkl_job *job);

static inline int gkl_wants(const gkl_plan *plan, int out) {
    return plan->job->out[out].data != NULL;
}

/* which item of its Gaussians an operand has in this row, when the job gathers them */
static inline ptrdiff_t gkl_item_of(const gkl_job *job, int operand, ptrdiff_t row) {
    const int is_q = operand == 2 || operand == 3 || operand == GKL_FACTOR_Q;
    const ptrdiff_t *index = operand == GKL_WEIGHT ? NULL : job->index[is_q];
    return index ? index[row] : row;
}

static inline int gkl_gathers(const gkl_job *job) { return job->index[0] || job->index[1]; }

static inline ptrdiff_t gkl_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static inline ptrdiff_t gkl_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

static inline ptrdiff_t gkl_ceil(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* elements of gradient `out` along `length` of d */
static inline ptrdiff_t gkl_extent(const gkl_plan *plan, int out, ptrdiff_t length) {
    return !gkl_wants(plan, out) ? 0 : plan->sum_dim[out] ? 1 : length * plan->columns[out];
}

/* where element j of these is, in bytes from the gradient's first */
static inline ptrdiff_t gkl_place(const gkl_plan *plan, int out, ptrdiff_t j) {
    const gkl_array *x = &plan->job->out[out];
    return plan->sum_dim[out]
               ? 0
               : j / plan->columns[out] * x->step + j % plan->columns[out] * x->across;
}

/* The sums of a task, for a segment of this length, are those of one gradient after another: this
 * many sums, then their rests. */
static inline ptrdiff_t gkl_width(const gkl_plan *plan, int out, ptrdiff_t length) {
    return plan->sum_batch[out] ? gkl_extent(plan, out, length) : 0;
}

#endif
