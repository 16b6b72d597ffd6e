/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The value between Gaussians of low rank, by the recursion of low_rank.inc.h.  Double only.
 */

typedef struct {
    ptrdiff_t dim, rank;
    const vec *factor; /* dim x rank; NULL when the rank is 0 */
    const vec *var;
    const vec *mean; /* NULL: 0 */
} low_rank_side;

/* what is too large is infinite, also where infinities have met; NaN is what `poison` says */
INLINE vec low_rank_finished(vec x, vec poison) {
    return vselect(vless_equal(x, vset(LARGEST)), x, vset((REAL)INFINITY)) + poison;
}

/* what the work vectors are handed out from */
INLINE vec *low_rank_take(vec **work, ptrdiff_t n) {
    vec *const mine = *work;
    *work += n;
    return mine;
}

INLINE vec low_rank_dot(ptrdiff_t n, const vec *x, const vec *y) {
    vec sum = vset(0);
    for (ptrdiff_t i = 0; i < n; ++i)
        sum = vfma(x[i], y[i], sum);
    return sum;
}

INLINE void low_rank_clear(ptrdiff_t n, vec *x) {
    for (ptrdiff_t i = 0; i < n; ++i)
        x[i] = vset(0);
}

INLINE void low_rank_identity(ptrdiff_t n, vec *a) {
    low_rank_clear(n * n, a);
    for (ptrdiff_t i = 0; i < n; ++i)
        a[i * n + i] = vset(1);
}

/* u_j = sum_i x_i a_ij, four columns at a time; the same of y with v when there is a y */
INLINE void low_rank_rows_times(ptrdiff_t m, ptrdiff_t n, const vec *a, const vec *x, vec *u,
                                const vec *y, vec *v, const int two) {
    ptrdiff_t j = 0;
    for (; j + 4 <= n; j += 4) {
        vec s[4] = {vset(0), vset(0), vset(0), vset(0)}, t[4] = {vset(0), vset(0), vset(0), vset(0)};
        for (ptrdiff_t i = 0; i < m; ++i)
            for (int l = 0; l < 4; ++l) {
                s[l] = vfma(x[i], a[i * n + j + l], s[l]);
                if (two)
                    t[l] = vfma(y[i], a[i * n + j + l], t[l]);
            }
        for (int l = 0; l < 4; ++l) {
            u[j + l] = s[l];
            if (two)
                v[j + l] = t[l];
        }
    }
    for (; j < n; ++j) {
        vec s = vset(0), t = vset(0);
        for (ptrdiff_t i = 0; i < m; ++i) {
            s = vfma(x[i], a[i * n + j], s);
            if (two)
                t = vfma(y[i], a[i * n + j], t);
        }
        u[j] = s;
        if (two)
            v[j] = t;
    }
}

/* a <- a + x y^T */
INLINE void low_rank_add_outer(ptrdiff_t m, ptrdiff_t n, const vec *x, const vec *y, vec *a) {
    for (ptrdiff_t i = 0; i < m; ++i)
        for (ptrdiff_t j = 0; j < n; ++j)
            a[i * n + j] = vfma(x[i], y[j], a[i * n + j]);
}

/* u <- u + a x and v <- v + a^T y, for `rows` rows of n */
INLINE void low_rank_some_rows(ptrdiff_t n, const vec *a, const vec *x, vec *u, const vec *y, vec *v,
                               const int rows) {
    vec s[4];
    for (int l = 0; l < rows; ++l)
        s[l] = u[l];
    for (ptrdiff_t j = 0; j < n; ++j) {
        const vec xj = x[j];
        vec vj = v[j];
        for (int l = 0; l < rows; ++l) {
            s[l] = vfma(a[l * n + j], xj, s[l]);
            vj = vfma(a[l * n + j], y[l], vj);
        }
        v[j] = vj;
    }
    for (int l = 0; l < rows; ++l)
        u[l] = s[l];
}

INLINE void low_rank_both_ways(ptrdiff_t n, const vec *a, const vec *x, vec *u, const vec *y,
                               vec *v) {
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        low_rank_some_rows(n, a + i * n, x, u + i, y + i, v, 4);
    for (; i < n; ++i)
        low_rank_some_rows(n, a + i * n, x, u + i, y + i, v, 1);
}

