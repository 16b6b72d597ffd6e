/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Products of lower triangular matrices, of which gradients are made: every tile of the result is
 * one or two products of strips.
 *
 * Parameters: those of tiles.inc.h.
 */
#ifndef REAL
#error large/products.inc.h needs simd/real.h
#endif

/* c_ij = beta c_ij + sum over the tiles k of `range` of a_ik b_kj + u_ik v_kj */
typedef struct {
    const space *s;
    const REAL *a, *b, *u, *v;            /* u may be NULL */
    int left_transposed, right_transposed; /* a_ki in the place of a_ik; b_jk of b_kj */
    range range;
    REAL *c;
    int halve; /* c = Y + Y^T: to Y */
    const REAL *x, *w, *u_k, *y; /* c begins with these, see square */
} FN(product_job);

static void FN(begin_tile)(const FN(product_job) *job, ptrdiff_t i, ptrdiff_t j, REAL *c) {
    const space *s = job->s;
    const REAL *x = FN(tile_at)(s, job->x, i, j), *y = job->y;
    const REAL *of_row = job->left_transposed ? job->w + i * BLOCK : NULL;
    const REAL *of_column = job->w + j * BLOCK;
    for (ptrdiff_t r = 0; r < extent(s, i); ++r)
        for (ptrdiff_t k = 0; k < (i == j ? r + 1 : BLOCK); ++k) {
            REAL start = x[r * s->ld + k] * (of_row ? of_row[r] : of_column[k]);
            if (i == j && r == k)
                start = job->u_k[i * BLOCK + r];
            if (y)
                start += y[i * BLOCK + r] * y[j * BLOCK + k];
            c[r * s->ld + k] = start;
            if (i == j)
                c[k * s->ld + r] = start;
        }
}

static void FN(product_task)(void *context, ptrdiff_t index) {
    const FN(product_job) *job = context;
    const space *s = job->s;
    ptrdiff_t i = 0, j = index;
    while (j > i) /* tile `index` of the triangle, row by row */
        j -= ++i;
    const ptrdiff_t first = job->range == FROM_ROW ? i : job->range == BETWEEN ? j : 0;
    const ptrdiff_t last = job->range == FROM_ROW ? s->tiles - 1 : job->range == BETWEEN ? i : j;
    const ptrdiff_t depth = (last - first) * BLOCK + extent(s, last);
    const REAL *const left[] = {job->a, job->u}, *const right[] = {job->b, job->v};
    REAL *c = FN(tile_at)(s, job->c, i, j);
    if (job->x)
        FN(begin_tile)(job, i, j, c);
    for (int n = 0; n < 2 && left[n]; ++n) {
        const REAL *a = job->left_transposed ? FN(tile_at)(s, left[n], first, i)
                                             : FN(tile_at)(s, left[n], i, first);
        const REAL *b = job->right_transposed ? FN(tile_at)(s, right[n], j, first)
                                              : FN(tile_at)(s, right[n], first, j);
        FN(multiply)(s, extent(s, i), extent(s, j), depth, 1,
                     (FN(operand)){a, s->ld, job->left_transposed},
                     (FN(operand)){b, s->ld, job->right_transposed}, n > 0 || job->x, c, s->ld);
    }
    if (job->halve && i == j)
        for (ptrdiff_t r = 0; r < extent(s, i); ++r) {
            c[r * s->ld + r] /= 2;
            for (ptrdiff_t k = r + 1; k < extent(s, i); ++k)
                c[r * s->ld + k] = 0;
        }
}

static void FN(run_product)(const FN(product_job) *job) {
    run_tasks(job->s, job->s->tiles * (job->s->tiles + 1) / 2, FN(product_task), (void *)job);
}

/* K = X + X^T + X^T X, or X + X^T + X X^T + y y^T; its lower triangle, or Y where K = Y + Y^T.
 * Here x has zeros on its diagonal: what cancels there is put together beforehand, with
 * w_k = 1 + x_kk and w_k^2 = 1 + u_k,
 *
 *     i > j:  k_ij = x_ij w_i + sum_{k>i} x_ki x_kj,  or  x_ij w_j + sum_{k<j} x_ik x_jk
 *             k_ii = u_i + sum_{k>i} x_ki^2,          or  u_i + sum_{k<i} x_ik^2 */
static void FN(square)(const space *s, const REAL *x, const REAL *w, const REAL *u_k, const REAL *y,
                       int transposed_first, int halve, REAL *k) {
    FN(run_product)(&(FN(product_job)){
        .s = s, .a = x, .b = x, .left_transposed = transposed_first,
        .right_transposed = !transposed_first, .range = transposed_first ? FROM_ROW : TO_COLUMN,
        .c = k, .halve = halve, .x = x, .w = w, .u_k = u_k, .y = y});
}

/* C = A B */
static void FN(product)(const space *s, const REAL *a, const REAL *b, REAL *c) {
    FN(run_product)(&(FN(product_job)){.s = s, .a = a, .b = b, .range = BETWEEN, .c = c});
}

/* the lower triangle of V^T (Y + Y^T) V with B = Y V, or of V (Y + Y^T) V^T with B = V Y */
static void FN(congruence)(const space *s, const REAL *v, const REAL *b, int transposed_first,
                           REAL *g) {
    FN(run_product)(&(FN(product_job)){
        .s = s, .a = v, .b = b, .u = b, .v = v, .left_transposed = transposed_first,
        .right_transposed = !transposed_first, .range = transposed_first ? FROM_ROW : TO_COLUMN,
        .c = g});
}

/* tril(V^T K), K symmetric: its lower triangle and the whole of the tiles on the diagonal */
static void FN(triangle)(const space *s, const REAL *v, const REAL *k, REAL *g) {
    FN(run_product)(&(FN(product_job)){
        .s = s, .a = v, .b = k, .left_transposed = 1, .range = FROM_ROW, .c = g});
}
