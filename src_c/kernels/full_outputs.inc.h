/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is made of a pair of full.inc.h besides the value: terms, Jeffreys and cross-entropy,
 * gradients; and what there is of a single Gaussian.  The formulas are those of full.inc.h.
 */
#ifndef TILE
#error kernels/full_outputs.inc.h needs TILE
#endif

#include "congruence.inc.h"

INLINE void FN(put)(const gkl_group *g, int place, vec x) {
    if (g->out[place])
        *(vec *)g->out[place] = x;
}

/* of the pivots; where their squares are out of range, of the roots */
static void FN(add_logs)(const FN(side) *s, ptrdiff_t d, REAL sign, FN(tally) *total) {
    for (ptrdiff_t k = 0; k < d; ++k) {
        const mask inside = vboth(vless_equal(vset(SMALLEST_NORMAL), s->pivot[k]),
                                  vless_equal(s->pivot[k], vset(LARGEST)));
        const vec times = vselect(inside, vset(sign), vset(2 * sign));
        vec low;
        const vec high = FN(log_parts)(vselect(inside, s->pivot[k], s->root[k]), &low);
        FN(tally_add)(total, times * high);
        FN(tally_add)(total, times * low);
    }
}

/* The share of the covariances in twice the Jeffreys divergence, and the mean's the other way.
 * X is lower triangular and (La^-1 Delta)^T, which is in the work space, upper: they meet on the
 * diagonal, in w_kk - 1/w_kk, w_kk = 1 + x_kk. */
static void FN(add_jeffreys)(const FN(pair) *t, FN(shares) *s) {
    vec *xi = t->work, *y = xi + FN(triangle_size)(t->d);
    for (ptrdiff_t k = 0; k < t->d; ++k) {
        const vec x = *FN(at)(t->x, k, k), w = vfma(x, x, x + x) * (t->b.root[k] / t->a.root[k]);
        FN(tally_add)(&s->cov, w * w);
    }
    FN(add_squares)(t->x, t->tiles, &s->cov);
    FN(add_squares)(xi, t->tiles, &s->cov);
    memcpy(y, t->delta, (size_t)t->d * sizeof(vec));
    if (t->inverted)
        FN(apply)(&t->b, t->d, TIMES_TRANSPOSED, y);
    else
        FN(apply)(&t->a, t->d, SOLVE, y);
    FN(add_vector_squares)(y, t->d, &s->mean);
}

/* the divergences, from X, y and the pivots */
static void FN(values)(const gkl_group *g, const FN(pair) *t) {
    const vec half = vset((REAL)0.5);
    const FN(shares) s = FN(divide)(t);
    const mask both = vboth(FN(definite)(&t->a, t->d), FN(definite)(&t->b, t->d));
    if (g->output == GKL_VALUE || g->output == GKL_GRAD) {
        FN(put)(g, 0, FN(where)(both, FN(kl)(&s)));
        return;
    }
    FN(shares) other;
    memset(&other, 0, sizeof other);
    if (g->output == GKL_JEFFREYS) {
        other.mean = s.mean;
        FN(add_jeffreys)(t, &other);
        FN(put)(g, 0, FN(where)(both, FN(kl)(&other)));
        return;
    }
    FN(tally) trace = other.cov, logdet = other.cov, logs = other.cov;
    FN(add_squares)(t->x, t->tiles, &trace);
    for (ptrdiff_t k = 0; k < t->d; ++k) {
        const FN(ratio) r = FN(pivot_ratio)(t, k);
        FN(tally_add)(&trace, r.ratio);
        FN(tally_add)(&logdet, -r.log);
    }
    if (g->output == GKL_CROSS) {
        FN(add_logs)(t->inverted ? &t->a : &t->b, t->d, t->inverted ? -1 : 1, &logs);
        const vec value =
            half * (FN(tally_total)(&logs, 1) + vset((REAL)t->d * LOG_2_PI))
            + (FN(tally_total)(&trace, (REAL)0.5) + FN(tally_total)(&s.mean, (REAL)0.5));
        FN(put)(g, 0, FN(where)(both, value));
        return;
    }
    const vec terms[] = {FN(tally_total)(&s.mean, 1),         FN(tally_total)(&trace, 1),
                         FN(tally_total)(&logdet, 1),         FN(kl)(&s),
                         FN(tally_total)(&s.mean, (REAL)0.5), FN(tally_total)(&s.cov, (REAL)0.5)};
    for (int k = 0; k < COUNT(terms); ++k)
        FN(put)(g, k, FN(where)(both, terms[k]));
}

