/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The difference of two Cholesky factors, Delta = La - Lb, from E = A - B and Lb, without
 * subtracting factors:
 *
 *     t_ij    = e_ij - sum_{k<j} (Delta_ik la_jk + lb_ik Delta_jk),   la = lb + Delta
 *     Delta_jj = t_jj/(la_jj + lb_jj),   la_jj = sqrt(lb_jj^2 + t_jj)
 *     Delta_ij = (t_ij - lb_ij Delta_jj)/la_jj
 *
 * by columns of tiles.  La must be lb + Delta here: with a factor found by itself,
 * the roundings of the two grow with every column.
 *
 * Parameters: those of tiles.inc.h.
 */
#ifndef REAL
#error large/difference.inc.h needs simd/real.h
#endif

/* one tile on the diagonal; la gets La's; 0 when a pivot of A is not within half of and twice B's */
static int FN(difference_tile)(ptrdiff_t n, ptrdiff_t ld, const REAL *lb, REAL *t, REAL *la,
                               double *excess, double *root) {
    for (ptrdiff_t k = 0; k < n; ++k) {
        REAL delta[BLOCK], column[BLOCK], old[BLOCK];
        const REAL b = lb[k * ld + k], above = t[k * ld + k], pivot = b * b;
        if (!(above > -pivot / 2 && above < pivot))
            return 0;
        const REAL a = FN(root_of)(pivot + above), diagonal = above / (a + b);
        excess[k] = (double)above;
        root[k] = (double)a;
        t[k * ld + k] = diagonal;
        la[k * ld + k] = a;
        for (ptrdiff_t i = k + 1; i < n; ++i) {
            old[i] = lb[i * ld + k];
            delta[i] = (t[i * ld + k] - old[i] * diagonal) / a;
            column[i] = old[i] + delta[i];
            t[i * ld + k] = delta[i];
            la[i * ld + k] = column[i];
        }
        for (ptrdiff_t i = k + 1; i < n; ++i) {
            REAL *row = t + i * ld;
            const REAL x = delta[i], y = old[i];
            for (ptrdiff_t j = k + 1; j <= i; ++j)
                row[j] -= x * column[j] + y * delta[j];
        }
    }
    return 1;
}

/* A column of tiles: strip holds La's rows of tile `column` */
typedef struct {
    const space *s;
    const REAL *lb, *strip;
    REAL *t;
    ptrdiff_t column;
} FN(difference_job);

/* tile (i, column) less what `depth` columns have to do with it */
static void FN(difference_update)(const FN(difference_job) *job, ptrdiff_t i, ptrdiff_t depth) {
    const space *s = job->s;
    const ptrdiff_t j = job->column, before = j * BLOCK;
    REAL *t = FN(tile_at)(s, job->t, i, j);
    if (before > 0)
        FN(multiply)(s, extent(s, i), extent(s, j), before, -1,
                     (FN(operand)){FN(tile_at)(s, job->t, i, 0), s->ld, 0},
                     (FN(operand)){job->strip, s->ld, 1}, 1, t, s->ld);
    if (depth > 0)
        FN(multiply)(s, extent(s, i), extent(s, j), depth, -1,
                     (FN(operand)){FN(tile_at)(s, job->lb, i, 0), s->ld, 0},
                     (FN(operand)){FN(tile_at)(s, job->t, j, 0), s->ld, 1}, 1, t, s->ld);
}

static void FN(difference_task)(void *context, ptrdiff_t index) {
    const FN(difference_job) *job = context;
    const space *s = job->s;
    const ptrdiff_t j = job->column, i = j + 1 + index, n = extent(s, j);
    FN(difference_update)(job, i, j * BLOCK + n); /* with the tile on the diagonal */
    FN(trsm)(s->blas, RIGHT_TRANSPOSED, extent(s, i), n, job->strip + j * BLOCK, s->ld,
             FN(tile_at)(s, job->t, i, j), s->ld);
}

/* E in t becomes Delta; 0 when A and B are not near enough, t is then spoilt */
static int FN(difference)(const space *s, const REAL *lb, REAL *t, REAL *strip, double *excess,
                          double *root) {
    for (ptrdiff_t j = 0; j < s->tiles; ++j) {
        FN(difference_job) job = {s, lb, strip, t, j};
        const ptrdiff_t n = extent(s, j);
        for (ptrdiff_t r = 0; r < n; ++r) {
            const ptrdiff_t row = (j * BLOCK + r) * s->ld;
            for (ptrdiff_t k = 0; k < j * BLOCK; ++k)
                strip[r * s->ld + k] = lb[row + k] + t[row + k];
        }
        FN(difference_update)(&job, j, j * BLOCK);
        if (!FN(difference_tile)(n, s->ld, FN(tile_at)(s, lb, j, j), FN(tile_at)(s, t, j, j),
                                 strip + j * BLOCK, excess + j * BLOCK, root + j * BLOCK))
            return 0;
        FN(clear_upper)(s, t, j);
        run_tasks(s, s->tiles - j - 1, FN(difference_task), &job);
    }
    return 1;
}
