/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows that lie one after the other, without a job of the caller's.
 */
#include "fp_state.h"
#include "internal.h"
#include "simd/words.h"

typedef struct {
    gkl_kind p, q;
    gkl_output output;
    int is_f64;
    ptrdiff_t n, d;
} gkl_rows_call;

/* Operands and outputs are those of the block; out[0] is where the values go. */
static ptrdiff_t by_job(const gkl_rows_call *c, const gkl_block *block) {
    const gkl_kind kinds[] = {c->p, c->q};
    const ptrdiff_t size = c->is_f64 ? sizeof(double) : sizeof(float), row = c->d * size;
    const int matrices = c->p > GKL_UNIT || c->q > GKL_UNIT;
    const ptrdiff_t matrix = matrices ? c->d * row : 0; /* a long diagonal has no square */
    gkl_job job = {.p = c->p, .q = c->q, .output = c->output,
                   .storage = c->is_f64 ? GKL_F64 : GKL_F32, .ndim = 1, .shape = &c->n,
                   .dim = c->d};
    for (int k = 0; k < (c->q == GKL_UNIT ? 2 : 4); ++k) {
        const int is_matrix = k % 2 && gkl_has_matrix(kinds[k / 2]);
        job.in[k] = (gkl_array){.data = (char *)block->in[k],
                                .stride = is_matrix ? &matrix : &row,
                                .step = is_matrix ? row : size, .across = size};
        job.out[k + 1] = job.in[k]; /* of the same shape */
        job.out[k + 1].data = block->out[k + 1];
    }
    job.out[0] = (gkl_array){.data = block->out[0], .stride = &size};
    const ptrdiff_t before = *gkl_bad_items(); /* of the caller's last job, which this is not */
    const int status = gkl_run(&job);
    const ptrdiff_t bad = *gkl_bad_items();
    *gkl_bad_items() = before;
    return status ? -status : bad;
}

/* What is one block to blocks.c, too, without a plan, which would take longer than the kernel.
 * Gives 0 when a row wants a verdict. */
INLINE int by_block(const gkl_rows_call c, gkl_block *block) {
    const gkl_table *table = gkl_current();
    _Alignas(64) double term[GKL_BLOCK + GKL_PAD], total[GKL_BLOCK];
    int finite = 1;
    for (int t = 0; t < GKL_MAX_TERMS; ++t)
        block->term[t] = term; /* of which there is one */
    const gkl_fp_state state = gkl_fp_default();
    table->diag[c.is_f64][c.p][c.q][c.output](c.n * c.d, block);
    table->sum_rows[c.is_f64](term, c.n, c.d, total);
    for (ptrdiff_t i = 0; i < c.n; ++i) {
        finite &= fabs(total[i]) <= DBL_MAX;
        if (block->out[0] && c.is_f64)
            ((double *)block->out[0])[i] = total[i];
        else if (block->out[0])
            ((float *)block->out[0])[i] = (float)total[i];
    }
    gkl_fp_restore(state);
    return finite;
}

INLINE ptrdiff_t call(const gkl_rows_call c, const void *mean_p, const void *scale_p,
                      const void *mean_q, const void *scale_q, void *kl, void *d_mean_p,
                      void *d_scale_p, void *d_mean_q, void *d_scale_q) {
    if (c.n < 0 || c.d < 0)
        return -GKL_BAD_ARGUMENT;
    if ((unsigned)c.p > GKL_PRECISION || (unsigned)c.q > GKL_PRECISION || c.p == GKL_UNIT)
        return -GKL_NO_KERNEL;
    if (c.n == 0)
        return 0;
    static const double nothing; /* where operands of no numbers lie: to a job, NULL is not given */
    const void *const in[] = {mean_p, scale_p, mean_q, scale_q};
    gkl_block block;
    for (int k = 0; k < 4; ++k) {
        if (!in[k] && c.d > 0 && (k < 2 || c.q != GKL_UNIT))
            return -GKL_BAD_ARGUMENT;
        block.in[k] = in[k] || c.d > 0 ? in[k] : &nothing;
    }
    if (c.output == GKL_VALUE && !kl)
        return -GKL_BAD_ARGUMENT;
    block.in[GKL_WEIGHT] = NULL;
    for (int k = 0; k < 4; ++k)
        block.ahead[k] = 0;
    block.out[0] = kl;
    block.out[1] = d_mean_p;
    block.out[2] = d_scale_p;
    block.out[3] = d_mean_q;
    block.out[4] = d_scale_q;
    const int is_diagonal = c.p < GKL_UNIT && c.q <= GKL_UNIT;
    if (is_diagonal && c.n <= GKL_BLOCK && c.d <= GKL_BLOCK && c.n * c.d <= GKL_BLOCK
        && by_block(c, &block))
        return 0;
    const gkl_rows_call copy = c;
    return by_job(&copy, &block);
}

#define ROWS(suffix, real, is_64)                                                                \
    ptrdiff_t gkl_kl_##suffix(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d,                  \
                              const real *mean_p, const real *scale_p, const real *mean_q,       \
                              const real *scale_q, real *kl) {                                   \
        const gkl_rows_call c = {p, q, GKL_VALUE, is_64, n, d};                                  \
        return call(c, mean_p, scale_p, mean_q, scale_q, kl, NULL, NULL, NULL, NULL);            \
    }                                                                                            \
                                                                                                 \
    ptrdiff_t gkl_kl_and_grad_##suffix(                                                          \
        gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const real *mean_p,                    \
        const real *scale_p, const real *mean_q, const real *scale_q, real *kl, real *d_mean_p,  \
        real *d_scale_p, real *d_mean_q, real *d_scale_q) {                                      \
        const gkl_rows_call c = {p, q, GKL_GRAD, is_64, n, d};                                   \
        return call(c, mean_p, scale_p, mean_q, scale_q, kl, d_mean_p, d_scale_p, d_mean_q,      \
                    d_scale_q);                                                                  \
    }
ROWS(f32, float, 0)
ROWS(f64, double, 1)
