/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Full covariances: p = N(mean_p, Sp), q = N(mean_q, Sq), one pair a lane.
 *
 * The covariances' share of KL is a function of two matrices, A = Sp and B = Sq, with the Cholesky
 * factors La and Lb:
 *
 *     W = Lb^-1 La = I + X,   w_kk^2 = 1 + u_k,   y = Lb^-1 (mean_p - mean_q)
 *     KL = 1/2 [sum_k phi(u_k) + sum_{i>k} w_ik^2 + |y|^2]            every summand >= 0
 *
 * For two precisions it is the same function of A = Sq^-1 and B = Sp^-1, with y = La^T delta.
 *
 * X = Lb^-1 Delta is found from the factors' difference Delta, so that nothing cancels where A is
 * close to B; there (rule C below) Delta comes from E = A - B without subtracting factors, and
 * elsewhere from the two factors.
 *
 *     N = X + X^T + X^T X,   M = X + X^T + X X^T
 *     d/dmean_p = Lb^-T y = -d/dmean_q
 *     d/dA = 1/2 La^-T N La^-1            d/dB = -1/2 Lb^-T (M + y y^T) Lb^-1      (symmetric)
 *     d/dLa = tril(La^-T N)               d/dLb = -tril(Lb^-T (M + y y^T))
 *     d/dA^-1 = -1/2 La N La^T            d/dB^-1 = 1/2 Lb (M + y y^T) Lb^T
 *     diagonal: d/dv_a = n_kk/(2 v_a)     d/dv_b = -(m_kk + y_k^2)/(2 v_b)
 *     A = F F^T + diag(v): d/dF = 2 (d/dA) F, d/dv = diag(d/dA)
 *     Jeffreys = 1/2 |X + (La^-1 Delta)^T|_F^2 + (|y|^2 + |La^-1 delta|^2)/2
 *
 * Parameters: real.h, the vector words, math.inc.h, lanes.inc.h, and TILE, see panels.inc.h.
 */
#ifndef TILE
#error kernels/full.inc.h needs TILE
#endif

#include "panels.inc.h"
#include "sides.inc.h"

/* Everything about a pair that results are made of. */
typedef struct {
    ptrdiff_t d, tiles;
    int inverted; /* A and B are precisions: q's and p's */
    FN(side) a, b;
    vec *x;       /* X */
    vec *excess;  /* differences of the pivots */
    vec *delta;   /* mean_p - mean_q */
    vec *y;
    vec *work;    /* what is free */
} FN(pair);

/* Rule C: is E = A - B so small, and are A and B so alike, that Delta should come from E?
 *     sum_ij e_ij^2/(b_ii b_jj) < 1/4 sum_ij b_ij^2/(b_ii b_jj)   and all pivots within [1/2, 2]
 * Elsewhere KL is at least 0.038 and the subtraction of factors loses nothing that matters. */
static mask FN(compare)(const FN(pair) *t) {
    vec *inverse = t->excess; /* not needed yet */
    vec difference = vset(0), size = vset(0);
    for (ptrdiff_t i = 0; i < t->tiles * TILE; ++i)
        inverse[i] = i < t->d ? vreciprocal(*FN(at)(t->b.l, i, i)) : vset(0);
    for (ptrdiff_t i = 0; i < t->tiles; ++i) {
        vec e_row[TILE], b_row[TILE];
        UNROLL for (int r = 0; r < TILE; ++r)
            e_row[r] = b_row[r] = vset(0);
        for (ptrdiff_t j = 0; j <= i; ++j) {
            const vec *a = FN(tile)(t->a.l, i, j), *b = FN(tile)(t->b.l, i, j);
            UNROLL for (int c = 0; c < TILE; ++c) {
                const vec once = inverse[j * TILE + c], twice = once + once;
                UNROLL for (int r = 0; r < TILE; ++r) {
                    const int n = c * TILE + r;
                    const vec weight = i == j && r == c ? once : twice, y = b[n], x = a[n] - y;
                    e_row[r] = vfma(x * weight, x, e_row[r]);
                    b_row[r] = vfma(y * weight, y, b_row[r]);
                }
            }
        }
        UNROLL for (int r = 0; r < TILE; ++r) {
            difference = vfma(e_row[r], inverse[i * TILE + r], difference);
            size = vfma(b_row[r], inverse[i * TILE + r], size);
        }
    }
    return vless(difference, vset((REAL)0.25) * size);
}

