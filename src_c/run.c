/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A job from beginning to end: its tasks over the threads, then what they left to be put together.
 */
#include <stdlib.h>

#include "blocks.h"
#include "emit.h"
#include "fp_state.h"
#include "groups.h"

enum { POLL_WORK = 1 << 25 }; /* between two looks at `poll` */

static _Thread_local ptrdiff_t bad_items;

ptrdiff_t *gkl_bad_items(void) { return &bad_items; }

/* sums of one task, written where its parameters' gradients belong */
static void write_sums(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t first, ptrdiff_t length,
                       const double *sum) {
    char *out[GKL_MAX_OUT];
    gkl_out_at(plan, kept, 0, out);
    for (int k = 1; k < GKL_MAX_OUT; ++k) {
        const ptrdiff_t width = gkl_width(plan, k, length);
        const int later = plan->partial && plan->sum_dim[k]; /* write_joined has them */
        for (ptrdiff_t j = 0; j < width && !later; ++j)
            gkl_write(plan->is_f64, out[k] + gkl_place(plan, k, first + j),
                      gkl_sum_of(sum[j], sum[width + j]));
        sum += 2 * width;
    }
}

static void task(void *context, ptrdiff_t index) {
    gkl_plan *plan = context;
    const gkl_fp_state state = gkl_fp_default();
    index += plan->first_task;
    const ptrdiff_t segment = index % plan->segments, rest = index / plan->segments;
    const ptrdiff_t block = rest % plan->blocks, group = rest / plan->blocks;
    const ptrdiff_t first = segment * GKL_SEGMENT, dim = plan->job->dim;
    const ptrdiff_t length = gkl_min(dim - first, GKL_SEGMENT);
    const ptrdiff_t row = block * plan->rows_per_task;
    const ptrdiff_t rows = gkl_min(plan->rows - row, plan->rows_per_task);
    const ptrdiff_t kept = group * plan->kept_per_task;
    const ptrdiff_t kept_end = gkl_min(kept + plan->kept_per_task, plan->kept);
    double *own = NULL;
    if (plan->chunk && !plan->partials && !(own = malloc((size_t)plan->chunk * sizeof *own))) {
        __atomic_store_n(&plan->failed, 1, __ATOMIC_RELAXED);
        gkl_fp_restore(state);
        return;
    }
    ptrdiff_t bad = 0;
    for (ptrdiff_t k = kept; k < kept_end; ++k) {
        double *sums = own;
        if (plan->partials)
            sums = plan->partials
                   + ((k * plan->blocks + block) * plan->segments + segment) * plan->chunk;
        if (sums)
            memset(sums, 0, (size_t)plan->chunk * sizeof *sums);
        const ptrdiff_t found = plan->blas ? gkl_do_items(plan, k, row, rows, sums)
                                : plan->group  ? gkl_do_groups(plan, k, row, rows, sums)
                                            : gkl_do_rows(plan, k, row, rows, first, length, sums);
        if (found < 0)
            __atomic_store_n(&plan->failed, 1, __ATOMIC_RELAXED);
        bad += found;
        if (own)
            write_sums(plan, k, first, length, own);
    }
    free(own);
    if (bad)
        __atomic_fetch_add(&plan->bad, bad, __ATOMIC_RELAXED);
#if defined(__x86_64__)
    if (plan->stream)
        _mm_sfence();
#endif
    gkl_fp_restore(state);
}

/* the gradient sums of several blocks, block by block */
static void join_blocks(gkl_plan *plan) {
    for (ptrdiff_t k = 0; k < plan->kept; ++k)
        for (ptrdiff_t segment = 0; segment < plan->segments; ++segment) {
            const ptrdiff_t first = segment * GKL_SEGMENT;
            const ptrdiff_t length = gkl_min(plan->job->dim - first, GKL_SEGMENT);
            double *sum = NULL;
            for (ptrdiff_t block = 0; block < plan->blocks; ++block) {
                double *x = plan->partials
                            + ((k * plan->blocks + block) * plan->segments + segment) * plan->chunk;
                if (block == 0) {
                    sum = x;
                    continue;
                }
                double *s = sum;
                for (int out = 1; out < GKL_MAX_OUT; ++out) {
                    const ptrdiff_t width = gkl_width(plan, out, length);
                    for (ptrdiff_t j = 0; j < width; ++j) {
                        s[width + j] += x[width + j];
                        gkl_two_sum(&s[j], &s[width + j], x[j]);
                    }
                    s += 2 * width;
                    x += 2 * width;
                }
            }
            write_sums(plan, k, first, length, sum);
        }
}

/* after the rows of one of kept: the gradients that are summed along d, too; NaN after a bad row */
static void write_joined(const gkl_plan *plan, ptrdiff_t kept, const double *sums, int bad) {
    char *out[GKL_MAX_OUT];
    gkl_out_at(plan, kept, 0, out);
    for (int k = 1; k < GKL_MAX_OUT; ++k) {
        if (!plan->sum_batch[k])
            continue;
        if (plan->sum_dim[k]) {
            gkl_write(plan->is_f64, out[k], gkl_sum_of(sums[0], sums[1]));
            sums += 2;
        } else if (bad) {
            for (ptrdiff_t j = 0; j < gkl_width(plan, k, plan->job->dim); ++j)
                gkl_write(plan->is_f64, out[k] + j * plan->job->out[k].step, (double)NAN);
        }
    }
}

