/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a job to its plan.
 */
#include "plan.h"
#include "groups.h"
#include "large.h"

enum {
    TASK = 1 << 15,              /* elements of a task, about */
    SUM_TASK = 1 << 16,          /* the same when a task ends with sums to be put together */
    GROUP_TASK = 1 << 20,        /* work of a task of groups, and groups that it has at most */
    MOST_GROUPS = 64,
    MOST_SUMS = 64,              /* sums that are put together, */
    MOST_MATRIX_SUMS = 16,       /* each as large as one of the gradients themselves */
    STREAM_BYTES = 16 * (1 << 20) /* gradients beyond this size pass the cache by */
};

/* Append an axis; merge it into the last one of its group when every operand's strides allow. */
static void add_axis(gkl_plan *plan, int axis, int first_of_group) {
    const gkl_job *job = plan->job;
    const ptrdiff_t n = job->shape[axis];
    const int last = plan->ndim - 1;
    int merge = plan->ndim > first_of_group;
    if (n == 1 && !gkl_gathers(job))
        return;
    for (int k = 0; k < GKL_MAX_IN && merge; ++k)
        merge = !job->in[k].data || plan->in[k][last] == job->in[k].stride[axis] * n;
    for (int k = 0; k < GKL_MAX_OUT && merge; ++k)
        merge = !job->out[k].data || plan->out[k][last] == job->out[k].stride[axis] * n;
    const int at = merge ? last : plan->ndim++;
    plan->shape[at] = merge ? plan->shape[at] * n : n;
    for (int k = 0; k < GKL_MAX_IN; ++k)
        plan->in[k][at] = job->in[k].data ? job->in[k].stride[axis] : 0;
    for (int k = 0; k < GKL_MAX_OUT; ++k)
        plan->out[k][at] = job->out[k].data ? job->out[k].stride[axis] : 0;
}

static void plan_axes(gkl_plan *plan) {
    const gkl_job *job = plan->job;
    const int kept = job->nsum ? job->ndim - job->nsum : 0;
    plan->ndim = 0;
    for (int axis = 0; axis < kept; ++axis)
        add_axis(plan, axis, 0);
    plan->nkept = plan->ndim;
    for (int axis = kept; axis < job->ndim; ++axis)
        add_axis(plan, axis, plan->nkept);
    if (plan->ndim == plan->nkept) { /* always an axis of rows, the innermost */
        plan->shape[plan->ndim] = 1;
        for (int k = 0; k < GKL_MAX_IN; ++k)
            plan->in[k][plan->ndim] = 0;
        for (int k = 0; k < GKL_MAX_OUT; ++k)
            plan->out[k][plan->ndim] = 0;
        ++plan->ndim;
    }
    plan->kept = plan->rows = 1;
    for (int axis = 0; axis < plan->ndim; ++axis)
        *(axis < plan->nkept ? &plan->kept : &plan->rows) *= plan->shape[axis];
}

static void add_emit(gkl_plan *plan, int term, int out, double factor) {
    if (gkl_wants(plan, out))
        plan->emit[plan->emits++] = (gkl_emit){term, out, factor};
}

static void plan_sums(gkl_plan *plan) {
    const gkl_job *job = plan->job;
    plan->emits = 0;
    plan->nterms = job->output == GKL_TERMS ? GKL_MAX_TERMS : 1;
    plan->nsums = plan->nterms;
    memset(plan->sum_dim, 0, sizeof plan->sum_dim);
    memset(plan->sum_batch, 0, sizeof plan->sum_batch);
    for (int k = 0; k < GKL_MAX_OUT; ++k)
        plan->columns[k] =
            job->output == GKL_GRAD && k > 0 ? gkl_columns(job, gkl_operand_of(k)) : 1;
    if (job->output == GKL_TERMS) { /* the kernel's terms: kl, m/2, ratio, -log ratio, cov part */
        add_emit(plan, 1, 0, 2);
        add_emit(plan, 2, 1, 1);
        add_emit(plan, 3, 2, 1);
        add_emit(plan, 0, 3, 1);
        add_emit(plan, 1, 4, 1);
        add_emit(plan, 4, 5, 1);
    } else if (job->output != GKL_PER_DIM) {
        add_emit(plan, 0, 0, 1);
    }
    if (job->output != GKL_GRAD)
        return;
    for (int k = 1; k < GKL_MAX_OUT; ++k) {
        if (!gkl_wants(plan, k))
            continue;
        plan->sum_batch[k] = job->nsum > 0;
        for (int axis = job->ndim - job->nsum; axis < job->ndim; ++axis)
            plan->sum_batch[k] &= job->out[k].stride[axis] == 0;
        if (job->out[k].step == 0 && job->dim > 1 && plan->columns[k] == 1) {
            plan->sum_dim[k] = plan->nsums++;
            if (!plan->sum_batch[k])
                add_emit(plan, plan->sum_dim[k], k, 1);
        }
    }
}

