/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Gaussians with covariance F F^T + diag(v), one item a lane, in O(d (rank_p + rank_q)^2).
 *
 * Such a Gaussian is x = mean + F z + noise with z ~ N(0, I).  Row after row, with f a row of F and
 * what x_1 .. x_{k-1} tell of z, N(m, C), beginning with N(0, I):
 *
 *     x_k ~ N(f^T m, D),  D = v + f^T C f,  K = C f/D,  m <- m + K (x_k - f^T m),  C <- C - K D K^T
 *
 * which is the factorization S = L diag(D) L^T, row by row.  By the chain rule
 *
 *     2 KL = sum_k [phi(D_p/D_q - 1) + E_p (f_p^T m_p - f_q^T m_q)^2/D_q] + |y|^2
 *
 * and |y|^2 = sum_k n^2/D_q, n being what the filter of q does not foresee of mean_p - mean_q:
 * every summand >= 0.  So that none loses digits near p = q, differences of everything are carried
 * along, here with a d before them (p's less q's), e = m_p - m_q among them:
 *
 *     dc = C_p f_p - C_q f_q = dC f_p + C_q df         dD = dv + df^T C_p f_p + f_q^T dc
 *     dK = (dc - K_q dD)/D_p         dC <- dC - K_p dc^T - (dC f_q + C_p df - K_p dD) K_q^T
 *
 * (dC f_p by its columns, dC f_q by its rows: then rounding errors in dC, which leave it
 * unsymmetric, are carried on as (I - K_p f_p^T) . (I - K_q f_q^T)^T, which contracts however far p
 * is from q) and the covariances under p, M = E m_p m_p^T, N = E m_p e^T, O = E e e^T, of which
 *
 *     a = M df + N f_q,  b = N^T df + O f_q,  E_p (...)^2 = g = df^T a + f_q^T b
 *     M <- M + K_p D_p K_p^T,  N <- N - a K_q^T + K_p D_p dK^T
 *     O <- O - b K_q^T - K_q b^T + g K_q K_q^T + dK D_p dK^T
 *
 * C is kept as G G^T, G <- G - (G t) t^T/(D + sqrt(v D)), t = G^T f, D = v + |t|^2 (Potter): D >= v
 * whatever the condition.  The smaller rank is filled up with columns of zeros; beside a diagonal
 * Gaussian one of M and O is left of all that.
 *
 * Floats are computed in double.  With eps = 2^-52 (floats: 2^-23), kp and kq the condition numbers
 * of the covariances scaled to unit diagonal, the relative error of KL is below
 * 4 eps (kq + kp/max(1, KL)) c^2, 2.1 measured in place of 4.  c is 1 unless the difference of the
 * covariances, diag(dv) + dF F_p^T + F_q dF^T, cancels, as when F is rotated: c is the norm of its
 * absolute summands by its own.
 *
 * Work a row, in multiplications of rank^2: the value about 22, with both gradients about 95;
 * beside a diagonal Gaussian 5 and 25.  Workspace: O(rank^2) + 2 d for the value when the ranks are
 * equal or one is 0, O(d rank) otherwise.
 *
 * Parameters: real.h, the vector words and math.inc.h.
 */
#ifndef REAL
#error kernels/low_rank.inc.h needs simd/real.h
#endif

#if BITS == 32
static void low_rank_group_f64(const gkl_group *group);
static ptrdiff_t low_rank_work_f64(const gkl_group *group);

/* how many vectors an operand or an output of a place has */
static ptrdiff_t low_rank_in_size(const gkl_group *g, int place) {
    return place == GKL_WEIGHT     ? 1
           : place == GKL_FACTOR_P ? g->dim * g->rank_p
           : place == GKL_FACTOR_Q ? g->dim * g->rank_q
                                   : g->dim;
}

static ptrdiff_t low_rank_out_size(const gkl_group *g, int place) {
    return g->output != GKL_GRAD || place == 0 ? 1
           : place == GKL_FACTOR_P             ? g->dim * g->rank_p
           : place == GKL_FACTOR_Q             ? g->dim * g->rank_q
                                               : g->dim;
}

/* two groups of half the lanes, in double */
static void low_rank_group_f32(const gkl_group *group) {
    enum { HALF = VECTOR_BYTES / sizeof(double) };
    for (int half = 0; half < 2; ++half) {
        gkl_group g = *group;
        double *work = group->work;
        for (int k = 0; k < GKL_MAX_IN; ++k)
            if (group->in[k]) {
                const float *from = (const float *)group->in[k] + half * HALF;
                const ptrdiff_t size = low_rank_in_size(group, k);
                for (ptrdiff_t i = 0; i < size; ++i)
                    for (int lane = 0; lane < HALF; ++lane)
                        work[i * HALF + lane] = (double)from[2 * i * HALF + lane];
                g.in[k] = work;
                work += size * HALF;
            }
        for (int k = 0; k < GKL_MAX_OUT; ++k)
            if (group->out[k]) {
                g.out[k] = work;
                work += low_rank_out_size(group, k) * HALF;
            }
        g.work = work;
        low_rank_group_f64(&g);
        for (int k = 0; k < GKL_MAX_OUT; ++k)
            if (group->out[k]) {
                float *to = (float *)group->out[k] + half * HALF;
                const double *from = g.out[k];
                const ptrdiff_t size = low_rank_out_size(group, k);
                for (ptrdiff_t i = 0; i < size; ++i)
                    for (int lane = 0; lane < HALF; ++lane)
                        to[2 * i * HALF + lane] = (float)from[i * HALF + lane];
            }
    }
}

