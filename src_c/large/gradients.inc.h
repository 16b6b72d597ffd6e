/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a pair of pair.inc.h to the gradients, and to where they belong.
 *
 * Parameters: those of tiles.inc.h.
 */
#ifndef REAL
#error large/gradients.inc.h needs simd/real.h
#endif

/* n numbers of row i of a gradient: to their place, or to what they are summed in */
static void FN(give_row)(const gkl_item *item, int place, ptrdiff_t i, ptrdiff_t n, ptrdiff_t along,
                         const REAL *x) {
    double *sum = item->sum[place];
    if (sum)
        gkl_current()->accumulate[BITS == 64](sum + i * n, sum + item->width[place] + i * n, x, n);
    else
        gkl_scatter(BITS == 64, x, 1, n, item->out[place] + i * item->job->out[place].step, 0,
                    along);
}

/* a gradient of length d; with step 0 its sum is wanted */
static void FN(give_vector)(const gkl_item *item, int place, ptrdiff_t d, const REAL *x) {
    const ptrdiff_t step = item->job->out[place].step;
    if (step != 0 || d == 1) {
        FN(give_row)(item, place, 0, d, step, x);
        return;
    }
    tally total = {0, 0};
    for (ptrdiff_t k = 0; k < d; ++k)
        tally_add(&total, (double)x[k]);
    if (item->sum[place])
        gkl_two_sum(item->sum[place], item->sum[place] + item->width[place], tally_total(&total));
    else
        gkl_write(BITS == 64, item->out[place], tally_total(&total));
}

static REAL FN(weight_of)(const gkl_item *item) {
    return item->in[GKL_WEIGHT]
               ? (REAL)gkl_read(BITS == 64 ? GKL_F64 : GKL_F32, item->in[GKL_WEIGHT])
               : 1;
}

/* 0 times an overflow is 0 here */
static REAL FN(times)(REAL x, REAL weight) { return weight == 0 ? 0 : x * weight; }

/* A lower triangle in tiles, made a whole matrix, and then given row by row. */
typedef struct {
    const gkl_item *item;
    const space *s;
    REAL *m;
    const REAL *plus; /* add v v^T, of half this */
    REAL factor, weight;
    int lower; /* zeros above the diagonal, not the mirror image */
    int place;
} FN(give_job);

static void FN(complete_task)(void *context, ptrdiff_t j) {
    const FN(give_job) *job = context;
    const space *s = job->s;
    for (ptrdiff_t i = j; i < s->tiles; ++i) {
        REAL *t = FN(tile_at)(s, job->m, i, j), *mirror = FN(tile_at)(s, job->m, j, i);
        for (ptrdiff_t r = 0; r < extent(s, i); ++r)
            for (ptrdiff_t k = 0; k < (i == j ? r + 1 : BLOCK); ++k) {
                REAL x = job->factor * t[r * s->ld + k];
                if (job->plus)
                    x += job->plus[i * BLOCK + r] * job->plus[j * BLOCK + k] / 2;
                x = FN(times)(x, job->weight);
                mirror[k * s->ld + r] = job->lower ? 0 : x;
                t[r * s->ld + k] = x;
            }
    }
}

static void FN(give_task)(void *context, ptrdiff_t index) {
    const FN(give_job) *job = context;
    const space *s = job->s;
    for (ptrdiff_t i = index * BLOCK; i < index * BLOCK + extent(s, index); ++i)
        FN(give_row)(job->item, job->place, i, s->d, job->item->job->out[job->place].across,
                     job->m + i * s->ld);
}

static int FN(wants)(const gkl_item *item, int place) {
    return item->out[place] != NULL || item->sum[place] != NULL;
}

/* 2 G F and diag(G) */
static void FN(give_low_rank)(const gkl_item *item, const space *s, const FN(side) *side, REAL *g,
                              int place, int factor_place, REAL *free) {
    if (FN(wants)(item, place)) {
        REAL *diagonal = free;
        for (ptrdiff_t k = 0; k < s->d; ++k)
            diagonal[k] = g[k * s->ld + k];
        FN(give_vector)(item, place, s->d, diagonal);
    }
    for (ptrdiff_t i = 0; side->rank > 0 && FN(wants)(item, factor_place) && i < s->tiles; ++i) {
        const ptrdiff_t rows = extent(s, i);
        FN(multiply)(s, rows, side->rank, s->d, 2, (FN(operand)){g + i * BLOCK * s->ld, s->ld, 0},
                     (FN(operand)){side->factor, side->rank, 0}, 0, free, side->rank);
        for (ptrdiff_t r = 0; r < rows; ++r)
            FN(give_row)(item, factor_place, i * BLOCK + r, side->rank,
                         item->job->out[factor_place].across, free + r * side->rank);
    }
}