/* k_kk of N or M + y y^T, times this, in the units of the diagonal Gaussian's parameter */
static void FN(diagonal_gradient)(const FN(pair) *t, const FN(side) *s, const int is_a, REAL sign,
                                  vec *out) {
    for (ptrdiff_t k = 0; k < t->d; ++k) {
        const vec x = *FN(at)(t->x, k, k);
        vec sum = is_a ? vset(0) : t->y[k] * t->y[k];
        for (ptrdiff_t i = is_a ? k + 1 : 0; i < (is_a ? t->d : k); ++i) {
            const vec z = is_a ? *FN(at)(t->x, i, k) : *FN(at)(t->x, k, i);
            sum = vfma(z, z, sum);
        }
        /* 2 x + x^2 as one difference of pivots */
        const vec half = vset((REAL)0.5 * sign) * (vfma(x, x, x + x) + sum);
        out[k] = s->kind == GKL_VAR   ? half / s->pivot[k]
                 : s->kind == GKL_STD ? (half + half) / s->root[k]
                                      : half;
    }
}

/* the gradient in the scale of A (role is_a) or B; matrices in panels */
static void FN(scale_gradient)(const gkl_group *g, const FN(pair) *t, const int is_a) {
    const FN(side) *s = is_a ? &t->a : &t->b;
    const int is_q = is_a == t->inverted;
    const ptrdiff_t d = t->d, size = FN(triangle_size)(d);
    vec *out = g->out[is_q ? 4 : 2], *out_factor = g->out[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P];
    const REAL sign = is_a ? 1 : -1;
    if (!out && !out_factor)
        return;
    if (s->diagonal) {
        FN(diagonal_gradient)(t, s, is_a, sign, out);
        return;
    }
    vec *k = t->work, *v = k + size, *b = v + size;
    FN(square)(t->x, t->tiles, is_a, k);
    if (!is_a && !t->inverted)
        for (ptrdiff_t i = 0; i < d; ++i)
            for (ptrdiff_t j = 0; j <= i; ++j)
                *FN(at)(k, i, j) = vfma(t->y[i], t->y[j], *FN(at)(k, i, j));
    if (s->kind == GKL_PRECISION && !t->inverted) {
        FN(halve)(k, t->tiles);
        FN(product)(s->l, k, t->tiles, b);
        FN(congruence)(s->l, b, t->tiles, 0, out);
        for (ptrdiff_t i = 0; i < size; ++i)
            out[i] = vset((REAL)-0.5 * sign) * out[i];
        return;
    }
    FN(invert)(s->l, s->inverse, t->tiles, v);
    if (s->kind == GKL_TRIL) {
        FN(triangle)(v, k, t->tiles, out);
        for (ptrdiff_t i = 0; i < size; ++i)
            out[i] = vset(sign) * out[i];
        return;
    }
    vec *gradient = s->kind == GKL_LOW_RANK ? k : out;
    FN(halve)(k, t->tiles);
    FN(product)(k, v, t->tiles, b);
    FN(congruence)(v, b, t->tiles, 1, gradient);
    for (ptrdiff_t i = 0; i < size; ++i)
        gradient[i] = vset((REAL)0.5 * sign) * gradient[i];
    if (t->inverted && is_a)
        for (ptrdiff_t i = 0; i < d; ++i)
            for (ptrdiff_t j = 0; j <= i; ++j)
                *FN(at)(gradient, i, j) = vfma(vset((REAL)0.5) * t->delta[i], t->delta[j],
                                               *FN(at)(gradient, i, j));
    if (s->kind != GKL_LOW_RANK)
        return;
    const ptrdiff_t rank = is_q ? g->rank_q : g->rank_p;
    const vec *factor = g->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P];
    for (ptrdiff_t i = 0; i < d; ++i) {
        if (out)
            out[i] = *FN(at)(gradient, i, i);
        for (ptrdiff_t r = 0; out_factor && r < rank; ++r) {
            vec sum = vset(0);
            for (ptrdiff_t j = 0; j < d; ++j)
                sum = vfma(*(j <= i ? FN(at)(gradient, i, j) : FN(at)(gradient, j, i)),
                           factor[j * rank + r], sum);
            out_factor[i * rank + r] = sum + sum;
        }
    }
}

