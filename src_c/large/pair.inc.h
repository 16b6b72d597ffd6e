/* SPDX-License-Identifier: BSD-3-Clause
 *
 * KL of one pair with large matrices.  The formulas are those of kernels/full.inc.h: A and B, their
 * factors La and Lb, Delta = La - Lb, X = Lb^-1 Delta, y; only the order of the work is another.
 * What has length d and is no vector of BLAS is kept in double.
 *
 * Parameters: those of tiles.inc.h.
 */
#ifndef REAL
#error large/pair.inc.h needs simd/real.h
#endif

/* Everything about a pair that results are made of. */
typedef struct {
    space s;
    int inverted; /* A and B are precisions: q's and p's */
    FN(side) a, b;
    REAL *x;        /* Delta, then X */
    REAL *xi;       /* La^-1 Delta, for Jeffreys */
    double *excess; /* differences of the pivots */
    REAL *delta;    /* mean_p - mean_q */
    REAL *y;
    char *work;     /* what is free */
} FN(pair);

/* sums of every row, in double */
typedef struct {
    const space *s;
    const REAL *a, *b;
    REAL *e;
    const double *inverse;
    double *row[2];
} FN(rows_job);

static void FN(compare_task)(void *context, ptrdiff_t index) {
    const FN(rows_job) *job = context;
    const space *s = job->s;
    for (ptrdiff_t i = index * BLOCK; i < index * BLOCK + extent(s, index); ++i) {
        const REAL *a = job->a + i * s->ld, *b = job->b + i * s->ld;
        REAL *e = job->e + i * s->ld;
        double difference[LANES_OF_SUMS] = {0}, size[LANES_OF_SUMS] = {0}, sum[2] = {0, 0};
        for (ptrdiff_t first = 0; first < i; first += LANES_OF_SUMS) {
            const ptrdiff_t n = i - first < LANES_OF_SUMS ? i - first : LANES_OF_SUMS;
            for (ptrdiff_t k = 0; k < n; ++k) {
                const ptrdiff_t j = first + k;
                const double y = (double)b[j], x = (double)(e[j] = a[j] - b[j]);
                difference[k] += x * x * job->inverse[j];
                size[k] += y * y * job->inverse[j];
            }
        }
        for (int n = 0; n < LANES_OF_SUMS; ++n) {
            sum[0] += difference[n];
            sum[1] += size[n];
        }
        const double y = (double)b[i], x = (double)(e[i] = a[i] - b[i]), weight = job->inverse[i];
        job->row[0][i] = weight * (2 * sum[0] + x * x * weight);
        job->row[1][i] = weight * (2 * sum[1] + y * y * weight);
    }
    FN(clear_upper)(s, job->e, index);
}

/* Rule C, see full.inc.h, without its pivots.  E is left in x. */
static int FN(compare)(FN(pair) *t) {
    const space *s = &t->s;
    char *work = t->work;
    double *inverse = FN(take)(&work, (size_t)s->d, sizeof(double)), sum[2] = {0, 0};
    FN(rows_job) job = {.s = s, .a = t->a.l, .b = t->b.l, .e = t->x, .inverse = inverse};
    for (int n = 0; n < 2; ++n)
        job.row[n] = FN(take)(&work, (size_t)s->d, sizeof(double));
    for (ptrdiff_t k = 0; k < s->d; ++k)
        inverse[k] = 1 / (double)t->b.l[k * s->ld + k];
    run_tasks(s, s->tiles, FN(compare_task), &job);
    for (ptrdiff_t k = 0; k < s->d; ++k)
        for (int n = 0; n < 2; ++n)
            sum[n] += job.row[n][k];
    return sum[0] < 0.25 * sum[1];
}

/* c = a + sign b, as matrices in tiles */
typedef struct {
    const space *s;
    const REAL *a, *b;
    REAL sign, *c;
} FN(add_job);

static void FN(add_task)(void *context, ptrdiff_t index) {
    const FN(add_job) *job = context;
    const space *s = job->s;
    for (ptrdiff_t i = index * BLOCK; i < index * BLOCK + extent(s, index); ++i)
        for (ptrdiff_t j = i * s->ld; j <= i * s->ld + i; ++j)
            job->c[j] = (job->a ? job->a[j] : 0) + (job->b ? job->sign * job->b[j] : 0);
    FN(clear_upper)(s, job->c, index);
}

static void FN(add)(const space *s, const REAL *a, REAL sign, const REAL *b, REAL *c) {
    FN(add_job) job = {s, a, b, sign, c};
    run_tasks(s, s->tiles, FN(add_task), &job);
}

/* Delta of two factors; one may be diagonal; 1 when the item is bad */
static int FN(relate_factors)(FN(pair) *t) {
    const space *s = &t->s;
    if (FN(factor_sides)(s, &t->a, &t->b))
        return 1;
    FN(add)(s, t->a.l, -1, t->b.l, t->x);
    for (ptrdiff_t k = 0; k < s->d; ++k) {
        const double difference = t->a.root[k] - t->b.root[k];
        t->x[k * s->ld + k] = (REAL)difference;
        t->excess[k] = difference * (t->a.root[k] + t->b.root[k]);
    }
    return 0;
}