static ptrdiff_t low_rank_work_f32(const gkl_group *group) {
    ptrdiff_t size = low_rank_work_f64(group);
    for (int k = 0; k < GKL_MAX_IN; ++k)
        size += low_rank_in_size(group, k);
    for (int k = 0; k < GKL_MAX_OUT; ++k)
        size += low_rank_out_size(group, k);
    return size;
}
#else
#include "low_rank_filter.inc.h"
#include "low_rank_value.inc.h"
#include "low_rank_gradient.inc.h"

/* Variances of any kind of scale, in place or computed.  Beyond double, there is no way to them. */
static const vec *low_rank_variances(const gkl_group *g, int kind, const vec *scale, vec *to,
                                     vec *poison) {
    if (kind == GKL_VAR || kind == GKL_LOW_RANK)
        return scale;
    for (ptrdiff_t i = 0; i < g->dim; ++i) {
        vec k, t;
        if (kind == GKL_UNIT) {
            to[i] = vset(1);
        } else if (kind == GKL_STD) {
            to[i] = scale[i] * scale[i];
        } else {
            t = FN(exp_parts)(scale[i], &k, 1);
            to[i] = vscale(vset(1) + t, k + k);
        }
        *poison = vselect(vpositive(to[i]), *poison, vset((REAL)NAN));
    }
    return to;
}

/* 0, or NaN in a lane where something is not finite or a scale is not positive */
static vec low_rank_poison(const gkl_group *g) {
    const vec zero = vset(0), nan = vset((REAL)NAN);
    vec poison = zero;
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        const vec *x = g->in[k];
        const int kind = k == 1 ? (int)g->p : (int)g->q;
        const ptrdiff_t size = !x || k == GKL_WEIGHT ? 0 : low_rank_in_size(g, k);
        if (k % 2 && k < GKL_WEIGHT && kind != GKL_LOGVAR)
            for (ptrdiff_t i = 0; i < size; ++i)
                poison = vselect(vpositive(x[i]), poison, nan);
        else
            for (ptrdiff_t i = 0; i < size; ++i)
                poison += zero * x[i];
    }
    return poison;
}

/* the workspace, in vectors, of what does not grow with d; and of each row */
static ptrdiff_t low_rank_work_f64(const gkl_group *g) {
    const ptrdiff_t r = g->rank_p, s = g->rank_q, rank = r > s ? r : s;
    ptrdiff_t row = 2; /* variances */
    if (r && s && r != s)
        row += 2 * rank;
    if (g->output == GKL_GRAD)
        row += LOW_RANK_ROW(r, s, rank);
    return 8 * rank * rank + 32 * rank + 8 + g->dim * row;
}

static void low_rank_group_f64(const gkl_group *group) {
    const ptrdiff_t d = group->dim, r = group->rank_p, s = group->rank_q, rank = r > s ? r : s;
    const vec half = vset((REAL)0.5);
    vec poison = low_rank_poison(group);
    vec *const *out = (vec *const *)group->out;
    vec *work = group->work;
    const vec *var_p = low_rank_variances(group, (int)group->p, group->in[1], work, &poison);
    const vec *var_q = group->output == GKL_ENTROPY
                           ? NULL
                           : low_rank_variances(group, (int)group->q, group->in[3], work + d,
                                                &poison);
    work += 2 * d;
    const vec *factor_p = group->in[GKL_FACTOR_P], *factor_q = group->in[GKL_FACTOR_Q];
    const low_rank_side p = {d, r, factor_p ? factor_p : work, var_p, group->in[0]};
    const low_rank_side q = {d, s, factor_q ? factor_q : work, var_q, group->in[2]};
    const vec constant = vset((REAL)d * LOG_2_PI);
    if (group->output == GKL_ENTROPY) {
        *out[0] = half * (low_rank_log_det(&p, work) + vset((REAL)d * (1 + LOG_2_PI))) + poison;
        return;
    }

    low_rank_side full_p = p, full_q = q; /* of the same rank */
    if (r && s && r != s) {
        if (r < s)
            full_p.factor = low_rank_filled(&p, rank, work), full_p.rank = rank;
        else
            full_q.factor = low_rank_filled(&q, rank, work), full_q.rank = rank;
        work += d * rank;
    }
    low_rank_sums x = low_rank_walk(&full_p, &full_q, work);
    vec kl = half * (x.mahalanobis + x.cov);
    if (group->output == GKL_JEFFREYS) {
        const low_rank_sums y = low_rank_walk(&full_q, &full_p, work);
        kl = kl + half * (y.mahalanobis + y.cov);
    } else if (group->output == GKL_CROSS) {
        kl = half * ((constant + low_rank_log_det(&q, work)) + (x.trace + x.mahalanobis));
    }
    kl = low_rank_finished(kl, poison);
    if (group->output == GKL_TERMS) {
        if (out[0])
            *out[0] = low_rank_finished(x.mahalanobis, poison);
        if (out[1])
            *out[1] = low_rank_finished(x.trace, poison);
        if (out[2])
            *out[2] = x.logdet + poison;
        if (out[3])
            *out[3] = kl;
        if (out[4])
            *out[4] = low_rank_finished(half * x.mahalanobis, poison);
        if (out[5])
            *out[5] = low_rank_finished(half * x.cov, poison);
        return;
    }
    if (out[0])
        *out[0] = kl;
    if (group->output == GKL_GRAD)
        low_rank_gradients(group, &p, &q, work);
}
#endif