static void FN(gradients)(const gkl_group *g, const FN(pair) *t) {
    const ptrdiff_t d = t->d;
    FN(scale_gradient)(g, t, 1);
    FN(scale_gradient)(g, t, 0);
    vec *d_mean_p = g->out[1], *d_mean_q = g->out[3], *z = t->y;
    if (t->inverted)
        FN(apply)(&t->a, d, TIMES, z);
    else
        FN(apply)(&t->b, d, SOLVE_TRANSPOSED, z);
    for (ptrdiff_t k = 0; k < d; ++k) {
        if (d_mean_p)
            d_mean_p[k] = z[k];
        if (d_mean_q)
            d_mean_q[k] = -z[k];
    }
}

/* one Gaussian: its entropy, or its factor */
static void FN(single)(const gkl_group *g) {
    const ptrdiff_t d = g->dim;
    vec *work = g->work;
    FN(side) s;
    FN(read_side)(&s, g, 0, g->output == GKL_ENTROPY || g->q != GKL_TRIL, &work);
    FN(factor)(&s, d);
    if (g->output == GKL_FACTOR) {
        memcpy(g->out[0], s.l, (size_t)FN(triangle_size)(d) * sizeof(vec));
        *(vec *)g->out[0] = FN(where)(FN(definite)(&s, d), d > 0 ? *(vec *)g->out[0] : vset(0));
        return;
    }
    FN(tally) logs;
    memset(&logs, 0, sizeof logs);
    FN(add_logs)(&s, d, g->p == GKL_PRECISION ? -1 : 1, &logs);
    vec value = vset((REAL)0.5) * (FN(tally_total)(&logs, 1) + vset((REAL)d * (1 + LOG_2_PI)));
    value = FN(where)(FN(definite)(&s, d), value);
    for (ptrdiff_t i = 0; i < FN(triangle_size)(d); ++i) /* NaN where a factor is not finite */
        value = vfma(s.l[i], vset(0), value);
    FN(put)(g, 0, value);
}

/* The most frequent work on the smallest matrices, those of one tile: here the compiler knows as much,
 * and every loop over tiles goes away.  (With two tiles it only takes more code.) */
INLINE int FN(is_smallest)(const gkl_group *g) {
    return g->dim > 0 && g->dim <= TILE && g->p == GKL_COV && g->q == GKL_COV
           && g->output == GKL_VALUE;
}

static void __attribute__((flatten)) FN(smallest)(const gkl_group *g) {
    if (!FN(is_smallest)(g))
        __builtin_unreachable();
    const FN(pair) t = FN(read_pair)(g);
    FN(values)(g, &t);
}

static void FN(full_group)(const gkl_group *g) {
    if (FN(is_smallest)(g)) {
        FN(smallest)(g);
        return;
    }
    if (g->output == GKL_ENTROPY || g->output == GKL_FACTOR) {
        FN(single)(g);
        return;
    }
    const FN(pair) t = FN(read_pair)(g);
    FN(values)(g, &t);
    if (g->output == GKL_GRAD)
        FN(gradients)(g, &t);
}

/* vectors that full_group works in */
static ptrdiff_t FN(full_work)(const gkl_group *g) {
    const ptrdiff_t size = FN(triangle_size)(g->dim), n = FN(tiles)(g->dim) * TILE;
    const int low_rank = (g->p == GKL_LOW_RANK) + (g->q == GKL_LOW_RANK);
    const int free = g->output == GKL_GRAD || g->output == GKL_JEFFREYS ? 3
                     : g->p == GKL_PRECISION || g->q == GKL_PRECISION   ? 2
                                                                        : 0;
    return 9 * n + (1 + low_rank + free) * size + n;
}
