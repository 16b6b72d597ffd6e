/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Blocks: operands loaded, one call of the elementwise kernel, terms summed, gradients stored.
 */
#include <stdlib.h>

#include "blocks.h"
#include "emit.h"

/* Rows that follow one another along the innermost batch axis. */
typedef struct {
    const gkl_plan *plan;
    ptrdiff_t kept, row, rows;
    ptrdiff_t first, length; /* along d */
    const char *in[GKL_MAX_IN];
    char *out[GKL_MAX_OUT];
    ptrdiff_t in_stride[GKL_MAX_IN], out_stride[GKL_MAX_OUT];
    double *sums;
    ptrdiff_t bad;
} gkl_rows;

/* A numbers-of-a-block buffer, in whole vectors, of either type. */
typedef struct {
    _Alignas(64) double x[GKL_BLOCK + GKL_PAD];
} gkl_buffer;

typedef struct {
    gkl_buffer in[GKL_MAX_IN], out[GKL_MAX_GRAD], term[GKL_MAX_TERMS], total;
    const char *held[GKL_MAX_IN]; /* what in[] holds of an operand that all rows share, */
    ptrdiff_t held_rows[GKL_MAX_IN], held_n[GKL_MAX_IN]; /* so that it is loaded once */
} gkl_scratch;

/* do nrows x n numbers of this size lie one after the other? */
static int dense(ptrdiff_t nrows, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t step, ptrdiff_t size) {
    return (n == 1 || step == size) && (nrows == 1 || stride == n * size);
}

/* row i of an operand */
static const char *row_of(const gkl_rows *run, int k, ptrdiff_t i) {
    const ptrdiff_t item = gkl_item_of(run->plan->job, k, run->row + i);
    return run->in[k] + (gkl_gathers(run->plan->job) ? item : i) * run->in_stride[k];
}

/* nrows x n numbers of an operand whose rows the job gathers */
static void gather_rows(const gkl_rows *run, int k, gkl_type storage, ptrdiff_t i, ptrdiff_t nrows,
                        ptrdiff_t j, ptrdiff_t n, char *to) {
    const ptrdiff_t step = run->plan->job->in[k].step;
    for (ptrdiff_t r = 0; r < nrows; ++r, to += n * run->plan->size)
        gkl_gather(storage, row_of(run, k, i + r) + j * step, 1, 0, n, step, to);
}

/* nrows x n numbers of every operand from row i, element j on: as they lie, or through scratch */
static void load(const gkl_rows *run, gkl_scratch *scratch, ptrdiff_t i, ptrdiff_t nrows,
                 ptrdiff_t j, ptrdiff_t n, gkl_block *block) {
    const gkl_plan *plan = run->plan;
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        const gkl_type results = plan->is_f64 ? GKL_F64 : GKL_F32;
        const gkl_type storage = k < GKL_WEIGHT ? plan->job->storage : results;
        if (!run->in[k]) {
            block->in[k] = NULL;
            continue;
        }
        const ptrdiff_t stride = run->in_stride[k], step = plan->job->in[k].step;
        const char *from = row_of(run, k, i) + j * step;
        if (nrows > 1 && gkl_gathers(plan->job) && stride != 0) {
            block->in[k] = scratch->in[k].x;
            block->ahead[k] = 0;
            gather_rows(run, k, storage, i, nrows, j, n, (char *)scratch->in[k].x);
            continue;
        }
        if (storage >= GKL_F32 && dense(nrows, stride, n, step, plan->size)) {
            block->in[k] = from;
            block->ahead[k] = n == 1 ? step : PREFETCH_BYTES;
            continue;
        }
        block->in[k] = scratch->in[k].x;
        block->ahead[k] = 0;
        const int held = stride == 0 && scratch->held[k] == from && scratch->held_n[k] == n;
        if (held && scratch->held_rows[k] >= nrows)
            continue;
        gkl_gather(storage, from, nrows, stride, n, step, scratch->in[k].x);
        scratch->held[k] = from;
        scratch->held_rows[k] = nrows;
        scratch->held_n[k] = n;
    }
}

/* where the kernel puts the gradients: in place when they are dense there and are not to be
 * streamed past the cache or summed */
static void place(const gkl_rows *run, gkl_scratch *scratch, ptrdiff_t i, ptrdiff_t nrows,
                  ptrdiff_t j, ptrdiff_t n, gkl_block *block) {
    const gkl_plan *plan = run->plan;
    for (int k = 1; k < GKL_MAX_GRAD; ++k) {
        const ptrdiff_t stride = run->out_stride[k], step = plan->job->out[k].step;
        block->out[k] = NULL;
        if (plan->job->output != GKL_GRAD || !run->out[k])
            continue;
        if (dense(nrows, stride, n, step, plan->size) && !plan->stream && !plan->sum_batch[k]
            && !plan->sum_dim[k])
            block->out[k] = run->out[k] + i * stride + j * step;
        else
            block->out[k] = scratch->out[k].x;
    }
}

