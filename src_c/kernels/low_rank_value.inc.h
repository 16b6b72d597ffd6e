/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The value between Gaussians of low rank, by the recursion of low_rank.inc.h.  Double only.
 */

typedef struct {
    vec mahalanobis, trace, logdet;
    vec cov; /* trace + logdet - d, without cancellation */
} low_rank_sums;

/* what is too large is infinite, also where infinities have met; NaN is what `poison` says */
INLINE vec low_rank_finished(vec x, vec poison) {
    return vselect(vless_equal(x, vset(LARGEST)), x, vset((REAL)INFINITY)) + poison;
}

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

/* One row when both have a factor: D_p - D_q; 1/D_q; g. */
INLINE vec low_rank_both(ptrdiff_t n, const low_rank_state *s, const vec *fp, const vec *fq, vec vp,
                         vec vq, vec *inverse_q, vec *dp, vec *dq, vec *g) {
    vec share_p, share_q;
    for (ptrdiff_t i = 0; i < n; ++i)
        s->df[i] = fp[i] - fq[i];
    const vec inverse_p = low_rank_step(n, s->root_p, fp, vp, s->c_p, s->gain_p, &share_p, s->df,
                                        s->cg_p, s->t, 1);
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
        s->dk[i] = vfnma(s->gain_q[i], dd, s->dc[i]) * inverse_p;
        s->beta[i] = vfnma(s->gain_p[i], dd, s->beta[i]);
    }

    low_rank_symmetric(n, s->m, s->df, s->a);
    low_rank_symmetric(n, s->o, fq, s->b);
    low_rank_both_ways(n, s->n, fq, s->a, s->df, s->b);
    *g = vmax(vset(0), low_rank_dot(n, s->df, s->a) + low_rank_dot(n, fq, s->b));

    vec *change = s->change, *m = s->m, *o = s->o, *mixed = s->n;
    const vec half_g = vset((REAL)0.5) * *g;
    for (ptrdiff_t i = 0; i < n; ++i)
        s->b[i] = vfnma(half_g, s->gain_q[i], s->b[i]);
    for (ptrdiff_t i = 0; i < n; mixed += n, change += n, m += ++i, o += i) {
        const vec kp = s->gain_p[i], kq = s->gain_q[i], dk = *dp * s->dk[i];
        for (ptrdiff_t j = 0; j <= i; ++j) {
            m[j] = vfma(s->c_p[i], s->gain_p[j], m[j]);
            o[j] = vfma(dk, s->dk[j],
                        vfnma(s->b[i], s->gain_q[j], vfnma(kq, s->b[j], o[j])));
        }
        for (ptrdiff_t j = 0; j < n; ++j) {
            change[j] = vfnma(kp, s->dc[j], vfnma(s->beta[i], s->gain_q[j], change[j]));
            mixed[j] = vfma(s->c_p[i], s->dk[j], vfnma(s->a[i], s->gain_q[j], mixed[j]));
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
    low_rank_symmetric(n, m, f, s->a);
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
    low_rank_symmetric(n, o, f, s->b);
    *g = vmax(vset(0), low_rank_dot(n, f, s->b));
    const vec half = vset((REAL)0.5) * (*g + vp);
    for (ptrdiff_t i = 0; i < n; ++i)
        s->b[i] = vfnma(half, s->gain_q[i], s->b[i]);
    for (ptrdiff_t i = 0; i < n; o += ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            o[j] = vfnma(s->b[i], s->gain_q[j], vfnma(s->gain_q[i], s->b[j], o[j]));
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
        vec dp = vp, dq = vq, inverse_q, g, dd;
        if (p->rank && q->rank) {
            dd = low_rank_both(n, &s, p->factor + k * n, q->factor + k * n, vp, vq,
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