/* Delta of two matrices that are not factored, and the factors of both */
static void FN(relate_matrices)(FN(pair) *t, const int want_a) {
    const ptrdiff_t size = FN(triangle_size)(t->d), n = t->tiles * TILE;
    vec *la = t->a.l; /* the place of A, which is not needed after E */
    mask near = FN(compare)(t);
    vec *root = t->y; /* not needed yet */
    if (!vany(near)) {
        FN(factor_both)(&t->a, &t->b, t->d);
        if (!want_a && !t->a.given) /* in its place, so that less is in the cache */
            t->x = la;
        for (ptrdiff_t i = 0; i < size; ++i)
            t->x[i] = t->a.l[i] - t->b.l[i];
        for (ptrdiff_t k = t->d; t->x == la && k < n; ++k) /* which has been set once and for all */
            *FN(at)(la, k, k) = vset(1);
        for (ptrdiff_t k = 0; k < n; ++k)
            t->excess[k] = t->a.pivot[k] - t->b.pivot[k];
        return;
    }
    for (ptrdiff_t i = 0; i < size; ++i)
        t->x[i] = la[i] - t->b.l[i];
    FN(factor)(&t->b, t->d);
    FN(difference)(t->b.l, t->b.pivot, t->tiles, t->x, t->excess, root, &near);
    if (!vall(near)) {
        FN(factor)(&t->a, t->d);
        for (ptrdiff_t i = 0; i < size; ++i) {
            t->x[i] = vselect(near, t->x[i], t->a.l[i] - t->b.l[i]);
            la[i] = vselect(near, t->b.l[i] + t->x[i], t->a.l[i]);
        }
        for (ptrdiff_t k = 0; k < n; ++k) {
            t->excess[k] = vselect(near, t->excess[k], t->a.pivot[k] - t->b.pivot[k]);
            t->a.pivot[k] = vselect(near, t->b.pivot[k] + t->excess[k], t->a.pivot[k]);
            t->a.root[k] = vselect(near, root[k], t->a.root[k]);
        }
    } else {
        for (ptrdiff_t i = 0; want_a && i < size; ++i)
            la[i] = t->b.l[i] + t->x[i];
        for (ptrdiff_t k = 0; k < n; ++k) {
            t->a.pivot[k] = t->b.pivot[k] + t->excess[k];
            t->a.root[k] = root[k];
        }
    }
    t->a.l = la;
    for (ptrdiff_t k = 0; want_a && k < n; ++k)
        t->a.inverse[k] = vset(1) / t->a.root[k];
}

/* Delta of a diagonal and a matrix that is not factored.  The pivots' differences come from those
 * of the diagonals: pivot_k = s_kk - sum_j l_kj^2. */
static void FN(relate_diagonal)(FN(pair) *t) {
    FN(side) *m = t->a.diagonal ? &t->b : &t->a;
    const FN(side) *v = t->a.diagonal ? &t->a : &t->b;
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k)
        t->excess[k] = *FN(at)(m->l, k, k) - v->pivot[k];
    FN(factor)(m, t->d);
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k) {
        vec sum = vset(0);
        for (ptrdiff_t j = 0; j < k; ++j)
            sum = vfma(*FN(at)(m->l, k, j), *FN(at)(m->l, k, j), sum);
        t->excess[k] = t->a.diagonal ? sum - t->excess[k] : t->excess[k] - sum;
    }
    for (ptrdiff_t i = 0; i < FN(triangle_size)(t->d); ++i)
        t->x[i] = t->a.diagonal ? -m->l[i] : m->l[i];
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k)
        *FN(at)(t->x, k, k) = t->excess[k] / (t->a.root[k] + t->b.root[k]);
}

/* Delta of two factors; one may be diagonal */
static void FN(relate_factors)(FN(pair) *t) {
    FN(factor_both)(&t->a, &t->b, t->d);
    for (ptrdiff_t i = 0; i < FN(triangle_size)(t->d); ++i) {
        const vec a = t->a.diagonal ? vset(0) : t->a.l[i], b = t->b.diagonal ? vset(0) : t->b.l[i];
        t->x[i] = a - b;
    }
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k) {
        const vec difference = t->a.root[k] - t->b.root[k];
        *FN(at)(t->x, k, k) = difference;
        t->excess[k] = difference * (t->a.root[k] + t->b.root[k]);
    }
}

/* L^-1 X in place, X lower triangular */
static void FN(whiten)(const FN(side) *s, ptrdiff_t d, vec *x) {
    if (!s->diagonal) {
        FN(solve)(s->l, s->inverse, FN(tiles)(d), x);
        return;
    }
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            *FN(at)(x, i, j) = *FN(at)(x, i, j) * s->inverse[i];
}

/* the sum of the squares below the diagonal, column by column */
static void FN(add_squares)(const vec *m, ptrdiff_t tiles, FN(tally) *total) {
    for (ptrdiff_t j = 0; j < tiles; ++j) {
        vec s[TILE * TILE] = {{0}};
        for (ptrdiff_t i = j; i < tiles; ++i) {
            const vec *x = FN(tile)(m, i, j);
            UNROLL for (int c = 0; c < TILE; ++c)
                UNROLL for (int r = 0; r < TILE; ++r)
                    if (j < i || r > c)
                        s[c * TILE + r] = vfma(x[c * TILE + r], x[c * TILE + r], s[c * TILE + r]);
        }
        UNROLL for (int c = 0; c < TILE; ++c) {
            vec sum = s[c * TILE];
            UNROLL for (int r = 1; r < TILE; ++r)
                sum = sum + s[c * TILE + r];
            FN(tally_add)(total, sum);
        }
    }
}