/* the gradients from scratch to their place */
static void store(const gkl_rows *run, gkl_scratch *scratch, ptrdiff_t i, ptrdiff_t nrows,
                  ptrdiff_t j, ptrdiff_t n, const gkl_block *block) {
    const gkl_plan *plan = run->plan;
    double *sum = run->sums;
    for (int k = 1; k < GKL_MAX_GRAD; ++k) {
        const void *gradient = scratch->out[k].x;
        const ptrdiff_t width = gkl_width(plan, k, run->length);
        if (block->out[k] == gradient) {
            const ptrdiff_t stride = run->out_stride[k], step = plan->job->out[k].step;
            char *to = run->out[k] + i * stride + j * step;
            if (plan->sum_dim[k]) {
                if (sum)
                    sum += 2 * width;
                continue; /* it is a term, and stays in scratch */
            }
            if (plan->sum_batch[k])
                for (ptrdiff_t r = 0; r < nrows; ++r)
                    plan->table->accumulate[plan->is_f64](
                        sum + (j - run->first), sum + width + (j - run->first),
                        (const char *)gradient + r * n * plan->size, n);
            else if (plan->stream && dense(nrows, stride, n, step, plan->size))
                plan->table->stream[plan->is_f64](to, gradient, nrows * n);
            else
                gkl_scatter(plan->is_f64, gradient, nrows, n, to, stride, step);
        }
        if (sum)
            sum += 2 * width;
    }
}

/* KL of each dimension is the first term itself */
static void store_terms(const gkl_rows *run, gkl_scratch *scratch, ptrdiff_t i, ptrdiff_t nrows,
                        ptrdiff_t j, ptrdiff_t n) {
    const gkl_plan *plan = run->plan;
    const ptrdiff_t step = plan->job->out[0].step;
    gkl_scatter(plan->is_f64, scratch->term[0].x, nrows, n,
                run->out[0] + i * run->out_stride[0] + j * step, run->out_stride[0], step);
}

/* the terms of sum t: the kernel's own, or a gradient that is summed along d */
static const void *terms(const gkl_plan *plan, const gkl_scratch *scratch, int t) {
    if (t < plan->nterms)
        return scratch->term[t].x;
    for (int k = 1; k < GKL_MAX_GRAD; ++k)
        if (plan->sum_dim[k] == t)
            return scratch->out[k].x;
    return NULL;
}

static void compute(const gkl_rows *run, gkl_scratch *scratch, ptrdiff_t i, ptrdiff_t nrows,
                    ptrdiff_t j, ptrdiff_t n) {
    gkl_block block;
    load(run, scratch, i, nrows, j, n, &block);
    place(run, scratch, i, nrows, j, n, &block);
    for (int t = 0; t < GKL_MAX_TERMS; ++t)
        block.term[t] = scratch->term[t].x;
    run->plan->elementwise(nrows * n, &block);
    if (run->plan->job->output == GKL_GRAD)
        store(run, scratch, i, nrows, j, n, &block);
    if (run->plan->job->output == GKL_PER_DIM)
        store_terms(run, scratch, i, nrows, j, n);
}

static void finish_row(gkl_rows *run, ptrdiff_t i, const double *total, ptrdiff_t stride) {
    const char *in[GKL_MAX_IN];
    char *out[GKL_MAX_OUT];
    for (int k = 0; k < GKL_MAX_IN; ++k)
        in[k] = run->in[k] ? row_of(run, k, i) : NULL;
    for (int k = 0; k < GKL_MAX_OUT; ++k)
        out[k] = run->out[k] ? run->out[k] + i * run->out_stride[k] : NULL;
    run->bad += gkl_emit_totals(run->plan, in, out, total, stride, run->sums, run->length);
}

/* the totals of nrows rows from i on, total[t * stride + r] */
static void finish(gkl_rows *run, ptrdiff_t i, ptrdiff_t nrows, const double *total,
                   ptrdiff_t stride) {
    const gkl_plan *plan = run->plan;
    if (plan->partial) {
        const ptrdiff_t row = run->kept * plan->rows + run->row + i;
        for (ptrdiff_t r = 0; r < nrows; ++r)
            for (int t = 0; t < plan->nsums; ++t)
                plan->partial[((row + r) * plan->segments + run->first / GKL_SEGMENT) * plan->nsums
                              + t] = total[t * stride + r];
        return;
    }
    if (plan->emits == 1 && plan->nsums == 1 && !run->sums) { /* a number a row: no ceremony */
        const int k = plan->emit[0].out;
        const ptrdiff_t step = run->out_stride[k];
        char *to = run->out[k] + i * step;
        for (ptrdiff_t r = 0; r < nrows; ++r, to += step) {
            if (fabs(total[r]) <= DBL_MAX)
                gkl_write(plan->is_f64, to, total[r]);
            else
                finish_row(run, i + r, total + r, stride);
        }
        return;
    }
    for (ptrdiff_t r = 0; r < nrows; ++r)
        finish_row(run, i + r, total + r, stride);
}

