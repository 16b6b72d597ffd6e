/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Between the caller's arrays and the vectors of a group: rows of all lanes at a time, as they lie or,
 * when they are strided or of another type, by way of contiguous copies.
 */
#include "packing.h"

#include "groups.h"

enum { MOST_FETCHED = 32 }; /* d */

int gkl_is_matrix(const gkl_job *job, int operand) {
    const gkl_kind kind = operand == 1 || operand == GKL_FACTOR_P ? job->p : job->q;
    return (operand == 1 || operand == 3 || operand >= GKL_FACTOR_P) && gkl_has_matrix(kind);
}

ptrdiff_t gkl_columns(const gkl_job *job, int operand) {
    if (gkl_is_matrix(job, operand))
        return job->dim;
    return operand == GKL_FACTOR_P ? job->rank_p : operand == GKL_FACTOR_Q ? job->rank_q : 1;
}

ptrdiff_t gkl_packed_size(const gkl_plan *plan, int operand) {
    const ptrdiff_t d = plan->job->dim, tile = plan->tile, tiles = gkl_ceil(d, tile);
    if (operand == GKL_WEIGHT)
        return 1;
    return gkl_is_matrix(plan->job, operand) ? tiles * (tiles + 1) / 2 * tile * tile + 1
                                             : d * gkl_columns(plan->job, operand);
}

ptrdiff_t gkl_packed_output(const gkl_plan *plan, int out) {
    if (plan->job->output == GKL_FACTOR)
        return gkl_packed_size(plan, 1);
    return plan->job->output == GKL_GRAD && out > 0 ? gkl_packed_size(plan, gkl_operand_of(out)) : 1;
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
                     const int *place, ptrdiff_t ahead) {
    const gkl_plan *plan = b->plan;
    const void *from[GKL_MOST_LANES];
    const int direct = type >= GKL_F32 && (step == plan->size || n == 1);
    for (ptrdiff_t i = 0; i < b->lanes; ++i) {
        from[i] = lane[i] + offset;
        if (!direct) {
            char *row = b->rows + i * b->row_length * plan->size;
            gkl_gather(type, lane[i] + offset, 1, 0, n, step, row);
            from[i] = row;
        }
    }
    plan->table->pack[plan->is_f64](from, n,
                                    !direct              ? b->row_length
                                    : step == plan->size ? readable
                                                         : n,
                                    to, stride, place, direct ? ahead : 0);
}

/* the lower triangle; what is beside it has been set once and for all */
static void pack_matrix(const gkl_batch *b, gkl_type type, const gkl_array *x,
                        const char *const *lane, char *to, ptrdiff_t ahead) {
    const gkl_plan *plan = b->plan;
    const ptrdiff_t d = plan->job->dim;
    if (d <= GKL_FLAT && type >= GKL_F32 && x->across == plan->size && x->step == d * plan->size) {
        pack_row(b, type, lane, 0, d * d, plan->size, d * d, to, 0, b->place, ahead);
        return;
    }
    for (ptrdiff_t i = 0; i < d; ++i)
        pack_row(b, type, lane, i * x->step, i + 1, x->across, d, panel_row(b, to, i), plan->tile,
                 NULL, ahead);
}

void gkl_prepare_matrix(gkl_batch *b, char *to, ptrdiff_t size) {
    const gkl_plan *plan = b->plan;
    const ptrdiff_t d = plan->job->dim, tile = plan->tile, vector = b->lanes * plan->size;
    memset(to, 0, (size_t)(size * vector));
    for (ptrdiff_t i = d; i < gkl_ceil(d, tile) * tile; ++i)
        for (ptrdiff_t lane = 0; lane < b->lanes; ++lane)
            gkl_write(plan->is_f64, panel_row(b, to, i) + i * tile * vector + lane * plan->size, 1);
    for (ptrdiff_t i = 0; d <= GKL_FLAT && i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j)
            b->place[i * d + j] =
                j <= i ? (int)((panel_row(b, to, i) - to) / vector + j * tile) : (int)size - 1;
}

gkl_type gkl_type_of(const gkl_plan *plan, int operand) {
    const int given = operand == GKL_WEIGHT
                      || (operand >= GKL_FACTOR_P && gkl_is_matrix(plan->job, operand));
    return !given ? plan->job->storage : plan->is_f64 ? GKL_F64 : GKL_F32;
}

