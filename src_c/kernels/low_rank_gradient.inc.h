/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Gradients between Gaussians of low rank, from the difference of the covariances, which is
 * E = diag(dv) + dF F_p^T + F_q dF^T:
 *
 *     H_p = Sp^-1 F_p,  H_q = Sq^-1 F_q,  U = Sq^-1 dF,  z = Sq^-1 (mean_p - mean_q)
 *     d/dSp = 1/2 Sq^-1 E Sp^-1                     d/dSq = -1/2 (Sq^-1 E Sq^-1 + z z^T)
 *     d/dF_p = Sq^-1 E H_p,  Sq^-1 E H = Sq^-1 (dv H) + U (F_p^T H) + H_q (dF^T H)
 *     d/dF_q = -Sq^-1 E H_q - z (F_q^T z)^T
 *     d/dv_p = 1/2 diag[Sq^-1 dv Sp^-1 + U H_p^T + H_q (Sp^-1 dF)^T]
 *     d/dv_q = -1/2 diag[Sq^-1 dv Sq^-1 + U (H_q + U)^T + H_q U^T + z z^T]
 *
 * Solving is by the filter forwards and backwards, S^-1 = L^-T D^-1 L^-1: the inversion lemma
 * cancels where v is small beside D.  In the row k of S^-1, with the sum over the rows i > k
 *
 *     A <- A - f w^T - w f^T + s f f^T,  w = A K,  s = 1/D + K^T w = (S^-1)_kk,  g = s f - w
 *
 * the elements left of the diagonal are -g^T (I - K f^T) ... (I - K f^T) K.  So the sum over i > k
 * of (Sq^-1)_ik dv_i (Sp^-1)_ik is K_q^T B K_p with
 *
 *     B <- (I - K_q f_q^T)^T B (I - K_p f_p^T) + g_q dv g_p^T
 *
 * and the one over i < k is the same of the rows in the opposite order.
 *
 * Errors, in the Frobenius norm with rows scaled to unit variances: of d/dv below
 * 8 eps (kq + kp) c |G|, of d/dF below 8 eps (kq + kp) c |2 G| |F|, with G = d/dS and c as in
 * low_rank.inc.h.
 */

/* a Gaussian and its filter */
typedef struct {
    low_rank_side of;
    vec *gain;    /* K, dim x rank */
    vec *inverse; /* 1/D */
} low_rank_model;

/* of the rows in the opposite order when `reversed`; results are where their rows are */
static void low_rank_filter(const low_rank_model *m, const int reversed, vec *work) {
    const ptrdiff_t n = m->of.rank, d = m->of.dim;
    vec *c = work, *t = c + n, *root = t + 2 * n, share;
    low_rank_identity(n, root);
    for (ptrdiff_t i = 0; i < d; ++i) {
        const ptrdiff_t k = reversed ? d - 1 - i : i;
        m->inverse[k] = low_rank_step(n, root, m->of.factor + k * n, m->of.var[k], c,
                                      m->gain + k * n, &share, c, c, t, 0);
    }
}

/* y_j <- y_j + times sum_i x_i a_ij, times = 1 or -1 */
INLINE void low_rank_add_rows(ptrdiff_t m, ptrdiff_t n, const vec *a, const vec *x, vec *y,
                              const int times) {
    ptrdiff_t j = 0;
    for (; j + 4 <= n; j += 4) {
        vec s[4] = {y[j], y[j + 1], y[j + 2], y[j + 3]};
        for (ptrdiff_t i = 0; i < m; ++i)
            for (int l = 0; l < 4; ++l)
                s[l] = times > 0 ? vfma(x[i], a[i * n + j + l], s[l])
                                 : vfnma(x[i], a[i * n + j + l], s[l]);
        for (int l = 0; l < 4; ++l)
            y[j + l] = s[l];
    }
    for (; j < n; ++j)
        for (ptrdiff_t i = 0; i < m; ++i)
            y[j] = times > 0 ? vfma(x[i], a[i * n + j], y[j]) : vfnma(x[i], a[i * n + j], y[j]);
}

/* x <- S^-1 x, dim x n */
static void low_rank_solve(const low_rank_model *m, ptrdiff_t n, vec *x, vec *work) {
    const ptrdiff_t r = m->of.rank, d = m->of.dim;
    low_rank_clear(r * n, work);
    for (ptrdiff_t k = 0; r && k < d; ++k) {
        low_rank_add_rows(r, n, work, m->of.factor + k * r, x + k * n, -1);
        low_rank_add_outer(r, n, m->gain + k * r, x + k * n, work, 1);
    }
    low_rank_clear(r * n, work);
    for (ptrdiff_t k = d - 1; k >= 0; --k) {
        for (ptrdiff_t j = 0; j < n; ++j)
            x[k * n + j] = x[k * n + j] * m->inverse[k];
        if (!r)
            continue;
        low_rank_add_rows(r, n, work, m->gain + k * r, x + k * n, -1);
        low_rank_add_outer(r, n, m->of.factor + k * r, x + k * n, work, 1);
    }
}

