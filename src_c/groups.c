/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups: as many items as a vector has lanes are packed, one a lane, go through one call of their
 * kernel, and are unpacked.  The last group of a run is filled up with its first item.
 */
#include "groups.h"

#include <stdlib.h>

#include "emit.h"

enum { MOST_LANES = GKL_PAD, ALIGNMENT = 64, FLAT = 16 /* d of matrices that are packed whole */ };

/* One task's group and what it is made of. */
typedef struct {
    const gkl_plan *plan;
    gkl_group group;
    ptrdiff_t lanes, count; /* of which hold items of their own */
    int inputs[GKL_MAX_IN], ninputs, outputs[GKL_MAX_OUT], noutputs; /* those that there are */
    const char *in[GKL_MAX_IN][MOST_LANES];
    char *out[GKL_MAX_OUT][MOST_LANES];
    const char *first_in[GKL_MAX_IN]; /* of the run along the innermost axis, */
    char *first_out[GKL_MAX_OUT];
    ptrdiff_t run, run_end;           /* from this row to that */
    char *flat;                       /* vectors: a row of a gradient */
    char *rows;                       /* a row of each lane as contiguous numbers */
    ptrdiff_t row_length;
    int place[FLAT * FLAT]; /* where in panels the elements of a small matrix go */
} gkl_batch;

static int is_matrix(const gkl_job *job, int operand) {
    const gkl_kind kind = operand == 1 || operand == GKL_FACTOR_P ? job->p : job->q;
    return (operand == 1 || operand == 3 || operand >= GKL_FACTOR_P) && kind >= GKL_COV
           && kind <= GKL_PRECISION;
}

ptrdiff_t gkl_columns(const gkl_job *job, int operand) {
    if (is_matrix(job, operand))
        return job->dim;
    return operand == GKL_FACTOR_P ? job->rank_p : operand == GKL_FACTOR_Q ? job->rank_q : 1;
}

static int is_full(gkl_kind kind) { return kind >= GKL_COV && kind <= GKL_PRECISION; }

void gkl_plan_groups(gkl_plan *plan) {
    const gkl_job *job = plan->job;
    const int single = job->output == GKL_ENTROPY || job->output == GKL_FACTOR;
    const int full = is_full(job->p) || (!single && is_full(job->q));
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

/* Would the factor of p's or q's matrix be of use to more than one item, and is it not there? */
static int shares_factor(const gkl_job *job, int is_q) {
    const gkl_array *x = &job->in[is_q ? 3 : 1];
    const gkl_kind kind = is_q ? job->q : job->p, other = is_q ? job->p : job->q;
    ptrdiff_t items = 1;
    int shared = 1;
    if (!x->data || job->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P].data)
        return 0;
    for (int axis = 0; axis < job->ndim; ++axis) {
        items *= job->shape[axis];
        shared &= x->stride[axis] == 0 || job->shape[axis] == 1;
    }
    return shared && items > MOST_LANES && job->dim > 1
           && (kind == GKL_COV || (kind == GKL_PRECISION && other == GKL_PRECISION));
}

int gkl_share_factors(gkl_job *job, void *memory[2]) {
    static const ptrdiff_t none[GKL_MAX_DIMS];
    const int is_f64 = job->storage == GKL_F64;
    const ptrdiff_t d = job->dim, size = is_f64 ? sizeof(double) : sizeof(float);
    if (job->output == GKL_ENTROPY || job->output == GKL_FACTOR || job->output == GKL_PER_DIM)
        return 0;
    for (int is_q = 0; is_q < 2; ++is_q) {
        if (!shares_factor(job, is_q))
            continue;
        memory[is_q] = malloc((size_t)(d * d * size));
        if (!memory[is_q])
            return GKL_NO_MEMORY;
        const gkl_array factor = {.data = memory[is_q], .stride = none, .step = d * size, .across = size};
        gkl_job own = {.p = is_q ? job->q : job->p, .q = GKL_UNIT, .output = GKL_FACTOR,
                       .storage = job->storage, .shape = none, .dim = d, .nthreads = job->nthreads,
                       .poll = job->poll};
        own.in[1] = job->in[is_q ? 3 : 1];
        own.out[0] = factor;
        const int status = gkl_run(&own);
        if (status)
            return status;
        job->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P] = factor;
    }
    return 0;
}

