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
 *     Jeffreys = 1/2 |X + (W^-1 X)^T|_F^2 + (|y|^2 + |La^-1 delta|^2)/2
 *
 * Parameters: real.h, the vector words, math.inc.h, lanes.inc.h, panels.inc.h with its TILE.
 */
#ifndef TILE
#error kernels/full.inc.h needs TILE
#endif

/* A Gaussian's part in the group: La or Lb, in panels or as the diagonal that it is */
typedef struct {
    gkl_kind kind;
    int diagonal;
    int factored;     /* l holds the factor */
    vec *l;           /* the matrix, then its factor */
    const vec *given; /* its factor, when the caller has it */
    vec *root;        /* diagonal of the factor, */
    vec *pivot;       /* its square, */
    vec *inverse;     /* and its inverse */
} TN(side);

/* what the work vectors are handed out from */
INLINE vec *TN(take)(vec **work, ptrdiff_t n) {
    vec *const mine = *work;
    *work += n;
    return mine;
}

INLINE ptrdiff_t TN(tiles)(ptrdiff_t d) { return (d + TILE - 1) / TILE; }

INLINE ptrdiff_t TN(triangle_size)(ptrdiff_t d) {
    return TN(tiles)(d) * (TN(tiles)(d) + 1) / 2 * TILE * TILE;
}

/* the identity where the matrix has been filled up to whole tiles */
static void TN(fill_up)(vec *m, ptrdiff_t d) {
    for (ptrdiff_t i = d; i < TN(tiles)(d) * TILE; ++i)
        for (ptrdiff_t j = 0; j < TN(tiles)(d) * TILE; ++j)
            if (j <= i || j / TILE == i / TILE)
                *TN(at)(m, i, j) = vset(i == j);
}

/* m(i, j) = from(d - 1 - j, d - 1 - i): J M^T J with J the reversal, lower triangular again */
static void TN(reverse)(const vec *from, ptrdiff_t d, vec *m) {
    memset(m, 0, (size_t)TN(triangle_size)(d) * sizeof(vec));
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            *TN(at)(m, i, j) = *TN(at)(from, d - 1 - j, d - 1 - i);
    TN(fill_up)(m, d);
}

/* root, pivot and inverse of a factor that is given */
static void TN(read_diagonal)(TN(side) *s, ptrdiff_t d) {
    for (ptrdiff_t k = 0; k < TN(tiles)(d) * TILE; ++k) {
        const vec l = *TN(at)(s->l, k, k);
        s->root[k] = l;
        s->inverse[k] = vset(1) / l;
        s->pivot[k] = vselect(vpositive(l), l * l, vset((REAL)NAN));
    }
    s->factored = 1;
}

static void TN(factor)(TN(side) *s, ptrdiff_t d) {
    if (s->factored)
        return;
    if (s->given) {
        memcpy(s->l, s->given, (size_t)TN(triangle_size)(d) * sizeof(vec));
        TN(read_diagonal)(s, d);
        return;
    }
    TN(cholesky)(s->l, TN(tiles)(d), s->pivot, s->inverse);
    for (ptrdiff_t k = 0; k < TN(tiles)(d) * TILE; ++k)
        s->root[k] = *TN(at)(s->l, k, k);
    s->factored = 1;
}

/* Lambda = U U^T with U upper triangular, by the Cholesky factor C of J Lambda J; then U^-T is a
 * lower factor of the covariance, J C^-T J */
static void TN(invert_precision)(TN(side) *s, ptrdiff_t d, vec *work) {
    TN(reverse)(s->l, d, work);
    TN(cholesky)(work, TN(tiles)(d), s->pivot, s->inverse);
    vec *inverse = work + TN(triangle_size)(d);
    TN(invert)(work, s->inverse, TN(tiles)(d), inverse);
    TN(reverse)(inverse, d, s->l);
    TN(read_diagonal)(s, d);
}

