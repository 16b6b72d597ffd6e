/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lower triangular matrices row by row, cut into tiles of BLOCK x BLOCK, and what is done with a
 * tile or two by BLAS.  Of a matrix the tiles (I, J), J <= I, exist; those on the diagonal hold
 * zeros above it.  Small tiles suit BLAS well: few flops are spent on zeros, and their strips stay
 * in cache.  Tiles are also the pieces that threads share, so that the bits do not depend on how
 * many threads there are.
 *
 * Parameters: real.h; POTRF, TRSM and GEMM call BLAS.
 */
#ifndef REAL
#error large/tiles.inc.h needs simd/real.h
#endif

static inline REAL *FN(tile_at)(const space *s, const REAL *m, ptrdiff_t i, ptrdiff_t j) {
    return (REAL *)m + i * BLOCK * s->ld + j * BLOCK;
}

/* sum of squares, in double */
static double FN(row_squares)(const REAL *x, ptrdiff_t n) {
    double lane[LANES_OF_SUMS] = {0}, sum = 0;
    ptrdiff_t j = 0;
    for (; j + LANES_OF_SUMS <= n; j += LANES_OF_SUMS)
        for (int k = 0; k < LANES_OF_SUMS; ++k)
            lane[k] += (double)x[j + k] * (double)x[j + k];
    for (; j < n; ++j)
        lane[0] += (double)x[j] * (double)x[j];
    for (int k = 0; k < LANES_OF_SUMS; ++k)
        sum += lane[k];
    return sum;
}

/* An operand of a product: a matrix, or its transpose */
typedef struct {
    const REAL *at;
    ptrdiff_t ld;
    int transposed;
} FN(operand);

/* C = beta C + alpha A B, A m x k and B k x n, in steps of DEPTH */
static void FN(multiply)(const space *s, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, REAL alpha,
                         FN(operand) a, FN(operand) b, REAL beta, REAL *c, ptrdiff_t ldc) {
    ptrdiff_t first = 0;
    do { /* what is row by row here is transposed in Fortran: C^T = B^T A^T */
        const ptrdiff_t depth = k - first < DEPTH ? k - first : DEPTH;
        FN(gemm)(s->blas, b.transposed, a.transposed, n, m, depth, alpha,
                 b.at + first * (b.transposed ? 1 : b.ld), b.ld,
                 a.at + first * (a.transposed ? a.ld : 1), a.ld, beta, c, ldc);
        first += depth;
        beta = 1;
    } while (first < k);
}

/* zeros above the diagonal of tile (i, i) */
static void FN(clear_upper)(const space *s, REAL *m, ptrdiff_t i) {
    REAL *t = FN(tile_at)(s, m, i, i);
    const ptrdiff_t n = extent(s, i);
    for (ptrdiff_t r = 0; r < n; ++r)
        memset(t + r * s->ld + r + 1, 0, (size_t)(n - r - 1) * sizeof(REAL));
}

/* The Cholesky factor, in place, by columns of tiles. */
typedef struct {
    const space *s;
    REAL *m;
    ptrdiff_t column;
} FN(factor_job);

/* tile (i, j) less what the columns before j have to do with it */
static void FN(update_tile)(const space *s, REAL *m, ptrdiff_t i, ptrdiff_t j) {
    if (j > 0)
        FN(multiply)(s, extent(s, i), extent(s, j), j * BLOCK, -1,
                     (FN(operand)){FN(tile_at)(s, m, i, 0), s->ld, 0},
                     (FN(operand)){FN(tile_at)(s, m, j, 0), s->ld, 1}, 1, FN(tile_at)(s, m, i, j),
                     s->ld);
}

static void FN(factor_task)(void *context, ptrdiff_t index) {
    const FN(factor_job) *job = context;
    const space *s = job->s;
    const ptrdiff_t j = job->column, i = j + 1 + index;
    FN(update_tile)(s, job->m, i, j);
    FN(trsm)(s->blas, RIGHT_TRANSPOSED, extent(s, i), extent(s, j), FN(tile_at)(s, job->m, j, j),
             s->ld, FN(tile_at)(s, job->m, i, j), s->ld);
}