/* u = a x and, when there is a y, v = a y, for a symmetric a whose lower rows follow one another */
INLINE void low_rank_symmetric(ptrdiff_t n, const vec *a, const vec *x, vec *u, const vec *y, vec *v,
                               const int two) {
    for (ptrdiff_t i = 0; i < n; a += ++i) {
        vec s = a[i] * x[i], t = two ? a[i] * y[i] : s;
        for (ptrdiff_t j = 0; j < i; ++j) {
            s = vfma(a[j], x[j], s);
            u[j] = vfma(a[j], x[i], u[j]);
            if (two) {
                t = vfma(a[j], y[j], t);
                v[j] = vfma(a[j], y[i], v[j]);
            }
        }
        u[i] = s;
        if (two)
            v[i] = t;
    }
}

/* `rows` rows of G: of c, K and C g, and then of the next G */
INLINE void low_rank_renew(ptrdiff_t n, vec *root, const vec *t, vec part, vec inverse, vec *c,
                           vec *gain, vec *cg, const int two, const int rows) {
    vec s[4], w[4];
    for (int l = 0; l < rows; ++l)
        s[l] = w[l] = vset(0);
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int l = 0; l < rows; ++l) {
            s[l] = vfma(root[l * n + j], t[j], s[l]);
            if (two)
                w[l] = vfma(root[l * n + j], t[n + j], w[l]);
        }
    for (int l = 0; l < rows; ++l) {
        c[l] = s[l];
        gain[l] = s[l] * inverse;
        if (two)
            cg[l] = w[l];
        s[l] = s[l] * -part;
    }
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int l = 0; l < rows; ++l)
            root[l * n + j] = vfma(s[l], t[j], root[l * n + j]);
}

/* One row of a filter: c = C f and K = c/D, and C g for a second vector; gives 1/D and `share`, which
 * is f^T C f; then C for the next row.  t is room for 2 rank. */
INLINE vec low_rank_step(ptrdiff_t n, vec *root, const vec *f, vec v, vec *c, vec *gain, vec *share,
                         const vec *g, vec *cg, vec *t, const int two) {
    const vec one = vset(1);
    low_rank_rows_times(n, n, root, f, t, g, t + n, two);
    *share = low_rank_dot(n, t, t);
    const vec inverse = one / (v + *share), part = inverse / (one + vsqrt(v * inverse));
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        low_rank_renew(n, root + i * n, t, part, inverse, c + i, gain + i, cg + i, two, 4);
    for (; i < n; ++i)
        low_rank_renew(n, root + i * n, t, part, inverse, c + i, gain + i, cg + i, two, 1);
    return inverse;
}

/* log det of the covariance */
static vec low_rank_log_det(const low_rank_side *p, vec *work) {
    const ptrdiff_t n = p->rank;
    vec *c = work, *gain = c + n, *t = gain + n, *root = t + 2 * n, share, low;
    FN(tally) log = {vset(0), vset(0)};
    low_rank_identity(n, root);
    for (ptrdiff_t k = 0; k < p->dim; ++k) {
        low_rank_step(n, root, p->factor + k * n, p->var[k], c, gain, &share, c, c, t, 0);
        const vec high = FN(log_parts)(p->var[k] + share, &low);
        FN(tally_add)(&log, high);
        FN(tally_add)(&log, low);
    }
    return FN(tally_total)(&log, 1);
}

/* the factor with columns of zeros after its own */
static const vec *low_rank_filled(const low_rank_side *p, ptrdiff_t rank, vec *to) {
    for (ptrdiff_t k = 0; k < p->dim; ++k)
        for (ptrdiff_t j = 0; j < rank; ++j)
            to[k * rank + j] = j < p->rank ? p->factor[k * p->rank + j] : vset(0);
    return to;
}

typedef struct {
    vec mahalanobis, trace, logdet;
    vec cov; /* trace + logdet - d, without cancellation */
} low_rank_sums;

/* What the recursion carries, and its scratch: in all 5 to 6 rank^2 + 22 rank vectors. */
typedef struct {
    vec *root_p, *root_q;    /* G */
    vec *change;             /* dC */
    vec *m, *n, *o;          /* M, N, O; m and o as lower rows */
    vec *c_p, *gain_p, *c_q, *gain_q, *df, *cg_p, *cg_q, *dc, *beta, *dk, *a, *b, *t, *mean;
} low_rank_state;

