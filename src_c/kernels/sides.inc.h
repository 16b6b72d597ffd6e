/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One Gaussian of a group, whatever parameter carries its covariance: a Cholesky factor, or what
 * will be one.
 *
 * Parameters: those of full.inc.h, which reads this file.
 */
#ifndef TILE
#error kernels/sides.inc.h needs TILE
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
} FN(side);

/* what the work vectors are handed out from */
INLINE vec *FN(take)(vec **work, ptrdiff_t n) {
    vec *const mine = *work;
    *work += n;
    return mine;
}

INLINE ptrdiff_t FN(tiles)(ptrdiff_t d) { return (d + TILE - 1) / TILE; }

INLINE ptrdiff_t FN(triangle_size)(ptrdiff_t d) {
    return FN(tiles)(d) * (FN(tiles)(d) + 1) / 2 * TILE * TILE;
}

/* the identity where the matrix has been filled up to whole tiles */
static void FN(fill_up)(vec *m, ptrdiff_t d) {
    for (ptrdiff_t i = d; i < FN(tiles)(d) * TILE; ++i)
        for (ptrdiff_t j = 0; j < FN(tiles)(d) * TILE; ++j)
            if (j <= i || j / TILE == i / TILE)
                *FN(at)(m, i, j) = vset(i == j);
}

/* m(i, j) = from(d - 1 - j, d - 1 - i): J M^T J with J the reversal, lower triangular again */
static void FN(reverse)(const vec *from, ptrdiff_t d, vec *m) {
    memset(m, 0, (size_t)FN(triangle_size)(d) * sizeof(vec));
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            *FN(at)(m, i, j) = *FN(at)(from, d - 1 - j, d - 1 - i);
    FN(fill_up)(m, d);
}

/* root, pivot and inverse of a factor that is given */
static void FN(read_diagonal)(FN(side) *s, ptrdiff_t d) {
    for (ptrdiff_t k = 0; k < FN(tiles)(d) * TILE; ++k) {
        const vec l = *FN(at)(s->l, k, k);
        s->root[k] = l;
        s->inverse[k] = vset(1) / l;
        s->pivot[k] = l * l;
    }
    s->factored = 1;
}

INLINE void FN(read_root)(FN(side) *s, ptrdiff_t d) {
    for (ptrdiff_t k = 0; k < FN(tiles)(d) * TILE; ++k)
        s->root[k] = *FN(at)(s->l, k, k);
    s->factored = 1;
}

/* The factor that the caller has, and the pivots as cholesky finds them, to the bit if it has found
 * that factor; one by BLAS, say, of a matrix that is hardly definite may have others. */
static void FN(adopt)(FN(side) *s, ptrdiff_t d) {
    for (ptrdiff_t k = 0; k < FN(tiles)(d) * TILE; ++k) {
        vec pivot = *FN(at)(s->l, k, k);
        for (ptrdiff_t j = 0; j < k; ++j) {
            const vec l = *FN(at)(s->given, k, j);
            pivot = vfnma(l, l, pivot);
        }
        const vec root = *FN(at)(s->given, k, k);
        s->pivot[k] = vselect(vpositive(pivot), pivot, root * root);
        s->inverse[k] = vset(1) / root;
    }
    s->l = (vec *)s->given; /* which is not written to */
    FN(read_root)(s, d);
}

static void FN(factor)(FN(side) *s, ptrdiff_t d) {
    if (s->factored)
        return;
    if (s->given) {
        FN(adopt)(s, d);
        return;
    }
    FN(cholesky)(s->l, FN(tiles)(d), s->pivot, s->inverse);
    FN(read_root)(s, d);
}

static void FN(factor_both)(FN(side) *a, FN(side) *b, ptrdiff_t d) {
    if (a->factored || b->factored || a->given || b->given) {
        FN(factor)(a, d);
        FN(factor)(b, d);
        return;
    }
    FN(cholesky_both)(a->l, a->pivot, a->inverse, b->l, b->pivot, b->inverse, FN(tiles)(d));
    FN(read_root)(a, d);
    FN(read_root)(b, d);
}

/* Lambda = U U^T with U upper triangular, by the Cholesky factor C of J Lambda J; then U^-T is a
 * lower factor of the covariance, J C^-T J */