/* 1 when m is not positive definite */
static int FN(factor)(const space *s, REAL *m) {
    for (ptrdiff_t j = 0; j < s->tiles; ++j) {
        FN(factor_job) job = {s, m, j};
        FN(update_tile)(s, m, j, j);
        if (FN(potrf)(s->blas, extent(s, j), FN(tile_at)(s, m, j, j), s->ld))
            return 1;
        FN(clear_upper)(s, m, j);
        run_tasks(s, s->tiles - j - 1, FN(factor_task), &job);
    }
    for (ptrdiff_t k = 0; k < s->d; ++k)
        if (!(m[k * s->ld + k] > 0 && m[k * s->ld + k] <= LARGEST))
            return 1;
    return 0;
}

/* The factors of two matrices: on up to two threads each has its own. */
typedef struct {
    space s;
    REAL *m[2];
    int failed[2];
} FN(factors_job);

static void FN(factors_task)(void *context, ptrdiff_t index) {
    FN(factors_job) *job = context;
    job->failed[index] = FN(factor)(&job->s, job->m[index]);
}

static int FN(factor_two)(const space *s, REAL *a, REAL *b) {
    FN(factors_job) job = {*s, {a, b}, {0, 0}};
    if (s->nthreads > 2)
        return FN(factor)(s, a) || FN(factor)(s, b);
    job.s.nthreads = 1;
    run_tasks(s, 2, FN(factors_task), &job);
    return job.failed[0] || job.failed[1];
}

/* X = L^-1 X, X lower triangular, by columns of tiles */
typedef struct {
    const space *s;
    const REAL *l;
    REAL *x;
} FN(solve_job);

static void FN(solve_task)(void *context, ptrdiff_t j) {
    const FN(solve_job) *job = context;
    const space *s = job->s;
    for (ptrdiff_t i = j; i < s->tiles; ++i) {
        REAL *x = FN(tile_at)(s, job->x, i, j);
        if (i > j)
            FN(multiply)(s, extent(s, i), extent(s, j), (i - j) * BLOCK, -1,
                         (FN(operand)){FN(tile_at)(s, job->l, i, j), s->ld, 0},
                         (FN(operand)){FN(tile_at)(s, job->x, j, j), s->ld, 0}, 1, x, s->ld);
        FN(trsm)(s->blas, LEFT, extent(s, i), extent(s, j), FN(tile_at)(s, job->l, i, i), s->ld, x,
                 s->ld);
    }
}

static void FN(solve)(const space *s, const REAL *l, REAL *x) {
    FN(solve_job) job = {s, l, x};
    run_tasks(s, s->tiles, FN(solve_task), &job);
}

/* z = L^-1 z, L z, L^-T z or L^T z in place */
static void FN(apply)(const space *s, const REAL *l, gkl_factor_use how, REAL *z) {
    const int transposed = how == SOLVE_TRANSPOSED || how == TIMES_TRANSPOSED;
    const int upwards = how == SOLVE_TRANSPOSED || how == TIMES;
    for (ptrdiff_t n = 0; n < s->tiles; ++n) {
        const ptrdiff_t i = upwards ? s->tiles - 1 - n : n, rows = extent(s, i);
        const ptrdiff_t from = transposed ? (i + 1) * BLOCK : 0;
        const ptrdiff_t depth = transposed ? s->d - from : i * BLOCK;
        REAL *y = z + i * BLOCK, own[BLOCK];
        const REAL *diagonal = FN(tile_at)(s, l, i, i);
        const FN(operand) others = {
            transposed ? l + from * s->ld + i * BLOCK : l + i * BLOCK * s->ld, s->ld, transposed};
        const int solving = how == SOLVE || how == SOLVE_TRANSPOSED;
        if (!solving) { /* this tile's share first: it needs what y is now */
            memcpy(own, y, (size_t)rows * sizeof(REAL));
            FN(multiply)(s, rows, 1, rows, 1, (FN(operand)){diagonal, s->ld, transposed},
                         (FN(operand)){own, 1, 0}, 0, y, 1);
        }
        if (depth > 0)
            FN(multiply)(s, rows, 1, depth, solving ? -1 : 1, others, (FN(operand)){z + from, 1, 0},
                         1, y, 1);
        if (solving)
            FN(trsm)(s->blas, transposed ? LEFT_TRANSPOSED : LEFT, rows, 1, diagonal, s->ld, y, 1);
    }
}

/* V = L^-1 */
static void FN(invert)(const space *s, const REAL *l, REAL *v) {
    memset(v, 0, (size_t)(s->d * s->ld) * sizeof(REAL));
    for (ptrdiff_t k = 0; k < s->d; ++k)
        v[k * s->ld + k] = 1;
    FN(solve)(s, l, v);
}