static void FN(add_vector_squares)(const vec *y, ptrdiff_t d, FN(tally) *total) {
    for (ptrdiff_t k = 0; k < d; ++k)
        FN(tally_add)(total, y[k] * y[k]);
}

/* from the operands to Delta, X and y */
static FN(pair) FN(read_pair)(const gkl_group *g) {
    const ptrdiff_t d = g->dim, n = FN(tiles)(d) * TILE;
    const int inverted = g->p == GKL_PRECISION && g->q == GKL_PRECISION;
    vec *work = g->work;
    const vec *mean_p = g->in[0], *mean_q = g->in[2];
    FN(pair) t = {.d = d, .tiles = FN(tiles)(d), .inverted = inverted};
    t.delta = FN(take)(&work, n);
    t.y = FN(take)(&work, n);
    t.excess = FN(take)(&work, n);
    t.x = FN(take)(&work, FN(triangle_size)(d));
    FN(read_side)(&t.a, g, inverted, inverted, &work);
    FN(read_side)(&t.b, g, !inverted, inverted, &work);
    t.work = work;

    if (!t.a.factored && !t.b.factored)
        FN(relate_matrices)(&t, inverted || g->output == GKL_GRAD || g->output == GKL_JEFFREYS);
    else if ((t.a.diagonal && !t.b.factored) || (t.b.diagonal && !t.a.factored))
        FN(relate_diagonal)(&t);
    else
        FN(relate_factors)(&t);
    if (g->output == GKL_JEFFREYS) { /* La^-1 Delta, too */
        memcpy(work, t.x, (size_t)FN(triangle_size)(d) * sizeof(vec));
        FN(whiten)(&t.a, d, work);
    }
    FN(whiten)(&t.b, d, t.x);

    for (ptrdiff_t k = 0; k < d; ++k)
        t.y[k] = t.delta[k] = mean_q ? mean_p[k] - mean_q[k] : mean_p[k];
    if (inverted)
        FN(apply)(&t.a, d, TIMES_TRANSPOSED, t.y);
    else
        FN(apply)(&t.b, d, SOLVE, t.y);
    return t;
}

/* The shares of the covariances and of the means in twice KL. */
typedef struct {
    FN(tally) cov, mean;
} FN(shares);

/* The same of any pivots.  The square of a given root may be out of range; then the roots tell. */
static FN(ratio) FN(pivot_ratio_careful)(const FN(pair) *t, ptrdiff_t k) {
    const vec a = t->a.pivot[k], b = t->b.pivot[k], zero = vset(0), low = vset(SMALLEST_NORMAL);
    const mask inside = vboth(vboth(vless_equal(low, a), vless_equal(low, b)),
                              vless_equal(vmax(a, b), vset(LARGEST)));
    vec of_a, of_b;
    const vec m = vsplit(t->a.root[k], &of_a), n = vsplit(t->b.root[k], &of_b);
    const vec l = vscale(m, vmin(vmax(of_a - of_b, vset(-EXPONENT_BIAS)), vset(EXPONENT_BIAS)));
    return FN(ratio_careful)(
        vselect(inside, a, l * l), vselect(inside, b, n * n),
        vselect(inside, t->excess[k], (l - n) * (l + n)), OF_DIFFERENCE,
        vselect(inside, a, m * m), vselect(inside, b, n * n),
        vselect(inside, zero, (of_a - of_b) + (of_a - of_b)), 0);
}

/* what the pivots k of A and B, and their logarithms, are to each other */
INLINE FN(ratio) FN(pivot_ratio)(const FN(pair) *t, ptrdiff_t k) {
    const vec a = t->a.pivot[k], b = t->b.pivot[k], low = vset(ORDINARY_LOW);
    const mask plain = vboth(vboth(vless(low, a), vless(low, b)),
                             vless(vmax(a, b), vset(ORDINARY_HIGH)));
    const vec inverse = t->b.inverse[k] * t->b.inverse[k];
    FN(ratio) r = FN(ratio_ordinary)(a, b, inverse, t->excess[k], OF_DIFFERENCE, 0);
    if (__builtin_expect(!vall(plain), 0)) {
        const FN(ratio) s = FN(pivot_ratio_careful)(t, k);
        r.ratio = vselect(plain, r.ratio, s.ratio);
        r.log = vselect(plain, r.log, s.log);
        r.phi = vselect(plain, r.phi, s.phi);
    }
    return r;
}

static FN(shares) FN(divide)(const FN(pair) *t) {
    FN(shares) s;
    memset(&s, 0, sizeof s);
    FN(add_squares)(t->x, t->tiles, &s.cov);
    for (ptrdiff_t k = 0; k < t->d; ++k)
        FN(tally_add)(&s.cov, FN(pivot_ratio)(t, k).phi);
    FN(add_vector_squares)(t->y, t->d, &s.mean);
    return s;
}

INLINE vec FN(kl)(const FN(shares) *s) {
    return FN(tally_total)(&s->cov, (REAL)0.5) + FN(tally_total)(&s->mean, (REAL)0.5);
}