void gkl_pack(const gkl_batch *b, int k) {
    const gkl_plan *plan = b->plan;
    const gkl_array *x = &plan->job->in[k];
    const gkl_type type = gkl_type_of(plan, k);
    const ptrdiff_t d = plan->job->dim, columns = gkl_columns(plan->job, k);
    char *to = b->group.in[k];
    /* the next group is fetched where two fit the cache */
    const int fetches = d <= MOST_FETCHED && !gkl_gathers(plan->job);
    const ptrdiff_t ahead = fetches ? b->lanes * plan->in[k][plan->ndim - 1] : 0;
    if (gkl_is_matrix(plan->job, k))
        pack_matrix(b, type, x, b->in[k], to, ahead);
    else if (k == GKL_WEIGHT)
        pack_row(b, type, b->in[k], 0, 1, 0, 1, to, 1, NULL, ahead);
    else if (k < GKL_FACTOR_P)
        pack_row(b, type, b->in[k], 0, d, x->step, d, to, 1, NULL, ahead);
    else
        for (ptrdiff_t i = 0; i < d; ++i)
            pack_row(b, type, b->in[k], i * x->step, columns, x->across, columns,
                     to + i * columns * b->lanes * plan->size, 1, NULL, ahead);
}

/* Row i of gradient k, n numbers of each lane from the vectors at `from`: to its place, or added to
 * the sums of the task. */
static void unpack_row(const gkl_batch *b, int k, ptrdiff_t i, ptrdiff_t n, const char *from,
                       double *sum, ptrdiff_t width) {
    const gkl_plan *plan = b->plan;
    const gkl_array *x = &plan->job->out[k];
    const int grad = plan->job->output == GKL_GRAD, operand = grad ? gkl_operand_of(k) : 1;
    const int vector = operand < GKL_FACTOR_P && !gkl_is_matrix(plan->job, operand);
    const ptrdiff_t along = vector ? x->step : x->across;
    const int direct = !plan->sum_batch[k] && !plan->sum_dim[k] && (along == plan->size || n == 1);
    void *to[GKL_MOST_LANES] = {NULL};
    for (ptrdiff_t lane = 0; lane < b->count; ++lane)
        to[lane] = direct ? b->out[k][lane] + i * x->step
                          : b->rows + lane * b->row_length * plan->size;
    plan->table->unpack[plan->is_f64](from, n, grad ? b->group.in[GKL_WEIGHT] : NULL, to);
    for (ptrdiff_t lane = 0; lane < b->count && !direct; ++lane) {
        char *place = b->out[k][lane] + i * x->step;
        if (plan->sum_dim[k]) {
            double total = 0, rest = 0;
            for (ptrdiff_t j = 0; j < n; ++j)
                gkl_two_sum(
                    &total, &rest,
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

void gkl_unpack(const gkl_batch *b, int k, double *sum) {
    const gkl_plan *plan = b->plan;
    const gkl_job *job = plan->job;
    const ptrdiff_t d = job->dim, width = gkl_width(plan, k, d);
    if (job->output == GKL_FACTOR) {
        unpack_matrix(b, k, 1, sum, width);
    } else if (job->output != GKL_GRAD || k == 0) {
        for (ptrdiff_t lane = 0; lane < b->count; ++lane)
            memcpy(b->out[k][lane], (char *)b->group.out[k] + lane * plan->size,
                   (size_t)plan->size);
    } else {
        const int operand = gkl_operand_of(k);
        const ptrdiff_t columns = gkl_columns(job, operand), vector = b->lanes * plan->size;
        const gkl_kind kind = operand == 1 ? job->p : job->q;
        if (gkl_is_matrix(job, operand))
            unpack_matrix(b, k, kind == GKL_TRIL, sum, width);
        else if (operand < GKL_FACTOR_P)
            unpack_row(b, k, 0, d, b->group.out[k], sum, width);
        else
            for (ptrdiff_t i = 0; i < d; ++i)
                unpack_row(b, k, i, columns, (char *)b->group.out[k] + i * columns * vector, sum,
                           width);
    }
}