/* k_kk of N or M + y y^T, times this, in the units of the diagonal Gaussian's parameter */
static void FN(diagonal_gradient)(const FN(pair) *t, const FN(side) *side, int is_a, REAL weight,
                                  REAL *out) {
    const space *s = &t->s;
    char *work = t->work;
    double *sum = FN(take)(&work, (size_t)s->d, sizeof(double));
    for (ptrdiff_t k = 0; k < s->d; ++k)
        sum[k] = is_a ? 0 : (double)t->y[k] * (double)t->y[k];
    for (ptrdiff_t i = 0; i < s->d; ++i) {
        const REAL *x = t->x + i * s->ld;
        if (!is_a)
            sum[i] += FN(row_squares)(x, i);
        for (ptrdiff_t k = 0; is_a && k < i; ++k)
            sum[k] += (double)x[k] * (double)x[k];
    }
    for (ptrdiff_t k = 0; k < s->d; ++k) {
        /* 2 x_kk + x_kk^2 is one difference of pivots */
        const double half = (is_a ? 0.5 : -0.5) * (FN(pivot_excess)(t, k) + sum[k]);
        const double g = side->kind == GKL_VAR   ? half / side->pivot[k]
                         : side->kind == GKL_STD ? 2 * half / side->root[k]
                                                 : half;
        out[k] = FN(times)((REAL)g, weight);
    }
}

/* the gradient in the scale of A (role is_a) or B */
static void FN(scale_gradient)(const gkl_item *item, const FN(pair) *t, int is_a) {
    const space *s = &t->s;
    const FN(side) *side = is_a ? &t->a : &t->b;
    const int is_q = is_a == t->inverted, place = is_q ? 4 : 2;
    const int factor_place = is_q ? GKL_FACTOR_Q : GKL_FACTOR_P;
    const int low_rank = side->kind == GKL_LOW_RANK, tril = side->kind == GKL_TRIL;
    const REAL weight = FN(weight_of)(item), sign = is_a ? 1 : -1;
    char *work = t->work;
    if (side->kind == GKL_UNIT
        || !(FN(wants)(item, place) || (low_rank && FN(wants)(item, factor_place))))
        return;
    REAL *k = FN(take_matrix)(s, &work), *v = FN(take_matrix)(s, &work);
    REAL *b = FN(take_matrix)(s, &work);
    if (side->diagonal) {
        FN(diagonal_gradient)(t, side, is_a, weight, v);
        FN(give_vector)(item, place, s->d, v);
        return;
    }
    REAL *w = FN(take)(&work, (size_t)s->d, sizeof(REAL)),
         *u = FN(take)(&work, (size_t)s->d, sizeof(REAL));
    for (ptrdiff_t n = 0; n < s->d; ++n) {
        t->x[n * s->ld + n] = 0; /* nothing needs it any more */
        w[n] = (REAL)(t->a.root[n] / t->b.root[n]);
        u[n] = (REAL)FN(pivot_excess)(t, n);
    }
    FN(give_job) give = {.item = item, .s = s, .m = k, .factor = sign / 2, .weight = weight,
                         .lower = tril, .place = place};
    FN(square)(s, t->x, w, u, is_a || t->inverted ? NULL : t->y, is_a, !tril, k);
    if (side->kind == GKL_PRECISION && !t->inverted) {
        FN(product)(s, side->l, k, b);
        FN(congruence)(s, side->l, b, 0, k);
        give.factor = -sign / 2;
    } else if (tril) {
        FN(invert)(s, side->l, v);
        FN(triangle)(s, v, k, b);
        give.m = b;
        give.factor = sign;
    } else {
        FN(invert)(s, side->l, v);
        FN(product)(s, k, v, b);
        FN(congruence)(s, v, b, 1, k);
        give.plus = t->inverted && is_a ? t->delta : NULL;
    }
    run_tasks(s, s->tiles, FN(complete_task), &give);
    if (low_rank)
        FN(give_low_rank)(item, s, side, k, place, factor_place, v);
    else
        run_tasks(s, s->tiles, FN(give_task), &give);
}

static void FN(gradients)(const gkl_item *item, const FN(pair) *t) {
    const space *s = &t->s;
    const REAL weight = FN(weight_of)(item);
    char *work = t->work;
    FN(scale_gradient)(item, t, 1);
    FN(scale_gradient)(item, t, 0);
    REAL *z = FN(take)(&work, (size_t)s->d, sizeof(REAL));
    memcpy(z, t->y, (size_t)s->d * sizeof(REAL));
    if (t->inverted)
        FN(apply_side)(s, &t->a, TIMES, z);
    else
        FN(apply_side)(s, &t->b, SOLVE_TRANSPOSED, z);
    for (int place = 1; place <= 3; place += 2) {
        for (ptrdiff_t k = 0; k < s->d; ++k)
            z[k] = place == 1 ? FN(times)(z[k], weight) : -z[k];
        if (FN(wants)(item, place))
            FN(give_vector)(item, place, s->d, z);
    }
}