/* vectors that an operand or its gradient takes when packed */
static ptrdiff_t packed_size(const gkl_plan *plan, int operand) {
    const ptrdiff_t d = plan->job->dim, tile = plan->tile, tiles = gkl_ceil(d, tile);
    if (operand == GKL_WEIGHT)
        return 1;
    return is_matrix(plan->job, operand) ? tiles * (tiles + 1) / 2 * tile * tile + 1
                                         : d * gkl_columns(plan->job, operand);
}

/* element (i, 0) of a matrix in panels; (i, j) is tile vectors further for each j */
static char *panel_row(const gkl_batch *b, void *matrix, ptrdiff_t i) {
    const ptrdiff_t tile = b->plan->tile, panel = i / tile;
    return (char *)matrix
           + (panel * (panel + 1) / 2 * tile * tile + i % tile) * b->lanes * b->plan->size;
}

/* n numbers of every lane, `step` bytes apart, to vectors that are `stride` apart or at `place` */
static void pack_row(const gkl_batch *b, gkl_type type, const char *const *lane, ptrdiff_t offset,
                     ptrdiff_t n, ptrdiff_t step, ptrdiff_t readable, char *to, ptrdiff_t stride,
                     const int *place) {
    const gkl_plan *plan = b->plan;
    const void *from[MOST_LANES];
    const int direct = type >= GKL_F32 && (step == plan->size || n == 1);
    for (ptrdiff_t i = 0; i < b->lanes; ++i) {
        from[i] = lane[i] + offset;
        if (!direct) {
            char *row = b->rows + i * b->row_length * plan->size;
            gkl_gather(type, lane[i] + offset, 1, 0, n, step, row);
            from[i] = row;
        }
    }
    plan->table->pack[plan->is_f64](from, n, direct ? readable : b->row_length, to, stride, place);
}

/* the lower triangle; what is beside it has been set once and for all */
static void pack_matrix(const gkl_batch *b, gkl_type type, const gkl_array *x,
                        const char *const *lane, char *to) {
    const gkl_plan *plan = b->plan;
    const ptrdiff_t d = plan->job->dim;
    if (d <= FLAT && type >= GKL_F32 && x->across == plan->size && x->step == d * plan->size) {
        pack_row(b, type, lane, 0, d * d, plan->size, d * d, to, 0, b->place);
        return;
    }
    for (ptrdiff_t i = 0; i < d; ++i)
        pack_row(b, type, lane, i * x->step, i + 1, x->across, d, panel_row(b, to, i), plan->tile,
                 NULL);
}

/* zeros above the diagonal, in its tiles; the identity where the last tiles are beyond d; and behind
 * the matrix a place for what is not wanted of it */
static void prepare_matrix(gkl_batch *b, char *to, ptrdiff_t size) {
    const gkl_plan *plan = b->plan;
    const ptrdiff_t d = plan->job->dim, tile = plan->tile, vector = b->lanes * plan->size;
    memset(to, 0, (size_t)(size * vector));
    for (ptrdiff_t i = d; i < gkl_ceil(d, tile) * tile; ++i)
        for (ptrdiff_t lane = 0; lane < b->lanes; ++lane)
            gkl_write(plan->is_f64, panel_row(b, to, i) + i * tile * vector + lane * plan->size, 1);
    for (ptrdiff_t i = 0; d <= FLAT && i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j)
            b->place[i * d + j] =
                j <= i ? (int)((panel_row(b, to, i) - to) / vector + j * tile) : (int)size - 1;
}

/* A Cholesky factor that the caller has, and weights, are of the results' type. */
static gkl_type type_of(const gkl_plan *plan, int operand) {
    const int given = operand == GKL_WEIGHT
                      || (operand >= GKL_FACTOR_P && is_matrix(plan->job, operand));
    return !given ? plan->job->storage : plan->is_f64 ? GKL_F64 : GKL_F32;
}

static void pack(const gkl_batch *b, int k) {
    const gkl_plan *plan = b->plan;
    const gkl_array *x = &plan->job->in[k];
    const gkl_type type = type_of(plan, k);
    const ptrdiff_t d = plan->job->dim, columns = gkl_columns(plan->job, k);
    char *to = b->group.in[k];
    if (is_matrix(plan->job, k))
        pack_matrix(b, type, x, b->in[k], to);
    else if (k == GKL_WEIGHT)
        pack_row(b, type, b->in[k], 0, 1, 0, 1, to, 1, NULL);
    else if (k < GKL_FACTOR_P)
        pack_row(b, type, b->in[k], 0, d, x->step, d, to, 1, NULL);
    else
        for (ptrdiff_t i = 0; i < d; ++i)
            pack_row(b, type, b->in[k], i * x->step, columns, x->across, columns,
                     to + i * columns * b->lanes * plan->size, 1, NULL);
}