INLINE low_rank_state low_rank_start(ptrdiff_t n, vec *work) {
    low_rank_state s;
    vec **const matrix[] = {&s.root_p, &s.root_q, &s.n, &s.change, &s.m, &s.o};
    vec **const vector[] = {&s.c_p, &s.gain_p, &s.c_q, &s.gain_q, &s.df,  &s.cg_p, &s.cg_q,
                            &s.dc,  &s.beta,   &s.dk,  &s.a,      &s.b,   &s.mean, &s.t};
    low_rank_clear(6 * n * n + 15 * n, work);
    for (int i = 0; i < COUNT(matrix); ++i, work += n * n)
        *matrix[i] = work;
    for (int i = 0; i < COUNT(vector); ++i, work += n)
        *vector[i] = work;
    low_rank_identity(n, s.root_p);
    low_rank_identity(n, s.root_q);
    return s;
}

/* One row when both have a factor: D_p - D_q; 1/D_p and 1/D_q; g. */
INLINE vec low_rank_both(ptrdiff_t n, const low_rank_state *s, const vec *fp, const vec *fq, vec vp,
                         vec vq, vec *inverse_p, vec *inverse_q, vec *dp, vec *dq, vec *g) {
    vec share_p, share_q;
    for (ptrdiff_t i = 0; i < n; ++i)
        s->df[i] = fp[i] - fq[i];
    *inverse_p = low_rank_step(n, s->root_p, fp, vp, s->c_p, s->gain_p, &share_p, s->df, s->cg_p,
                               s->t, 1);
    *inverse_q = low_rank_step(n, s->root_q, fq, vq, s->c_q, s->gain_q, &share_q, s->df, s->cg_q,
                               s->t, 1);
    *dp = vp + share_p;
    *dq = vq + share_q;
    memcpy(s->dc, s->cg_q, (size_t)n * sizeof(vec));
    memcpy(s->beta, s->cg_p, (size_t)n * sizeof(vec));
    low_rank_both_ways(n, s->change, fq, s->beta, fp, s->dc);
    const vec dd =
        (vp - vq) + (low_rank_dot(n, s->df, s->c_p) + low_rank_dot(n, fq, s->dc));
    for (ptrdiff_t i = 0; i < n; ++i) {
        s->dk[i] = vfma(-s->gain_q[i], dd, s->dc[i]) * *inverse_p;
        s->beta[i] = vfma(-s->gain_p[i], dd, s->beta[i]);
    }

    low_rank_symmetric(n, s->m, s->df, s->a, s->df, s->a, 0);
    low_rank_symmetric(n, s->o, fq, s->b, fq, s->b, 0);
    low_rank_both_ways(n, s->n, fq, s->a, s->df, s->b);
    *g = vmax(vset(0), low_rank_dot(n, s->df, s->a) + low_rank_dot(n, fq, s->b));

    vec *change = s->change, *m = s->m, *o = s->o, *mixed = s->n;
    const vec half_g = vset((REAL)0.5) * *g;
    for (ptrdiff_t i = 0; i < n; ++i)
        s->b[i] = vfma(-half_g, s->gain_q[i], s->b[i]);
    for (ptrdiff_t i = 0; i < n; mixed += n, change += n, m += ++i, o += i) {
        const vec kp = s->gain_p[i], kq = s->gain_q[i], dk = *dp * s->dk[i];
        for (ptrdiff_t j = 0; j <= i; ++j) {
            m[j] = vfma(s->c_p[i], s->gain_p[j], m[j]);
            o[j] = vfma(dk, s->dk[j],
                        vfma(-s->b[i], s->gain_q[j], vfma(-kq, s->b[j], o[j])));
        }
        for (ptrdiff_t j = 0; j < n; ++j) {
            change[j] = vfma(-kp, s->dc[j], vfma(-s->beta[i], s->gain_q[j], change[j]));
            mixed[j] = vfma(s->c_p[i], s->dk[j], vfma(-s->a[i], s->gain_q[j], mixed[j]));
        }
    }
    return dd;
}