/* F F^T + diag(v) */
static void TN(expand)(TN(side) *s, ptrdiff_t d, ptrdiff_t rank, const vec *factor, const vec *v) {
    memset(s->l, 0, (size_t)TN(triangle_size)(d) * sizeof(vec));
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j) {
            vec sum = i == j ? vselect(vpositive(v[i]), v[i], vset((REAL)NAN)) : vset(0);
            for (ptrdiff_t r = 0; r < rank; ++r)
                sum = vfma(factor[i * rank + r], factor[j * rank + r], sum);
            *TN(at)(s->l, i, j) = sum;
        }
    TN(fill_up)(s->l, d);
}

/* standard deviations and variances of a diagonal Gaussian */
static void TN(read_scale)(TN(side) *s, ptrdiff_t d, const vec *scale) {
    const vec one = vset(1), half = vset((REAL)0.5);
    s->diagonal = s->factored = 1;
    for (ptrdiff_t k = 0; k < TN(tiles)(d) * TILE; ++k) {
        vec v = one, root = one, e;
        if (k < d && s->kind == GKL_VAR) {
            v = scale[k];
            root = vsqrt(v);
        } else if (k < d && s->kind == GKL_STD) {
            root = scale[k];
            v = vselect(vpositive(root), root * root, vset((REAL)NAN));
        } else if (k < d && s->kind == GKL_LOGVAR) {
            const vec growth = one + FN(exp_parts)(scale[k], &e, 1);
            v = vscale(growth, e + e);
            const vec half_growth = one + FN(exp_parts)(half * scale[k], &e, 1);
            root = vscale(half_growth, e + e);
        }
        s->root[k] = root;
        s->pivot[k] = v;
        s->inverse[k] = one / root;
    }
}

/* `inverted`: a precision stays one */
static TN(side) TN(read_side)(const gkl_group *g, const int is_q, int inverted, vec **work) {
    const ptrdiff_t d = g->dim, n = TN(tiles)(d) * TILE;
    const gkl_kind kind = is_q ? g->q : g->p;
    vec *scale = g->in[is_q ? 3 : 1], *factor = g->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P];
    TN(side) s = {.kind = kind, .l = scale, .given = factor, .root = TN(take)(work, n), .pivot = TN(take)(work, n),
                  .inverse = TN(take)(work, n)};
    if (kind <= GKL_UNIT) {
        TN(read_scale)(&s, d, scale);
    } else if (kind == GKL_LOW_RANK) {
        s.given = NULL;
        s.l = TN(take)(work, TN(triangle_size)(d));
        TN(expand)(&s, d, is_q ? g->rank_q : g->rank_p, factor, scale);
    } else if (kind == GKL_TRIL) {
        TN(read_diagonal)(&s, d);
    } else if (kind == GKL_PRECISION && !inverted) {
        TN(invert_precision)(&s, d, *work);
    }
    return s;
}

/* Everything about a pair that results are made of. */
typedef struct {
    ptrdiff_t d, tiles;
    int inverted; /* A and B are precisions: q's and p's */
    TN(side) a, b;
    vec *x;       /* X */
    vec *excess;  /* differences of the pivots */
    vec *delta;   /* mean_p - mean_q */
    vec *y;
    vec *work;    /* what is free */
} TN(pair);

/* Rule C: is E = A - B so small, and are A and B so alike, that Delta should come from E?
 *     sum_ij e_ij^2/(b_ii b_jj) < 1/4 sum_ij b_ij^2/(b_ii b_jj)   and all pivots within [1/2, 2]
 * Elsewhere KL is at least 0.038 and the subtraction of factors loses nothing that matters. E is
 * left in x. */