/* Delta of two matrices that are not factored: from E when they are near each other */
static int FN(relate_matrices)(FN(pair) *t) {
    const space *s = &t->s;
    char *work = t->work;
    if (!FN(compare)(t))
        return FN(relate_factors)(t);
    if (FN(factor_side)(s, &t->b))
        return 1;
    REAL *strip = FN(take)(&work, (size_t)(BLOCK * s->ld), sizeof(REAL));
    if (!FN(difference)(s, t->b.l, t->x, strip, t->excess, t->a.root))
        return FN(relate_factors)(t);
    FN(add)(s, t->b.l, 1, t->x, t->a.l);
    for (ptrdiff_t k = 0; k < s->d; ++k)
        t->a.pivot[k] = t->b.pivot[k] + t->excess[k];
    return 0;
}

/* Delta of a diagonal and a matrix that is not factored.  The pivots' differences come from those
 * of the diagonals: pivot_k = s_kk - sum_j l_kj^2. */
static int FN(relate_diagonal)(FN(pair) *t) {
    const space *s = &t->s;
    FN(side) *m = t->a.diagonal ? &t->b : &t->a;
    const FN(side) *v = t->a.diagonal ? &t->a : &t->b;
    const double sign = t->a.diagonal ? -1 : 1;
    for (ptrdiff_t k = 0; k < s->d; ++k)
        t->excess[k] = (double)m->l[k * s->ld + k] - v->pivot[k];
    if (FN(factor_side)(s, m))
        return 1;
    for (ptrdiff_t k = 0; k < s->d; ++k)
        t->excess[k] = sign * (t->excess[k] - FN(row_squares)(m->l + k * s->ld, k));
    FN(add)(s, t->a.diagonal ? NULL : m->l, -1, t->a.diagonal ? m->l : NULL, t->x);
    for (ptrdiff_t k = 0; k < s->d; ++k)
        t->x[k * s->ld + k] = (REAL)(t->excess[k] / (t->a.root[k] + t->b.root[k]));
    return 0;
}

/* z = L^-1 z, L z, L^-T z or L^T z of a side */
static void FN(apply_side)(const space *s, const FN(side) *side, gkl_factor_use how, REAL *z) {
    if (!side->diagonal) {
        FN(apply)(s, side->l, how, z);
        return;
    }
    for (ptrdiff_t k = 0; k < s->d; ++k)
        z[k] = (REAL)(how == SOLVE || how == SOLVE_TRANSPOSED ? (double)z[k] / side->root[k]
                                                              : (double)z[k] * side->root[k]);
}

/* L^-1 X in place, X lower triangular */
static void FN(whiten)(const space *s, const FN(side) *side, REAL *x) {
    if (!side->diagonal) {
        FN(solve)(s, side->l, x);
        return;
    }
    for (ptrdiff_t i = 0; i < s->d; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            x[i * s->ld + j] = (REAL)((double)x[i * s->ld + j] / side->root[i]);
}

/* from the operands to Delta, X and y; 1 when the item is bad */
static int FN(read_pair)(const gkl_item *item, FN(pair) *t) {
    const gkl_job *job = item->job;
    const space *s = &t->s;
    char *work = item->work;
    *t = (FN(pair)){.s = space_of(job, item->blas, item->nthreads),
                    .inverted = job->p == GKL_PRECISION && job->q == GKL_PRECISION};
    t->delta = FN(take)(&work, (size_t)s->d, sizeof(REAL));
    t->y = FN(take)(&work, (size_t)s->d, sizeof(REAL));
    t->excess = FN(take)(&work, (size_t)s->d, sizeof(double));
    t->x = FN(take_matrix)(s, &work);
    memset(t->y, 0, (size_t)s->d * sizeof(REAL));
    if (FN(read_vector)(s, item, 0, t->delta) || (item->in[2] && FN(read_vector)(s, item, 2, t->y)))
        return 1;
    for (ptrdiff_t k = 0; k < s->d; ++k)
        t->delta[k] -= t->y[k];
    if (FN(read_side)(s, item, t->inverted, t->inverted, &t->a, &work)
        || FN(read_side)(s, item, !t->inverted, t->inverted, &t->b, &work))
        return 1;
    t->work = work;
    const int bad = !t->a.factored && !t->b.factored ? FN(relate_matrices)(t)
                    : (t->a.diagonal && !t->b.factored) || (t->b.diagonal && !t->a.factored)
                        ? FN(relate_diagonal)(t)
                        : FN(relate_factors)(t);
    if (bad)
        return 1;
    if (job->output == GKL_JEFFREYS) {
        t->xi = FN(take_matrix)(s, &t->work);
        FN(add)(s, t->x, 1, NULL, t->xi);
        FN(whiten)(s, &t->a, t->xi);
    }
    FN(whiten)(s, &t->b, t->x);
    memcpy(t->y, t->delta, (size_t)s->d * sizeof(REAL));
    if (t->inverted)
        FN(apply_side)(s, &t->a, TIMES_TRANSPOSED, t->y);
    else
        FN(apply_side)(s, &t->b, SOLVE, t->y);
    return 0;
}