/* the totals of rows that were summed in several segments */
static void join_segments(gkl_plan *plan) {
    for (ptrdiff_t k = 0; k < plan->kept; ++k) {
        double sums[2 * GKL_MAX_OUT] = {0};
        int bad = 0;
        for (ptrdiff_t row = 0; row < plan->rows; ++row) {
            const double *x = plan->partial
                              + (k * plan->rows + row) * plan->segments * plan->nsums;
            double total[GKL_MAX_SUMS];
            for (int t = 0; t < plan->nsums; ++t) {
                double sum = 0, rest = 0;
                for (ptrdiff_t segment = 0; segment < plan->segments; ++segment)
                    gkl_two_sum(&sum, &rest, x[segment * plan->nsums + t]);
                total[t] = gkl_sum_of(sum, rest);
            }
            bad += gkl_emit_row(plan, k, row, total, plan->job->nsum ? sums : NULL);
        }
        if (plan->job->nsum)
            write_joined(plan, k, sums, bad);
        plan->bad += bad;
    }
}

/* tasks in portions, so that an interrupt is seen in time */
static int do_tasks(gkl_plan *plan, int nthreads) {
    const ptrdiff_t items = gkl_max(plan->rows_per_task * plan->kept_per_task, 1);
    const ptrdiff_t portion = gkl_max(POLL_WORK / items / plan->work * plan->segments, nthreads);
    for (plan->first_task = 0; plan->first_task < plan->tasks; plan->first_task += portion) {
        gkl_parallel(gkl_min(portion, plan->tasks - plan->first_task), nthreads, task, plan);
        if (plan->failed)
            return GKL_NO_MEMORY;
        const int stop = gkl_stop(plan->job->poll);
        if (stop)
            return stop;
    }
    return 0;
}

static int run(gkl_plan *plan) {
    const ptrdiff_t cells = plan->kept * plan->rows;
    const int large = cells > GKL_GRAIN / plan->work;
    const int nthreads = plan->job->nthreads > 0 ? plan->job->nthreads : gkl_threads();
    if (plan->segments > 1) {
        plan->partial = malloc((size_t)(cells * plan->segments * plan->nsums + 1) * sizeof(double));
        if (!plan->partial)
            return GKL_NO_MEMORY;
    }
    if (plan->chunk && plan->blocks > 1) {
        plan->partials = malloc((size_t)(plan->kept * plan->blocks * plan->segments * plan->chunk)
                                * sizeof(double));
        if (!plan->partials)
            return GKL_NO_MEMORY;
    }
    if (plan->blas && plan->tasks < nthreads) /* threads within the items */
        plan->inner_threads = nthreads;
    const int status = do_tasks(plan, large && plan->inner_threads == 1 ? nthreads : 1);
    if (status == 0 && plan->partials)
        join_blocks(plan);
    if (status == 0 && plan->partial)
        join_segments(plan);
    return status;
}

/* what can be seen without a look at operands */
static int check(const gkl_job *job) {
    if ((unsigned)job->p >= GKL_KINDS || (unsigned)job->q >= GKL_KINDS || job->p == GKL_UNIT
        || (unsigned)job->output >= GKL_OUTPUTS || (unsigned)job->storage > GKL_F64)
        return GKL_NO_KERNEL;
    if (job->output == GKL_ENTROPY && job->q != GKL_UNIT)
        return GKL_NO_KERNEL;
    if (job->ndim < 0 || job->ndim > GKL_MAX_DIMS || job->nsum < 0 || job->nsum > job->ndim
        || job->dim < 0 || job->rank_p < 0 || job->rank_q < 0
        || ((job->index[0] || job->index[1]) && job->ndim != 1))
        return GKL_BAD_ARGUMENT;
    for (int axis = 0; axis < job->ndim; ++axis)
        if (job->shape[axis] < 0)
            return GKL_BAD_ARGUMENT;
    return 0;
}

int gkl_run(const gkl_job *given) {
    gkl_plan plan;
    gkl_job job;
    void *factors[2] = {NULL, NULL};
    int status = check(given);
    bad_items = 0;
    if (status)
        return status;
    if (given->p > GKL_UNIT || given->q > GKL_UNIT) {
        job = *given;
        status = gkl_share_factors(&job, factors);
        given = &job;
    }
    const gkl_fp_state state = gkl_fp_default();
    gkl_make_plan(&plan, given);
    if (status == 0)
        status = plan.elementwise || plan.group ? run(&plan) : GKL_NO_KERNEL;
    free(plan.partial);
    free(plan.partials);
    free(factors[0]);
    free(factors[1]);
    bad_items = plan.bad;
    gkl_fp_restore(state);
    return status;
}