/* the layout in which more of the inputs can be read as they lie */
static int prefer_columns(const gkl_plan *plan) {
    const gkl_job *job = plan->job;
    const int inner = plan->ndim - 1;
    const ptrdiff_t size = (ptrdiff_t)gkl_size(job->storage);
    int rows = 0, columns = 0;
    if (job->dim < 2 || plan->shape[inner] < 2 || job->nsum || plan->nsums > 1
        || gkl_gathers(job))
        return 0;
    for (int k = 0; k < 4; ++k)
        if (job->in[k].data) {
            rows += job->in[k].step == size;
            columns += plan->in[k][inner] == size && job->in[k].step != size;
        }
    return columns > rows || (columns == rows && columns > 0 && plan->shape[inner] > job->dim);
}

static int prefer_stream(const gkl_plan *plan) {
    const gkl_job *job = plan->job;
    ptrdiff_t outputs = 0;
    for (int k = 1; k < GKL_MAX_GRAD; ++k)
        outputs += job->output == GKL_GRAD && gkl_wants(plan, k) && !plan->sum_dim[k]
                   && !plan->sum_batch[k];
    const ptrdiff_t bytes = outputs * plan->size; /* of one number: compare without overflow */
    return bytes > 0 && plan->kept * plan->rows > STREAM_BYTES / bytes / gkl_max(job->dim, 1);
}

void gkl_make_plan(gkl_plan *plan, const gkl_job *job) {
    plan->job = job;
    plan->table = gkl_current();
    plan->is_f64 = job->storage == GKL_F64;
    plan->size = plan->is_f64 ? sizeof(double) : sizeof(float);
    plan->elementwise = NULL;
    plan->group = NULL;
    plan->is_full = 0;
    plan->work = gkl_max(job->dim, 1);
    if (job->p <= GKL_UNIT && job->q <= GKL_UNIT)
        plan->elementwise = plan->table->diag[plan->is_f64][job->p][job->q][job->output];
    else
        gkl_plan_groups(plan);
    plan->partial = plan->partials = NULL;
    plan->bad = 0;
    plan->failed = 0;
    plan_axes(plan);
    plan_sums(plan);
    plan->blas = plan->is_full ? gkl_prefers_large(job, plan->kept * plan->rows) : NULL;
    plan->inner_threads = 1;
    plan->column = !plan->group && prefer_columns(plan);
    plan->stream = !plan->group && prefer_stream(plan);

    const ptrdiff_t dim = gkl_max(job->dim, 1);
    const ptrdiff_t length = plan->group ? dim : gkl_min(dim, GKL_SEGMENT);
    const ptrdiff_t size = plan->group ? plan->work : length;
    const ptrdiff_t all_sums = plan->group ? MOST_MATRIX_SUMS : MOST_SUMS;
    const ptrdiff_t most_sums = gkl_max(all_sums / gkl_max(plan->kept, 1), 1);
    plan->segments = plan->group ? 1 : gkl_ceil(dim, GKL_SEGMENT);
    plan->kept_per_task = 1;
    plan->chunk = 0;
    if (job->nsum) {
        const ptrdiff_t least = plan->blas ? 1 : gkl_max(SUM_TASK / size, GKL_SUM_LANES * 4);
        plan->rows_per_task = gkl_max(least, gkl_ceil(plan->rows, most_sums));
        if (plan->rows <= plan->rows_per_task)
            plan->kept_per_task = gkl_max(SUM_TASK / size / gkl_max(plan->rows, 1), 1);
        for (int k = 1; k < GKL_MAX_OUT; ++k)
            plan->chunk += 2 * gkl_width(plan, k, length);
    } else {
        const ptrdiff_t lanes = plan->table->lanes[plan->is_f64];
        const ptrdiff_t unit = plan->column                 ? GKL_COLUMN_ROWS
                               : plan->group && !plan->blas ? lanes
                                                            : 1;
        const ptrdiff_t units = plan->group ? gkl_min(GROUP_TASK / size / unit, MOST_GROUPS)
                                            : TASK / size / unit;
        plan->rows_per_task = gkl_max(units, 1) * unit;
    }
    plan->blocks = gkl_ceil(plan->rows, plan->rows_per_task);
    plan->tasks = gkl_ceil(plan->kept, plan->kept_per_task) * plan->blocks * plan->segments;
}