static void FN(invert_precision)(FN(side) *s, ptrdiff_t d, vec *work) {
    FN(reverse)(s->l, d, work);
    FN(cholesky)(work, FN(tiles)(d), s->pivot, s->inverse);
    vec *inverse = work + FN(triangle_size)(d);
    FN(invert)(work, s->inverse, FN(tiles)(d), inverse);
    FN(reverse)(inverse, d, s->l);
    FN(read_diagonal)(s, d);
}

/* F F^T + diag(v) */
static void FN(expand)(FN(side) *s, ptrdiff_t d, ptrdiff_t rank, const vec *factor, const vec *v) {
    memset(s->l, 0, (size_t)FN(triangle_size)(d) * sizeof(vec));
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j) {
            vec sum = i == j ? vselect(vpositive(v[i]), v[i], vset((REAL)NAN)) : vset(0);
            for (ptrdiff_t r = 0; r < rank; ++r)
                sum = vfma(factor[i * rank + r], factor[j * rank + r], sum);
            *FN(at)(s->l, i, j) = sum;
        }
    FN(fill_up)(s->l, d);
}

/* standard deviations and variances of a diagonal Gaussian */
static void FN(read_scale)(FN(side) *s, ptrdiff_t d, const vec *scale) {
    const vec one = vset(1), half = vset((REAL)0.5);
    s->diagonal = s->factored = 1;
    for (ptrdiff_t k = 0; k < FN(tiles)(d) * TILE; ++k) {
        vec v = one, root = one, e;
        if (k < d && s->kind == GKL_VAR) {
            v = scale[k];
            root = vsqrt(v);
        } else if (k < d && s->kind == GKL_STD) {
            root = scale[k];
            v = root * root;
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
static void FN(read_side)(FN(side) *s, const gkl_group *g, const int is_q, int inverted,
                          vec **work) {
    const ptrdiff_t d = g->dim, n = FN(tiles)(d) * TILE;
    vec *scale = g->in[is_q ? 3 : 1], *factor = g->in[is_q ? GKL_FACTOR_Q : GKL_FACTOR_P];
    s->kind = is_q ? g->q : g->p;
    s->diagonal = s->factored = 0;
    s->l = scale;
    s->given = factor;
    s->root = FN(take)(work, n);
    s->pivot = FN(take)(work, n);
    s->inverse = FN(take)(work, n);
    if (s->kind <= GKL_UNIT) {
        FN(read_scale)(s, d, scale);
    } else if (s->kind == GKL_LOW_RANK) {
        s->given = NULL;
        s->l = FN(take)(work, FN(triangle_size)(d));
        FN(expand)(s, d, is_q ? g->rank_q : g->rank_p, factor, scale);
    } else if (s->kind == GKL_TRIL) {
        FN(read_diagonal)(s, d);
    } else if (s->kind == GKL_PRECISION && !inverted) {
        FN(invert_precision)(s, d, *work);
    }
}

/* z = L^-1 z, L z, L^-T z or L^T z in place */
static void FN(apply)(const FN(side) *s, ptrdiff_t d, const gkl_factor_use how, vec *z) {
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
                sum = vfnma(*FN(at)(s->l, i, k), z[k], sum);
        if (how == SOLVE_TRANSPOSED)
            for (ptrdiff_t k = i + 1; k < d; ++k)
                sum = vfnma(*FN(at)(s->l, k, i), z[k], sum);
        if (how == TIMES)
            for (ptrdiff_t k = 0; k < i; ++k)
                sum = vfma(*FN(at)(s->l, i, k), z[k], sum);
        if (how == TIMES_TRANSPOSED)
            for (ptrdiff_t k = i + 1; k < d; ++k)
                sum = vfma(*FN(at)(s->l, k, i), z[k], sum);
        z[i] = how == SOLVE || how == SOLVE_TRANSPOSED ? sum * s->inverse[i] : sum;
    }
}

/* has it a Cholesky factor? */
static mask FN(definite)(const FN(side) *s, ptrdiff_t d) {
    mask good = vless(vset(0), vset(1));
    for (ptrdiff_t k = 0; k < d; ++k)
        good = vboth(good, vpositive(s->root[k]));
    return good;
}

/* NaN elsewhere; what is NaN in spite of it has overflown */
INLINE vec FN(where)(mask definite, vec value) {
    const vec infinity = vset((REAL)INFINITY);
    value = vselect(vless_equal(value, infinity), value, infinity);
    return vselect(definite, value, vset((REAL)NAN));
}
