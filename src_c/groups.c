/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups: as many items as a vector has lanes are packed, one a lane, go through one call of their
 * kernel, and are unpacked.  The last group of a run is filled up with its first item.
 */
#include "groups.h"

#include <stdlib.h>

#include "emit.h"
#include "large.h"
#include "packing.h"

void gkl_plan_groups(gkl_plan *plan) {
    const gkl_job *job = plan->job;
    const int single = job->output == GKL_ENTROPY || job->output == GKL_FACTOR;
    const int full = gkl_has_matrix(job->p) || (!single && gkl_has_matrix(job->q));
    const double d = (double)gkl_max(job->dim, 1);
    const double rank = (double)(job->rank_p + job->rank_q);
    if (job->output == GKL_PER_DIM || (job->output == GKL_FACTOR && !full))
        return;
    plan->is_full = full;
    plan->tile = plan->table->tile;
    plan->group = (full ? plan->table->full : plan->table->low_rank)[plan->is_f64];
    const double work = full ? d * d * (d + 4) : d * (rank + 2) * (rank + 2);
    plan->work = work < 0x1p40 ? (ptrdiff_t)work : (ptrdiff_t)1 << 40;
}

/* Which factor of p's or q's matrix would be of use to more than one item, and is not there: its
 * own, or that of the covariance of a precision, which then need not be one any more unless its
 * gradient is wanted? */
typedef enum { NONE, OWN, OF_INVERSE } factor_of;

static factor_of lacks(const gkl_job *job, int is_q) {
    const gkl_array *x = &job->in[is_q ? 3 : 1];
    const gkl_kind kind = is_q ? job->q : job->p, other = is_q ? job->p : job->q;
    const int given = job->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P].data != NULL;
    ptrdiff_t items = 1;
    int shared = x->data != NULL;
    for (int axis = 0; axis < job->ndim && shared; ++axis) {
        items *= job->shape[axis];
        shared = x->stride[axis] == 0 || job->shape[axis] == 1;
    }
    if (!shared || job->dim < 2 || items <= (gkl_prefers_large(job, 1) ? 1 : GKL_MOST_LANES))
        return NONE;
    if (kind == GKL_COV || (kind == GKL_PRECISION && other == GKL_PRECISION))
        return given ? NONE : OWN;
    const int differentiated = job->output == GKL_GRAD && job->out[is_q ? 4 : 2].data;
    return kind == GKL_PRECISION && job->storage >= GKL_F32 && !differentiated ? OF_INVERSE : NONE;
}

int gkl_share_factors(gkl_job *job, void *memory[2]) {
    static const ptrdiff_t none[GKL_MAX_DIMS];
    const int is_f64 = job->storage == GKL_F64;
    const ptrdiff_t d = job->dim, size = is_f64 ? sizeof(double) : sizeof(float);
    if (job->output == GKL_ENTROPY || job->output == GKL_FACTOR || job->output == GKL_PER_DIM)
        return 0;
    for (int is_q = 0; is_q < 2; ++is_q) {
        const factor_of what = lacks(job, is_q);
        if (what == NONE)
            continue;
        memory[is_q] = malloc((size_t)(d * d * size));
        if (!memory[is_q])
            return GKL_NO_MEMORY;
        const gkl_array factor = {
            .data = memory[is_q], .stride = none, .step = d * size, .across = size};
        gkl_job own = {.p = is_q ? job->q : job->p, .q = what == OWN ? GKL_UNIT : GKL_TRIL,
                       .output = GKL_FACTOR, .storage = job->storage, .shape = none, .dim = d,
                       .nthreads = job->nthreads, .poll = job->poll};
        own.in[1] = job->in[is_q ? 3 : 1];
        own.out[0] = factor;
        const int status = gkl_run(&own);
        if (status)
            return status;
        if (what == OF_INVERSE) {
            *(is_q ? &job->q : &job->p) = GKL_TRIL;
            job->in[is_q ? 3 : 1] = factor;
        }
        job->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P] =
            what == OWN ? factor : (gkl_array){.data = NULL};
    }
    return 0;
}