/* h = S^-1 F */
static void low_rank_solve_own(const low_rank_model *m, vec *h, vec *work) {
    const ptrdiff_t n = m->of.rank;
    low_rank_identity(n, work);
    for (ptrdiff_t k = m->of.dim - 1; n && k >= 0; --k) {
        low_rank_rows_times(n, n, work, m->gain + k * n, h + k * n, h, h, 0);
        low_rank_add_outer(n, n, m->of.factor + k * n, h + k * n, work, -1);
    }
}

/* what the rows above k contribute to its own, for one Gaussian: gives s, and g; A to the next */
INLINE vec low_rank_above(const low_rank_model *m, ptrdiff_t k, vec *above, vec *w, vec *g) {
    const ptrdiff_t n = m->of.rank;
    const vec *f = m->of.factor + k * n, *gain = m->gain + k * n;
    low_rank_symmetric(n, above, gain, w);
    const vec s = m->inverse[k] + low_rank_dot(n, gain, w), half_s = vset((REAL)0.5) * s;
    for (ptrdiff_t i = 0; i < n; ++i) {
        g[i] = vfma(s, f[i], -w[i]);
        w[i] = vfnma(half_s, f[i], w[i]);
    }
    for (ptrdiff_t i = 0; i < n; above += ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            above[j] = vfnma(f[i], w[j], vfnma(w[i], f[j], above[j]));
    return s;
}

/* sum <- diag(Sx^-1 dv Sy^-1): one of its halves, the diagonal with the first */
static void low_rank_diagonal(const low_rank_model *x, const low_rank_model *y, const vec *dv,
                              const int reversed, vec *sum, vec *work) {
    const ptrdiff_t r = x->of.rank, s = y->of.rank, d = x->of.dim;
    vec *above_x = work, *above_y = above_x + r * r, *b = above_y + s * s, *w = b + r * s;
    vec *g_x = w + (r > s ? r : s), *g_y = x == y ? g_x : g_x + r;
    vec *left = g_x + r + s, *right = left + s;
    low_rank_clear(r * r + s * s + r * s, work);
    for (ptrdiff_t i = 0; i < d; ++i) {
        const ptrdiff_t k = reversed ? i : d - 1 - i;
        const vec *gain_x = x->gain + k * r, *gain_y = y->gain + k * s;
        const vec *f_x = x->of.factor + k * r, *f_y = y->of.factor + k * s;
        const vec s_x = low_rank_above(x, k, above_x, w, g_x);
        const vec s_y = x == y ? s_x : low_rank_above(y, k, above_y, w, g_y);
        low_rank_rows_times(r, s, b, gain_x, left, left, left, 0);
        const vec t = low_rank_dot(s, left, gain_y);
        sum[k] = reversed ? sum[k] + t : vfma(s_x * s_y, dv[k], t);
        for (ptrdiff_t l = 0; l < r; ++l)
            right[l] = low_rank_dot(s, b + l * s, gain_y);
        for (ptrdiff_t l = 0; l < r; ++l) {
            const vec g = g_x[l] * dv[k], f = vfma(f_x[l], t, -right[l]);
            for (ptrdiff_t j = 0; j < s; ++j)
                b[l * s + j] =
                    vfma(g, g_y[j], vfma(f, f_y[j], vfnma(f_x[l], left[j], b[l * s + j])));
        }
    }
}

/* to <- Sq^-1 E h, dim x n, with h = Sp^-1 F_p or Sq^-1 F_q; r, s the ranks of p and q */
static void low_rank_times_difference(const low_rank_model *p, const low_rank_model *q,
                                      const vec *dv, const vec *change, const vec *solved,
                                      const vec *h_q, const vec *h, ptrdiff_t n, vec *to,
                                      vec *work) {
    const ptrdiff_t d = p->of.dim, r = p->of.rank, s = q->of.rank, rank = r > s ? r : s;
    vec *own = work, *other = own + r * n;
    low_rank_clear((r + s) * n, work);
    for (ptrdiff_t k = 0; k < d; ++k) {
        for (ptrdiff_t j = 0; j < n; ++j)
            to[k * n + j] = dv[k] * h[k * n + j];
        low_rank_add_outer(r, n, p->of.factor + k * r, h + k * n, own, 1);
        low_rank_add_outer(s, n, change + k * rank, h + k * n, other, 1);
    }
    low_rank_solve(q, n, to, work + (r + s) * n);
    for (ptrdiff_t k = 0; k < d; ++k) {
        low_rank_add_rows(r, n, own, solved + k * rank, to + k * n, 1);
        low_rank_add_rows(s, n, other, h_q + k * s, to + k * n, 1);
    }
}

/* what d/dv is by a diagonal Gaussian's own parameter */
INLINE vec low_rank_by_scale(vec g, gkl_kind kind, vec scale, vec var) {
    return kind == GKL_STD ? g * (scale + scale) : kind == GKL_LOGVAR ? g * var : g;
}

/* vectors a row of what follows */
#define LOW_RANK_ROW(r, s, rank) (2 * (r) + 3 * (s) + 4 * (rank) + 6)

static void low_rank_gradients(const gkl_group *group, const low_rank_side *of_p,
                               const low_rank_side *of_q, vec *work) {
    const ptrdiff_t d = of_p->dim, r = of_p->rank, s = of_q->rank, rank = r > s ? r : s;
    vec *const *out = (vec *const *)group->out;
    const int want_p = out[2] || out[5], want_q = out[4] || out[6];
    vec **const at = &work;
    const low_rank_model p = {*of_p, FN(take)(at, d * r), FN(take)(at, d)};
    const low_rank_model q = {*of_q, FN(take)(at, d * s), FN(take)(at, d)};
    vec *h_p = FN(take)(at, d * r), *h_q = FN(take)(at, d * s);
    vec *change = FN(take)(at, d * rank), *solved = FN(take)(at, d * rank);
    vec *solved_p = FN(take)(at, d * s), *result = FN(take)(at, d * rank);
    vec *dv = FN(take)(at, d), *z = FN(take)(at, d);
    vec *diag_p = FN(take)(at, d), *diag_q = FN(take)(at, d);
    const vec half = vset((REAL)0.5), zero = vset(0);

    low_rank_filter(&q, 0, work);
    for (ptrdiff_t k = 0; k < d; ++k) {
        z[k] = q.of.mean ? p.of.mean[k] - q.of.mean[k] : p.of.mean[k];
        dv[k] = p.of.var[k] - q.of.var[k];
        for (ptrdiff_t j = 0; j < rank; ++j)
            change[k * rank + j] = (j < r ? p.of.factor[k * r + j] : zero)
                                   - (j < s ? q.of.factor[k * s + j] : zero);
    }
    low_rank_solve(&q, 1, z, work);
    for (ptrdiff_t k = 0; k < d; ++k) {
        if (out[1])
            out[1][k] = z[k];
        if (out[3])
            out[3][k] = -z[k];
    }
    if (!want_p && !want_q)
        return;
    memcpy(solved, change, (size_t)(d * rank) * sizeof(vec));
    low_rank_solve(&q, rank, solved, work);
    low_rank_solve_own(&q, h_q, work);
    if (want_p) {
        low_rank_filter(&p, 0, work);
        low_rank_solve_own(&p, h_p, work);
    }
    if (out[5])
        low_rank_times_difference(&p, &q, dv, change, solved, h_q, h_p, r, out[5], work);
    if (out[6]) {
        low_rank_times_difference(&p, &q, dv, change, solved, h_q, h_q, s, result, work);
        vec *image = work; /* F_q^T z */
        low_rank_clear(s, image);
        for (ptrdiff_t k = 0; k < d; ++k)
            low_rank_add_outer(1, s, z + k, q.of.factor + k * s, image, 1);
        for (ptrdiff_t k = 0; k < d; ++k)
            for (ptrdiff_t j = 0; j < s; ++j)
                out[6][k * s + j] = -vfma(z[k], image[j], result[k * s + j]);
    }
    if (out[2]) {
        for (ptrdiff_t k = 0; k < d; ++k)
            for (ptrdiff_t j = 0; j < s; ++j)
                solved_p[k * s + j] = change[k * rank + j];
        low_rank_solve(&p, s, solved_p, work);
        low_rank_diagonal(&q, &p, dv, 0, diag_p, work);
    }
    if (out[4])
        low_rank_diagonal(&q, &q, dv, 0, diag_q, work);
    if (out[2]) {
        low_rank_filter(&p, 1, work);
    }
    if (out[2] || out[4])
        low_rank_filter(&q, 1, work);
    if (out[2]) {
        low_rank_diagonal(&q, &p, dv, 1, diag_p, work);
        for (ptrdiff_t k = 0; k < d; ++k) {
            const vec sum = low_rank_dot(r, solved + k * rank, h_p + k * r)
                            + low_rank_dot(s, h_q + k * s, solved_p + k * s);
            out[2][k] = low_rank_by_scale(half * (diag_p[k] + sum), group->p,
                                          ((const vec *)group->in[1])[k], p.of.var[k]);
        }
    }
    if (out[4]) {
        low_rank_diagonal(&q, &q, dv, 1, diag_q, work);
        for (ptrdiff_t k = 0; k < d; ++k) {
            const vec *u = solved + k * rank, *h = h_q + k * s;
            const ptrdiff_t both = r < s ? r : s;
            const vec sum = (low_rank_dot(r, u, u) + low_rank_dot(both, u, h))
                            + (low_rank_dot(s, h, u) + z[k] * z[k]);
            out[4][k] = low_rank_by_scale(-half * (diag_q[k] + sum), group->q,
                                          ((const vec *)group->in[3])[k], q.of.var[k]);
        }
    }
}