static mask TN(compare)(TN(pair) *t) {
    vec *inverse = t->excess; /* not needed yet */
    vec difference = vset(0), size = vset(0);
    for (ptrdiff_t i = 0; i < t->d; ++i)
        inverse[i] = vset(1) / *TN(at)(t->b.l, i, i);
    for (ptrdiff_t i = 0; i < t->d; ++i) {
        vec e_row = vset(0), b_row = vset(0);
        for (ptrdiff_t j = 0; j <= i; ++j) {
            const vec b = *TN(at)(t->b.l, i, j), e = *TN(at)(t->a.l, i, j) - b;
            const vec weight = j < i ? inverse[j] + inverse[j] : inverse[j];
            e_row = vfma(e * weight, e, e_row);
            b_row = vfma(b * weight, b, b_row);
        }
        difference = vfma(e_row, inverse[i], difference);
        size = vfma(b_row, inverse[i], size);
    }
    for (ptrdiff_t i = 0; i < TN(triangle_size)(t->d); ++i)
        t->x[i] = t->a.l[i] - t->b.l[i];
    return vless(difference, vset((REAL)0.25) * size);
}

/* Delta of two matrices that are not factored, and the factors of both */
static void TN(relate_matrices)(TN(pair) *t, const int want_a) {
    const ptrdiff_t size = TN(triangle_size)(t->d), n = t->tiles * TILE;
    mask near = TN(compare)(t);
    TN(factor)(&t->b, t->d);
    vec *root = t->y; /* not needed yet */
    if (vany(near))
        TN(difference)(t->b.l, t->b.pivot, t->tiles, t->x, t->excess, root, &near);
    if (!vall(near)) {
        TN(factor)(&t->a, t->d);
        for (ptrdiff_t i = 0; i < size; ++i) {
            t->x[i] = vselect(near, t->x[i], t->a.l[i] - t->b.l[i]);
            t->a.l[i] = vselect(near, t->b.l[i] + t->x[i], t->a.l[i]);
        }
        for (ptrdiff_t k = 0; k < n; ++k) {
            t->excess[k] = vselect(near, t->excess[k], t->a.pivot[k] - t->b.pivot[k]);
            t->a.pivot[k] = vselect(near, t->b.pivot[k] + t->excess[k], t->a.pivot[k]);
            t->a.root[k] = vselect(near, root[k], t->a.root[k]);
        }
    } else {
        for (ptrdiff_t i = 0; want_a && i < size; ++i)
            t->a.l[i] = t->b.l[i] + t->x[i];
        for (ptrdiff_t k = 0; k < n; ++k) {
            t->a.pivot[k] = t->b.pivot[k] + t->excess[k];
            t->a.root[k] = root[k];
        }
    }
    for (ptrdiff_t k = 0; k < n; ++k)
        t->a.inverse[k] = vset(1) / t->a.root[k];
}

/* Delta of a diagonal and a matrix that is not factored.  The pivots' differences come from those
 * of the diagonals: pivot_k = s_kk - sum_j l_kj^2. */
static void TN(relate_diagonal)(TN(pair) *t) {
    TN(side) *m = t->a.diagonal ? &t->b : &t->a;
    const TN(side) *v = t->a.diagonal ? &t->a : &t->b;
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k)
        t->excess[k] = *TN(at)(m->l, k, k) - v->pivot[k];
    TN(factor)(m, t->d);
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k) {
        vec sum = vset(0);
        for (ptrdiff_t j = 0; j < k; ++j)
            sum = vfma(*TN(at)(m->l, k, j), *TN(at)(m->l, k, j), sum);
        t->excess[k] = t->a.diagonal ? sum - t->excess[k] : t->excess[k] - sum;
    }
    for (ptrdiff_t i = 0; i < TN(triangle_size)(t->d); ++i)
        t->x[i] = t->a.diagonal ? -m->l[i] : m->l[i];
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k)
        *TN(at)(t->x, k, k) = t->excess[k] / (t->a.root[k] + t->b.root[k]);
}

/* Delta of two factors; one may be diagonal */
static void TN(relate_factors)(TN(pair) *t) {
    TN(factor)(&t->a, t->d);
    TN(factor)(&t->b, t->d);
    for (ptrdiff_t i = 0; i < TN(triangle_size)(t->d); ++i) {
        const vec a = t->a.diagonal ? vset(0) : t->a.l[i], b = t->b.diagonal ? vset(0) : t->b.l[i];
        t->x[i] = a - b;
    }
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k) {
        const vec difference = t->a.root[k] - t->b.root[k];
        *TN(at)(t->x, k, k) = difference;
        t->excess[k] = difference * (t->a.root[k] + t->b.root[k]);
    }
}