/* blocks of whole rows */
static void do_short_rows(gkl_rows *run, gkl_scratch *scratch) {
    enum { MANY_SUMS_ROWS = GKL_BLOCK / GKL_MAX_SUMS };
    const gkl_plan *plan = run->plan;
    const ptrdiff_t n = run->length;
    ptrdiff_t most = gkl_max(GKL_BLOCK / gkl_max(n, 1), 1);
    if (plan->nsums > 1)
        most = gkl_min(most, MANY_SUMS_ROWS);
    for (ptrdiff_t i = 0; i < run->rows; i += most) {
        const ptrdiff_t nrows = gkl_min(most, run->rows - i);
        compute(run, scratch, i, nrows, run->first, n);
        for (int t = 0; t < plan->nsums; ++t)
            plan->table->sum_rows[plan->is_f64](terms(plan, scratch, t), nrows, n,
                                                scratch->total.x + t * MANY_SUMS_ROWS);
        finish(run, i, nrows, scratch->total.x, MANY_SUMS_ROWS);
    }
}

/* one row after another, each in blocks */
static void do_long_rows(gkl_rows *run, gkl_scratch *scratch) {
    const gkl_plan *plan = run->plan;
    const ptrdiff_t end = run->first + run->length;
    for (ptrdiff_t i = 0; i < run->rows; ++i) {
        gkl_sum sum[GKL_MAX_SUMS];
        double total[GKL_MAX_SUMS];
        memset(sum, 0, sizeof *sum * (size_t)plan->nsums);
        for (ptrdiff_t j = run->first; j < end; j += GKL_BLOCK) {
            const ptrdiff_t n = gkl_min(end - j, GKL_BLOCK);
            compute(run, scratch, i, 1, j, n);
            for (int t = 0; t < plan->nsums; ++t)
                plan->table->sum_add[plan->is_f64](&sum[t], terms(plan, scratch, t), n);
        }
        for (int t = 0; t < plan->nsums; ++t)
            total[t] = plan->table->sum_total[plan->is_f64](&sum[t]);
        finish(run, i, 1, total, 1);
    }
}

/* GKL_COLUMN_ROWS rows side by side, one element of each at a time */
static void do_columns(gkl_rows *run, gkl_scratch *scratch, gkl_column_sum *sum) {
    const gkl_plan *plan = run->plan;
    for (ptrdiff_t i = 0; i < run->rows; i += GKL_COLUMN_ROWS) {
        const ptrdiff_t nrows = gkl_min(GKL_COLUMN_ROWS, run->rows - i);
        if (run->length > GKL_SUM_LANES) {
            memset(sum->sum, 0, sizeof sum->sum);
            memset(sum->rest, 0, plan->is_f64 ? sizeof sum->rest : 0);
        }
        for (ptrdiff_t j = 0; j < run->length; ++j) {
            compute(run, scratch, i, nrows, run->first + j, 1);
            plan->table->sum_column[plan->is_f64](sum, scratch->term[0].x, nrows, j);
        }
        plan->table->sum_columns_total[plan->is_f64](sum, nrows, run->length, scratch->total.x);
        finish(run, i, nrows, scratch->total.x, 0);
    }
}

ptrdiff_t gkl_do_rows(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, ptrdiff_t rows,
                      ptrdiff_t first, ptrdiff_t length, double *sums) {
    const int inner = plan->ndim - 1;
    const ptrdiff_t end = row + rows;
    gkl_scratch scratch;
    /* not on the stack, too: a thread of musl has 128 KiB */
    char *memory = plan->column ? malloc(sizeof(gkl_column_sum) + ALIGNMENT) : NULL;
    if (plan->column && !memory)
        return -1;
    gkl_column_sum *columns = (void *)(memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT));
    memset(scratch.held, 0, sizeof scratch.held);
    ptrdiff_t bad = 0;
    while (row < end) {
        gkl_rows run = {.plan = plan, .kept = kept, .row = row, .first = first, .length = length,
                        .sums = sums};
        run.rows = gkl_min(end - row, plan->shape[inner] - row % plan->shape[inner]);
        gkl_in_at(plan, kept, row, run.in);
        for (int k = 0; k < GKL_MAX_IN && gkl_gathers(plan->job); ++k)
            run.in[k] = plan->job->in[k].data; /* of item 0: row_of adds the item's own */
        gkl_out_at(plan, kept, row, run.out);
        for (int k = 0; k < GKL_MAX_IN; ++k)
            run.in_stride[k] = plan->in[k][inner];
        for (int k = 0; k < GKL_MAX_OUT; ++k)
            run.out_stride[k] = plan->out[k][inner];
        if (plan->column)
            do_columns(&run, &scratch, columns);
        else if (length > GKL_BLOCK)
            do_long_rows(&run, &scratch);
        else
            do_short_rows(&run, &scratch);
        bad += run.bad;
        row += run.rows;
    }
    free(memory);
    return bad;
}