/* Row i of gradient k, n numbers of each lane from the vectors at `from`: to its place, or added to
 * the sums of the task. */
static void unpack_row(const gkl_batch *b, int k, ptrdiff_t i, ptrdiff_t n, const char *from,
                       double *sum, ptrdiff_t width) {
    const gkl_plan *plan = b->plan;
    const gkl_array *x = &plan->job->out[k];
    const int grad = plan->job->output == GKL_GRAD;
    const ptrdiff_t along = plan->columns[k] > 1 || (grad && k >= GKL_FACTOR_P) || !grad ? x->across : x->step;
    const int direct = !plan->sum_batch[k] && !plan->sum_dim[k] && (along == plan->size || n == 1);
    void *to[MOST_LANES] = {NULL};
    for (ptrdiff_t lane = 0; lane < b->count; ++lane)
        to[lane] = direct ? b->out[k][lane] + i * x->step
                          : b->rows + lane * b->row_length * plan->size;
    plan->table->unpack[plan->is_f64](from, n, grad ? b->group.in[GKL_WEIGHT] : NULL, to);
    for (ptrdiff_t lane = 0; lane < b->count && !direct; ++lane) {
        char *place = b->out[k][lane] + i * x->step;
        if (plan->sum_dim[k]) {
            double total = 0, rest = 0;
            for (ptrdiff_t j = 0; j < n; ++j)
                gkl_two_sum(&total, &rest,
                            gkl_read(plan->is_f64 ? GKL_F64 : GKL_F32, (char *)to[lane] + j * plan->size));
            total = gkl_sum_of(total, rest);
            if (plan->sum_batch[k])
                gkl_two_sum(sum, sum + width, total);
            else
                gkl_write(plan->is_f64, place, total);
        } else if (plan->sum_batch[k]) {
            plan->table->accumulate[plan->is_f64](sum + i * n, sum + width + i * n, to[lane], n);
        } else {
            gkl_scatter(plan->is_f64, to[lane], 1, n, place, 0, along);
        }
    }
}

/* a matrix in panels, row by row: both triangles, or zeros above the diagonal */
static void unpack_matrix(const gkl_batch *b, int k, int lower, double *sum, ptrdiff_t width) {
    const gkl_plan *plan = b->plan;
    const ptrdiff_t d = plan->job->dim, tile = plan->tile, vector = b->lanes * plan->size;
    for (ptrdiff_t i = 0; i < d; ++i) {
        for (ptrdiff_t j = 0; j < d; ++j) {
            char *to = b->flat + j * vector;
            if (j <= i)
                memcpy(to, panel_row(b, b->group.out[k], i) + j * tile * vector, (size_t)vector);
            else if (lower)
                memset(to, 0, (size_t)vector);
            else
                memcpy(to, panel_row(b, b->group.out[k], j) + i * tile * vector, (size_t)vector);
        }
        unpack_row(b, k, i, d, b->flat, sum, width);
    }
}

static void unpack(const gkl_batch *b, int k, double *sum) {
    const gkl_plan *plan = b->plan;
    const gkl_job *job = plan->job;
    const ptrdiff_t d = job->dim, width = gkl_width(plan, k, d);
    if (job->output == GKL_FACTOR) {
        unpack_matrix(b, k, 1, sum, width);
    } else if (job->output != GKL_GRAD || k == 0) {
        for (ptrdiff_t lane = 0; lane < b->count; ++lane)
            memcpy(b->out[k][lane], (char *)b->group.out[k] + lane * plan->size, (size_t)plan->size);
    } else {
        const int operand = gkl_operand_of(k);
        const ptrdiff_t columns = gkl_columns(job, operand), vector = b->lanes * plan->size;
        const gkl_kind kind = operand == 1 ? job->p : job->q;
        if (is_matrix(job, operand))
            unpack_matrix(b, k, kind == GKL_TRIL, sum, width);
        else if (operand < GKL_FACTOR_P)
            unpack_row(b, k, 0, d, b->group.out[k], sum, width);
        else
            for (ptrdiff_t i = 0; i < d; ++i)
                unpack_row(b, k, i, columns, (char *)b->group.out[k] + i * columns * vector, sum, width);
    }
}