/* Is there something that is not finite among what is read of this lane's operands? */
static int is_finite(const gkl_batch *b, ptrdiff_t lane) {
    const gkl_job *job = b->plan->job;
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        const gkl_array *x = &job->in[k];
        for (ptrdiff_t i = 0; b->in[k][lane] && k != GKL_WEIGHT && i < job->dim; ++i) {
            const ptrdiff_t columns = gkl_is_matrix(job, k) ? i + 1 : gkl_columns(job, k);
            for (ptrdiff_t j = 0; j < columns; ++j)
                if (!(fabs(gkl_read(gkl_type_of(b->plan, k),
                                    b->in[k][lane] + i * x->step + j * x->across))
                      <= DBL_MAX))
                    return 0;
        }
    }
    return 1;
}

/* Items without a divergence: NaN in all that they give.  What is not finite may have come into the
 * parts of the operands that are set once, too. */
static ptrdiff_t judge(gkl_batch *b) {
    const gkl_plan *plan = b->plan;
    const int place = plan->job->output == GKL_TERMS ? 3 : 0;
    const gkl_type type = plan->is_f64 ? GKL_F64 : GKL_F32;
    const ptrdiff_t vector = b->lanes * plan->size;
    ptrdiff_t bad = 0;
    int finite = 1;
    for (ptrdiff_t lane = 0; lane < b->count; ++lane) {
        const char *at = (const char *)b->group.out[place] + lane * plan->size;
        const double value = gkl_read(type, at);
        if (fabs(value) <= DBL_MAX)
            continue;
        finite = 0;
        if (isinf(value) && is_finite(b, lane))
            continue;
        ++bad;
        if (b->group.in[GKL_WEIGHT]) /* which no weight may make 0 */
            gkl_write(plan->is_f64, (char *)b->group.in[GKL_WEIGHT] + lane * plan->size, 1);
        for (int k = 0; k < GKL_MAX_OUT; ++k) {
            char *x = b->group.out[k];
            for (ptrdiff_t i = 0; x && i < gkl_packed_output(plan, k); ++i)
                gkl_write(plan->is_f64, x + i * vector + lane * plan->size, (double)NAN);
        }
    }
    b->fresh = !finite;
    for (int i = 0; i < b->ninputs && !finite; ++i)
        if (gkl_is_matrix(plan->job, b->inputs[i]))
            gkl_prepare_matrix(b, b->group.in[b->inputs[i]], gkl_packed_size(plan, b->inputs[i]));
    return bad;
}

/* the run along the innermost axis that this row is in */
static void find_run(gkl_batch *b, ptrdiff_t kept, ptrdiff_t row) {
    const gkl_plan *plan = b->plan;
    const ptrdiff_t length = plan->shape[plan->ndim - 1];
    b->run = row;
    b->run_end = row + length - row % length;
    gkl_in_at(plan, kept, row, b->first_in);
    gkl_out_at(plan, kept, row, b->first_out);
}

/* where the operands of lanes [lane, end) are, which hold rows of this run from `row` on */
static void find_lanes(gkl_batch *b, ptrdiff_t row, ptrdiff_t lane, ptrdiff_t end) {
    const gkl_plan *plan = b->plan;
    const int inner = plan->ndim - 1, gathers = gkl_gathers(plan->job);
    for (int i = 0; i < b->ninputs && !gathers; ++i) {
        const int k = b->inputs[i];
        const ptrdiff_t stride = plan->in[k][inner];
        const char *at = b->first_in[k] + (row - b->run) * stride;
        for (ptrdiff_t l = lane; l < end; ++l, at += stride)
            b->in[k][l] = at;
    }
    for (ptrdiff_t l = lane; l < end && gathers; ++l) {
        const char *in[GKL_MAX_IN];
        gkl_in_at(plan, 0, row + l - lane, in);
        for (int i = 0; i < b->ninputs; ++i)
            b->in[b->inputs[i]][l] = in[b->inputs[i]];
    }
    for (int i = 0; i < b->noutputs; ++i) {
        const int k = b->outputs[i];
        const ptrdiff_t stride = plan->out[k][inner];
        char *at = b->first_out[k] + (row - b->run) * stride;
        for (ptrdiff_t l = lane; l < end; ++l, at += stride)
            b->out[k][l] = at;
    }
}

/* a group from this row on, which may go over the ends of runs, or be filled up */
static void find_group(gkl_batch *b, ptrdiff_t kept, ptrdiff_t row) {
    for (ptrdiff_t lane = 0; lane < b->count;) {
        if (row + lane >= b->run_end)
            find_run(b, kept, row + lane);
        const ptrdiff_t end = gkl_min(b->count, b->run_end - row);
        find_lanes(b, row + lane, lane, end);
        lane = end;
    }
    for (ptrdiff_t lane = b->count; lane < b->lanes; ++lane)
        for (int i = 0; i < b->ninputs; ++i)
            b->in[b->inputs[i]][lane] = b->in[b->inputs[i]][0];
}