/* X = Lb^-1 Delta */
static void TN(whiten)(TN(pair) *t) {
    if (!t->b.diagonal) {
        TN(solve)(t->b.l, t->b.inverse, t->tiles, t->x);
        return;
    }
    for (ptrdiff_t i = 0; i < t->d; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            *TN(at)(t->x, i, j) = *TN(at)(t->x, i, j) * t->b.inverse[i];
}

/* z = L^-1 z, L z, L^-T z or L^T z in place */
static void TN(apply)(const TN(side) *s, ptrdiff_t d, const factor_use how, vec *z) {
    if (s->diagonal) {
        for (ptrdiff_t k = 0; k < d; ++k)
            z[k] = z[k] * (how == SOLVE || how == SOLVE_TRANSPOSED ? s->inverse[k] : s->root[k]);
        return;
    }
    const int upwards = how == SOLVE_TRANSPOSED || how == TIMES;
    for (ptrdiff_t n = 0; n < d; ++n) {
        const ptrdiff_t i = upwards ? d - 1 - n : n;
        vec sum = how == SOLVE || how == SOLVE_TRANSPOSED ? z[i] : s->root[i] * z[i];
        if (how == SOLVE)
            for (ptrdiff_t k = 0; k < i; ++k)
                sum = vfma(-*TN(at)(s->l, i, k), z[k], sum);
        if (how == SOLVE_TRANSPOSED)
            for (ptrdiff_t k = i + 1; k < d; ++k)
                sum = vfma(-*TN(at)(s->l, k, i), z[k], sum);
        if (how == TIMES)
            for (ptrdiff_t k = 0; k < i; ++k)
                sum = vfma(*TN(at)(s->l, i, k), z[k], sum);
        if (how == TIMES_TRANSPOSED)
            for (ptrdiff_t k = i + 1; k < d; ++k)
                sum = vfma(*TN(at)(s->l, k, i), z[k], sum);
        z[i] = how == SOLVE || how == SOLVE_TRANSPOSED ? sum * s->inverse[i] : sum;
    }
}

/* sum of the squares below the diagonal, with a diagonal of its own for each k */
static void TN(add_squares)(const vec *m, ptrdiff_t d, FN(tally) *total) {
    for (ptrdiff_t k = 0; k < d; ++k) {
        vec s[4] = {vset(0), vset(0), vset(0), vset(0)};
        for (ptrdiff_t i = k + 1; i < d; ++i) {
            const vec x = *TN(at)(m, i, k);
            s[i % 4] = vfma(x, x, s[i % 4]);
        }
        FN(tally_add)(total, (s[0] + s[1]) + (s[2] + s[3]));
    }
}

static void TN(add_vector_squares)(const vec *y, ptrdiff_t d, FN(tally) *total) {
    for (ptrdiff_t k = 0; k < d; ++k)
        FN(tally_add)(total, y[k] * y[k]);
}

/* from the operands to Delta, X and y */
static TN(pair) TN(read_pair)(const gkl_group *g) {
    const ptrdiff_t d = g->dim, n = TN(tiles)(d) * TILE;
    const int inverted = g->p == GKL_PRECISION && g->q == GKL_PRECISION;
    vec *work = g->work;
    const vec *mean_p = g->in[0], *mean_q = g->in[2];
    TN(pair) t = {.d = d, .tiles = TN(tiles)(d), .inverted = inverted};
    t.delta = TN(take)(&work, n);
    t.y = TN(take)(&work, n);
    t.excess = TN(take)(&work, n);
    t.x = TN(take)(&work, TN(triangle_size)(d));
    t.a = TN(read_side)(g, inverted, inverted, &work);
    t.b = TN(read_side)(g, !inverted, inverted, &work);
    t.work = work;

    if (!t.a.factored && !t.b.factored)
        TN(relate_matrices)(&t, inverted || g->output == GKL_GRAD);
    else if ((t.a.diagonal && !t.b.factored) || (t.b.diagonal && !t.a.factored))
        TN(relate_diagonal)(&t);
    else
        TN(relate_factors)(&t);
    TN(whiten)(&t);

    for (ptrdiff_t k = 0; k < d; ++k)
        t.y[k] = t.delta[k] = mean_q ? mean_p[k] - mean_q[k] : mean_p[k];
    if (inverted)
        TN(apply)(&t.a, d, TIMES_TRANSPOSED, t.y);
    else
        TN(apply)(&t.b, d, SOLVE, t.y);
    return t;
}

/* NaN where a pivot is not positive */
static vec TN(checked)(const TN(side) *s, ptrdiff_t d, vec value) {
    mask good = vless(vset(0), vset(1));
    for (ptrdiff_t k = 0; k < d; ++k)
        good = vboth(good, vpositive(s->pivot[k]));
    return vselect(good, value, vset((REAL)NAN));
}

static void TN(add_logs)(const vec *pivot, ptrdiff_t d, REAL sign, FN(tally) *total) {
    for (ptrdiff_t k = 0; k < d; ++k) {
        vec low;
        const vec high = FN(log_parts)(pivot[k], &low);
        FN(tally_add)(total, vset(sign) * high);
        FN(tally_add)(total, vset(sign) * low);
    }
}

/* the share of the covariances in twice the Jeffreys divergence, and the mean's the other way */
static void TN(add_jeffreys)(const TN(pair) *t, FN(tally) *total, FN(tally) *mean) {
    const ptrdiff_t size = TN(triangle_size)(t->d);
    vec *w = t->work, *xi = w + size, *inverse = xi + size;
    memcpy(w, t->x, (size_t)size * sizeof(vec));
    memcpy(xi, t->x, (size_t)size * sizeof(vec));
    for (ptrdiff_t k = 0; k < t->tiles * TILE; ++k) {
        const vec root = t->a.root[k] * t->b.inverse[k], u = t->excess[k] / t->b.pivot[k];
        *TN(at)(w, k, k) = root;
        inverse[k] = vset(1) / root;
        if (k < t->d)
            FN(tally_add)(total, u * (t->excess[k] / t->a.pivot[k]));
    }
    TN(solve)(w, inverse, t->tiles, xi);
    TN(add_squares)(t->x, t->d, total);
    TN(add_squares)(xi, t->d, total);
    vec *y = xi;
    memcpy(y, t->inverted ? t->delta : t->y, (size_t)t->d * sizeof(vec));
    if (t->inverted) {
        TN(apply)(&t->b, t->d, TIMES_TRANSPOSED, y);
    } else {
        const TN(side) s = {.l = w, .inverse = inverse};
        TN(apply)(&s, t->d, SOLVE, y);
    }
    TN(add_vector_squares)(y, t->d, mean);
}

INLINE void TN(put)(const gkl_group *g, int place, vec x) {
    if (g->out[place])
        *(vec *)g->out[place] = x;
}

/* the divergences, from X, y and the pivots */
static void TN(values)(const gkl_group *g, const TN(pair) *t) {
    const vec none = vset(0), half = vset((REAL)0.5);
    const ptrdiff_t d = t->d;
    FN(tally) cov, mean, trace, logdet, logs;
    memset(&cov, 0, sizeof cov);
    mean = trace = logdet = logs = cov;
    TN(add_vector_squares)(t->y, d, &mean);
    if (g->output == GKL_JEFFREYS) {
        TN(add_jeffreys)(t, &cov, &mean);
    } else {
        TN(add_squares)(t->x, d, &cov);
        trace = cov;
        for (ptrdiff_t k = 0; k < d; ++k) {
            const FN(ratio) r = FN(ratio_careful)(t->a.pivot[k], t->b.pivot[k], t->excess[k],
                                                  OF_DIFFERENCE, t->a.pivot[k], t->b.pivot[k],
                                                  none, 0);
            FN(tally_add)(&cov, r.phi);
            if (g->output == GKL_TERMS || g->output == GKL_CROSS) {
                FN(tally_add)(&trace, r.ratio);
                FN(tally_add)(&logdet, -r.log);
            }
        }
    }
    vec value = FN(tally_total)(&cov, (REAL)0.5) + FN(tally_total)(&mean, (REAL)0.5);
    const vec cov_part = FN(tally_total)(&cov, (REAL)0.5);
    if (g->output == GKL_CROSS) {
        TN(add_logs)(t->inverted ? t->a.pivot : t->b.pivot, d, t->inverted ? -1 : 1, &logs);
        value = half * (FN(tally_total)(&logs, 1) + vset((REAL)d * LOG_2_PI))
                + (FN(tally_total)(&trace, (REAL)0.5) + FN(tally_total)(&mean, (REAL)0.5));
    }
    value = TN(checked)(&t->a, d, TN(checked)(&t->b, d, value));
    if (g->output == GKL_TERMS) {
        TN(put)(g, 0, FN(tally_total)(&mean, 1));
        TN(put)(g, 1, FN(tally_total)(&trace, 1));
        TN(put)(g, 2, FN(tally_total)(&logdet, 1));
        TN(put)(g, 3, value);
        TN(put)(g, 4, FN(tally_total)(&mean, (REAL)0.5));
        TN(put)(g, 5, cov_part);
    } else {
        TN(put)(g, 0, value);
    }
}

/* k_kk of N or M + y y^T, times this, in the units of the diagonal Gaussian's parameter */
static void TN(diagonal_gradient)(const TN(pair) *t, const TN(side) *s, const int is_a, REAL sign,
                                  vec *out) {
    for (ptrdiff_t k = 0; k < t->d; ++k) {
        const vec x = *TN(at)(t->x, k, k);
        vec sum = is_a ? vset(0) : t->y[k] * t->y[k];
        for (ptrdiff_t i = is_a ? k + 1 : 0; i < (is_a ? t->d : k); ++i) {
            const vec z = is_a ? *TN(at)(t->x, i, k) : *TN(at)(t->x, k, i);
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
static void TN(scale_gradient)(const gkl_group *g, const TN(pair) *t, const int is_a) {
    const TN(side) *s = is_a ? &t->a : &t->b;
    const int is_q = is_a == t->inverted;
    const ptrdiff_t d = t->d, size = TN(triangle_size)(d);
    vec *out = g->out[is_q ? 4 : 2], *out_factor = g->out[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P];
    const REAL sign = is_a ? 1 : -1;
    if (!out && !out_factor)
        return;
    if (s->diagonal) {
        TN(diagonal_gradient)(t, s, is_a, sign, out);
        return;
    }
    vec *k = t->work, *v = k + size, *b = v + size;
    TN(square)(t->x, t->tiles, is_a, k);
    if (!is_a && !t->inverted)
        for (ptrdiff_t i = 0; i < d; ++i)
            for (ptrdiff_t j = 0; j <= i; ++j)
                *TN(at)(k, i, j) = vfma(t->y[i], t->y[j], *TN(at)(k, i, j));
    if (s->kind == GKL_PRECISION && !t->inverted) {
        TN(halve)(k, t->tiles);
        TN(product)(s->l, k, t->tiles, b);
        TN(congruence)(s->l, b, t->tiles, 0, out);
        for (ptrdiff_t i = 0; i < size; ++i)
            out[i] = vset((REAL)-0.5 * sign) * out[i];
        return;
    }
    TN(invert)(s->l, s->inverse, t->tiles, v);
    if (s->kind == GKL_TRIL) {
        TN(triangle)(v, k, t->tiles, out);
        for (ptrdiff_t i = 0; i < size; ++i)
            out[i] = vset(sign) * out[i];
        return;
    }
    vec *gradient = s->kind == GKL_LOW_RANK ? k : out;
    TN(halve)(k, t->tiles);
    TN(product)(k, v, t->tiles, b);
    TN(congruence)(v, b, t->tiles, 1, gradient);
    for (ptrdiff_t i = 0; i < size; ++i)
        gradient[i] = vset((REAL)0.5 * sign) * gradient[i];
    if (t->inverted && is_a)
        for (ptrdiff_t i = 0; i < d; ++i)
            for (ptrdiff_t j = 0; j <= i; ++j)
                *TN(at)(gradient, i, j) = vfma(vset((REAL)0.5) * t->delta[i], t->delta[j],
                                               *TN(at)(gradient, i, j));
    if (s->kind != GKL_LOW_RANK)
        return;
    const ptrdiff_t rank = is_q ? g->rank_q : g->rank_p;
    const vec *factor = g->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P];
    for (ptrdiff_t i = 0; i < d; ++i) {
        if (out)
            out[i] = *TN(at)(gradient, i, i);
        for (ptrdiff_t r = 0; out_factor && r < rank; ++r) {
            vec sum = vset(0);
            for (ptrdiff_t j = 0; j < d; ++j)
                sum = vfma(*(j <= i ? TN(at)(gradient, i, j) : TN(at)(gradient, j, i)),
                           factor[j * rank + r], sum);
            out_factor[i * rank + r] = sum + sum;
        }
    }
}

static void TN(gradients)(const gkl_group *g, const TN(pair) *t) {
    const ptrdiff_t d = t->d;
    TN(scale_gradient)(g, t, 1);
    TN(scale_gradient)(g, t, 0);
    vec *d_mean_p = g->out[1], *d_mean_q = g->out[3], *z = t->y;
    if (t->inverted)
        TN(apply)(&t->a, d, TIMES, z);
    else
        TN(apply)(&t->b, d, SOLVE_TRANSPOSED, z);
    for (ptrdiff_t k = 0; k < d; ++k) {
        if (d_mean_p)
            d_mean_p[k] = z[k];
        if (d_mean_q)
            d_mean_q[k] = -z[k];
    }
}

/* one Gaussian: its entropy, or its factor */
static void TN(single)(const gkl_group *g) {
    const ptrdiff_t d = g->dim;
    vec *work = g->work;
    TN(side) s = TN(read_side)(g, 0, 1, &work);
    TN(factor)(&s, d);
    if (g->output == GKL_FACTOR) {
        memcpy(g->out[0], s.l, (size_t)TN(triangle_size)(d) * sizeof(vec));
        *(vec *)g->out[0] = TN(checked)(&s, d, *(vec *)g->out[0]);
        return;
    }
    FN(tally) logs;
    memset(&logs, 0, sizeof logs);
    TN(add_logs)(s.pivot, d, g->p == GKL_PRECISION ? -1 : 1, &logs);
    const vec value = vset((REAL)0.5) * (FN(tally_total)(&logs, 1) + vset((REAL)d * (1 + LOG_2_PI)));
    TN(put)(g, 0, TN(checked)(&s, d, value));
}

static void TN(full_group)(const gkl_group *g) {
    if (g->output == GKL_ENTROPY || g->output == GKL_FACTOR) {
        TN(single)(g);
        return;
    }
    const TN(pair) t = TN(read_pair)(g);
    TN(values)(g, &t);
    if (g->output == GKL_GRAD)
        TN(gradients)(g, &t);
}

/* vectors that full_group works in */
static ptrdiff_t TN(full_work)(const gkl_group *g) {
    const ptrdiff_t size = TN(triangle_size)(g->dim), n = TN(tiles)(g->dim) * TILE;
    const int low_rank = (g->p == GKL_LOW_RANK) + (g->q == GKL_LOW_RANK);
    const int free = g->output == GKL_GRAD || g->output == GKL_JEFFREYS ? 3
                     : g->p == GKL_PRECISION || g->q == GKL_PRECISION   ? 2
                                                                        : 0;
    return 9 * n + (1 + low_rank + free) * size + n;
}