/* Is there something that is not finite among what is read of this lane's operands? */
static int is_finite(const gkl_batch *b, ptrdiff_t lane) {
    const gkl_job *job = b->plan->job;
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        const gkl_array *x = &job->in[k];
        for (ptrdiff_t i = 0; b->in[k][lane] && k != GKL_WEIGHT && i < job->dim; ++i) {
            const ptrdiff_t columns = is_matrix(job, k) ? i + 1 : gkl_columns(job, k);
            for (ptrdiff_t j = 0; j < columns; ++j)
                if (!(fabs(gkl_read(type_of(b->plan, k), b->in[k][lane] + i * x->step + j * x->across))
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
        for (int k = 0; k < GKL_MAX_OUT; ++k) {
            char *x = b->group.out[k];
            const ptrdiff_t n = plan->job->output == GKL_GRAD && k > 0
                                    ? packed_size(plan, gkl_operand_of(k))
                                : plan->job->output == GKL_FACTOR ? packed_size(plan, 1) : 1;
            for (ptrdiff_t i = 0; x && i < n; ++i)
                gkl_write(plan->is_f64, x + i * vector + lane * plan->size, (double)NAN);
        }
    }
    for (int i = 0; i < b->ninputs && !finite; ++i)
        if (is_matrix(plan->job, b->inputs[i]))
            prepare_matrix(b, b->group.in[b->inputs[i]], packed_size(plan, b->inputs[i]));
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
    const int inner = plan->ndim - 1;
    for (int i = 0; i < b->ninputs; ++i) {
        const int k = b->inputs[i];
        const ptrdiff_t stride = plan->in[k][inner];
        const char *at = b->first_in[k] + (row - b->run) * stride;
        for (ptrdiff_t l = lane; l < end; ++l, at += stride)
            b->in[k][l] = at;
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
    const ptrdiff_t vector = b->lanes * plan->size, d = job->dim, rank = gkl_max(job->rank_p, job->rank_q);
    ptrdiff_t total = 0, size_in[GKL_MAX_IN] = {0}, size_out[GKL_MAX_OUT] = {0};
    b->ninputs = b->noutputs = 0;
    for (int k = 0; k < GKL_MAX_IN; ++k)
        if (job->in[k].data) {
            b->inputs[b->ninputs++] = k;
            total += size_in[k] = packed_size(plan, k);
        }
    for (int k = 0; k < GKL_MAX_OUT; ++k) {
        const int always = job->output == GKL_TERMS ? k == 3 : k == 0;
        if (job->out[k].data)
            b->outputs[b->noutputs++] = k;
        else if (!always)
            continue;
        size_out[k] = job->output == GKL_FACTOR               ? packed_size(plan, 1)
                      : job->output == GKL_GRAD && k > 0 ? packed_size(plan, gkl_operand_of(k))
                                                         : 1;
        total += size_out[k];
    }
    b->row_length = gkl_ceil(gkl_max(gkl_max(d, rank), 1), b->lanes) * b->lanes;
    const ptrdiff_t flat = gkl_max(d, 1);
    total += flat + b->row_length; /* rows: lanes x row_length numbers */
    b->group = (gkl_group){.p = job->p, .q = job->q, .output = job->output, .dim = d,
                           .rank_p = job->rank_p, .rank_q = job->rank_q};
    total += (plan->is_full ? plan->table->full_work : plan->table->low_rank_work)[plan->is_f64](&b->group);
    char *memory = malloc((size_t)(total * vector) + ALIGNMENT);
    if (!memory)
        return NULL;
    char *at = memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT);
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        b->group.in[k] = job->in[k].data ? at : NULL;
        if (size_in[k] && is_matrix(job, k))
            prepare_matrix(b, at, size_in[k]);
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

ptrdiff_t gkl_do_groups(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, ptrdiff_t rows,
                        double *sums) {
    gkl_batch b = {.plan = plan, .lanes = plan->table->lanes[plan->is_f64]};
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
            pack(&b, b.inputs[i]);
        plan->group(&b.group);
        bad += judge(&b);
        for (int k = 0; k < GKL_MAX_OUT; ++k) {
            if (gkl_wants(plan, k))
                unpack(&b, k, sum);
            if (sum)
                sum += 2 * gkl_width(plan, k, plan->job->dim);
        }
    }
    free(memory);
    return bad;
}