/* the workspace of a task: vectors for the operands and outputs, and the kernel's own */
static char *allocate(gkl_batch *b) {
    const gkl_plan *plan = b->plan;
    const gkl_job *job = plan->job;
    const ptrdiff_t d = job->dim, rank = gkl_max(job->rank_p, job->rank_q);
    const ptrdiff_t vector = b->lanes * plan->size;
    ptrdiff_t total = 0, size_in[GKL_MAX_IN] = {0}, size_out[GKL_MAX_OUT] = {0};
    b->ninputs = b->noutputs = 0;
    for (int k = 0; k < GKL_MAX_IN; ++k)
        if (job->in[k].data) {
            b->inputs[b->ninputs++] = k;
            total += size_in[k] = gkl_packed_size(plan, k);
        }
    for (int k = 0; k < GKL_MAX_OUT; ++k) {
        const int always = job->output == GKL_TERMS ? k == 3 : k == 0;
        if (job->out[k].data)
            b->outputs[b->noutputs++] = k;
        else if (!always)
            continue;
        total += size_out[k] = gkl_packed_output(plan, k);
    }
    b->row_length = gkl_ceil(gkl_max(gkl_max(d, rank), 1), b->lanes) * b->lanes;
    const ptrdiff_t flat = gkl_max(d, 1);
    total += flat + b->row_length; /* rows: lanes x row_length numbers */
    b->group = (gkl_group){.p = job->p, .q = job->q, .output = job->output, .dim = d,
                           .rank_p = job->rank_p, .rank_q = job->rank_q};
    total += (plan->is_full ? plan->table->full_work
                            : plan->table->low_rank_work)[plan->is_f64](&b->group);
    char *memory = malloc((size_t)(total * vector) + ALIGNMENT);
    if (!memory)
        return NULL;
    char *at = memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT);
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        b->group.in[k] = job->in[k].data ? at : NULL;
        if (size_in[k] && gkl_is_matrix(job, k))
            gkl_prepare_matrix(b, at, size_in[k]);
        at += size_in[k] * vector;
    }
    for (int k = 0; k < GKL_MAX_OUT; ++k) {
        b->group.out[k] = size_out[k] ? at : NULL;
        at += size_out[k] * vector;
    }
    b->flat = at;
    b->rows = b->flat + flat * vector;
    b->group.work = b->rows + b->row_length * vector;
    return memory;
}

/* Is an operand the same for all items, and left as it is by the kernel?  B is when its factor is
 * given, but for a precision that is inverted in its place. */
static int stays(const gkl_plan *plan, int operand) {
    const gkl_job *job = plan->job;
    const int is_q = operand == 3;
    const int inverted = job->p == GKL_PRECISION && job->q == GKL_PRECISION;
    const int converted = !inverted && (is_q ? job->q : job->p) == GKL_PRECISION;
    for (int axis = 0; axis < plan->ndim; ++axis)
        if (plan->in[operand][axis] != 0)
            return 0;
    return operand >= GKL_WEIGHT || !gkl_is_matrix(job, operand)
           || (is_q != inverted && !converted && job->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P].data);
}

ptrdiff_t gkl_do_groups(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, ptrdiff_t rows,
                        double *sums) {
    gkl_batch b = {.plan = plan, .lanes = plan->table->lanes[plan->is_f64], .fresh = 1};
    const ptrdiff_t end = row + rows;
    char *memory = allocate(&b);
    if (!memory)
        return -1;
    ptrdiff_t bad = 0;
    for (; row < end; row += b.count) {
        double *sum = sums;
        b.count = gkl_min(b.lanes, end - row);
        find_group(&b, kept, row);
        for (int i = 0; i < b.ninputs; ++i)
            if (b.fresh || !stays(plan, b.inputs[i]))
                gkl_pack(&b, b.inputs[i]);
        b.fresh = 0;
        plan->group(&b.group);
        bad += judge(&b);
        for (int k = 0; k < GKL_MAX_OUT; ++k) {
            if (gkl_wants(plan, k))
                gkl_unpack(&b, k, sum);
            if (sum)
                sum += 2 * gkl_width(plan, k, plan->job->dim);
        }
    }
    free(memory);
    return bad;
}
