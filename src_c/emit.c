/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The end of a row: its totals to the outputs, and the verdict on an item without a divergence.
 */
#include "emit.h"

static ptrdiff_t offset(const gkl_plan *plan, const ptrdiff_t *stride, ptrdiff_t kept,
                        ptrdiff_t row) {
    ptrdiff_t sum = 0;
    for (int axis = plan->ndim - 1; axis >= plan->nkept; --axis) {
        sum += row % plan->shape[axis] * stride[axis];
        row /= plan->shape[axis];
    }
    for (int axis = plan->nkept - 1; axis >= 0; --axis) {
        sum += kept % plan->shape[axis] * stride[axis];
        kept /= plan->shape[axis];
    }
    return sum;
}

void gkl_in_at(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, const char **in) {
    const int gathers = gkl_gathers(plan->job);
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        const gkl_array *x = &plan->job->in[k];
        in[k] = !x->data ? NULL
                         : x->data
                               + (gathers ? gkl_item_of(plan->job, k, row) * plan->in[k][0]
                                          : offset(plan, plan->in[k], kept, row));
    }
}

void gkl_out_at(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, char **out) {
    for (int k = 0; k < GKL_MAX_OUT; ++k) {
        const gkl_array *x = &plan->job->out[k];
        out[k] = x->data ? x->data + offset(plan, plan->out[k], kept, row) : NULL;
    }
}

/* Is KL undefined in dimension j of this row? */
static int bad_dimension(const gkl_job *job, const char *const *in, ptrdiff_t j) {
    const gkl_kind kinds[] = {job->p, job->q};
    for (int k = 0; k < 4; ++k)
        if (in[k]) {
            const double x = gkl_read(job->storage, in[k] + j * job->in[k].step);
            const gkl_kind kind = kinds[k / 2];
            const int positive = k % 2 && (kind == GKL_VAR || kind == GKL_STD);
            if (!(fabs(x) <= DBL_MAX) || (positive && x <= 0))
                return 1;
        }
    return 0;
}

/* A row with a total that is not finite: an overflow has its value, a bad item gets NaN, where
 * KL of a dimension is asked for in that dimension only. */
static int judge(const gkl_plan *plan, const char *const *in, char *const *out) {
    const gkl_job *job = plan->job;
    int bad = 0;
    for (ptrdiff_t j = 0; j < job->dim; ++j)
        if (bad_dimension(job, in, j)) {
            bad = 1;
            if (job->output != GKL_PER_DIM)
                break;
            gkl_write(plan->is_f64, out[0] + j * job->out[0].step, (double)NAN);
        }
    if (bad && job->output == GKL_GRAD)
        for (int k = 1; k < GKL_MAX_OUT; ++k)
            for (ptrdiff_t j = 0; j < gkl_extent(plan, k, job->dim) && !plan->sum_batch[k]; ++j)
                gkl_write(plan->is_f64, out[k] + j * job->out[k].step, (double)NAN);
    return bad;
}

static void poison(const gkl_plan *plan, double *sums, ptrdiff_t length) {
    for (int k = 1; k < GKL_MAX_OUT; ++k) {
        const ptrdiff_t width = gkl_width(plan, k, length);
        for (ptrdiff_t j = 0; j < width; ++j)
            sums[j] = (double)NAN;
        sums += 2 * width;
    }
}

int gkl_emit_totals(const gkl_plan *plan, const char *const *in, char *const *out,
                    const double *total, ptrdiff_t stride, double *sums, ptrdiff_t length) {
    int finite = 1, bad = 0;
    for (int t = 0; t < plan->nsums; ++t)
        finite &= fabs(total[t * stride]) <= DBL_MAX;
    if (!finite)
        bad = judge(plan, in, out);
    for (int i = 0; i < plan->emits; ++i) {
        const gkl_emit *e = &plan->emit[i];
        gkl_write(plan->is_f64, out[e->out],
                  bad ? (double)NAN : e->factor * total[e->term * stride]);
    }
    if (sums) {
        double *sum = sums;
        for (int k = 1; k < GKL_MAX_OUT; ++k) {
            if (plan->sum_dim[k] && plan->sum_batch[k])
                gkl_two_sum(&sum[0], &sum[1], total[plan->sum_dim[k] * stride]);
            sum += 2 * gkl_width(plan, k, length);
        }
        if (bad)
            poison(plan, sums, length);
    }
    return bad;
}

int gkl_emit_row(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, const double *total,
                 double *sums) {
    const char *in[GKL_MAX_IN];
    char *out[GKL_MAX_OUT];
    gkl_in_at(plan, kept, row, in);
    gkl_out_at(plan, kept, row, out);
    return gkl_emit_totals(plan, in, out, total, 1, sums, 0);
}