/* The same when q is diagonal: dK = K_p, M = N = O */
INLINE vec low_rank_alone_p(ptrdiff_t n, const low_rank_state *s, const vec *f, vec vp, vec vq,
                            vec *dp, vec *g) {
    vec share, *m = s->m;
    low_rank_step(n, s->root_p, f, vp, s->c_p, s->gain_p, &share, f, s->t, s->t, 0);
    *dp = vp + share;
    low_rank_symmetric(n, m, f, s->a, f, s->a, 0);
    *g = vmax(vset(0), low_rank_dot(n, f, s->a));
    for (ptrdiff_t i = 0; i < n; m += ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            m[j] = vfma(s->c_p[i], s->gain_p[j], m[j]);
    return (vp - vq) + share;
}

/* The same when p is: dK = -K_q, M = N = 0 */
INLINE vec low_rank_alone_q(ptrdiff_t n, const low_rank_state *s, const vec *f, vec vp, vec vq,
                            vec *inverse_q, vec *dq, vec *g) {
    vec share, *o = s->o;
    *inverse_q = low_rank_step(n, s->root_q, f, vq, s->c_q, s->gain_q, &share, f, s->t, s->t, 0);
    *dq = vq + share;
    low_rank_symmetric(n, o, f, s->b, f, s->b, 0);
    *g = vmax(vset(0), low_rank_dot(n, f, s->b));
    const vec half = vset((REAL)0.5) * (*g + vp);
    for (ptrdiff_t i = 0; i < n; ++i)
        s->b[i] = vfma(-half, s->gain_q[i], s->b[i]);
    for (ptrdiff_t i = 0; i < n; o += ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            o[j] = vfma(-s->b[i], s->gain_q[j], vfma(-s->gain_q[i], s->b[j], o[j]));
    return (vp - vq) - share;
}

static low_rank_sums low_rank_walk(const low_rank_side *p, const low_rank_side *q, vec *work) {
    const ptrdiff_t n = p->rank > q->rank ? p->rank : q->rank;
    const vec zero = vset(0), half = vset((REAL)0.5);
    const FN(tally) none = {zero, zero};
    const low_rank_state s = low_rank_start(n, work);
    FN(tally) mahalanobis = none, trace = none, logdet = none, cov = none;
    for (ptrdiff_t k = 0; k < p->dim; ++k) {
        const vec vp = p->var[k], vq = q->var[k];
        vec dp = vp, dq = vq, inverse_p, inverse_q, g, dd;
        if (p->rank && q->rank) {
            dd = low_rank_both(n, &s, p->factor + k * n, q->factor + k * n, vp, vq, &inverse_p,
                               &inverse_q, &dp, &dq, &g);
        } else if (q->rank) {
            dd = low_rank_alone_q(n, &s, q->factor + k * n, vp, vq, &inverse_q, &dq, &g);
        } else {
            dd = low_rank_alone_p(n, &s, p->factor + k * n, vp, vq, &dp, &g);
            inverse_q = vset(1) / vq;
        }
        /* beyond the condition numbers that leave digits, dd may have none */
        dd = vselect(vboth(vless_equal(-half * dq, dd), vless_equal(dd, dq)), dd, dp - dq);
        const FN(ratio) x = FN(ratio_careful)(dp, dq, dd, OF_DIFFERENCE, dp, dq, zero, 0);
        vec miss = p->mean ? p->mean[k] : zero;
        if (q->mean)
            miss = miss - q->mean[k];
        if (q->rank) {
            miss = miss - low_rank_dot(n, q->factor + k * n, s.mean);
            for (ptrdiff_t i = 0; i < n; ++i)
                s.mean[i] = vfma(s.gain_q[i], miss, s.mean[i]);
        }
        g = g * inverse_q;
        FN(tally_add)(&mahalanobis, miss * (miss * inverse_q));
        FN(tally_add)(&trace, x.ratio);
        FN(tally_add)(&trace, g);
        FN(tally_add)(&logdet, -x.log);
        FN(tally_add)(&cov, x.phi);
        FN(tally_add)(&cov, g);
    }
    return (low_rank_sums){FN(tally_total)(&mahalanobis, 1), FN(tally_total)(&trace, 1),
                           FN(tally_total)(&logdet, 1), FN(tally_total)(&cov, 1)};
}
