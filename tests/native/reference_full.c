/* SPDX-License-Identifier: BSD-3-Clause
 *
 * KL of two covariances S_p and S_q in long double, by other formulas than the kernels': of
 * M = L_q^-1 E L_q^-T, E = S_p - S_q, by its L D L^T that never adds the identity, and gradients by
 * 1/2 S_q^-1 E S_p^-1 and -1/2 (S_q^-1 E S_q^-1 + z z^T).  E is found from the difference of the
 * parameters where they are of one kind, so that nothing cancels.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"
#include "reference.h"

typedef long double real;
typedef real matrix[REFERENCE_D * REFERENCE_D];

static const real LOG_2_PI = 1.837877066409345483560659472811235L;
static ptrdiff_t d;

/* c = a b, of b its transpose when so told */
static void product(const real *a, const real *b, int transposed, real *c) {
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j) {
            real sum = 0;
            for (ptrdiff_t k = 0; k < d; ++k)
                sum += a[i * d + k] * b[transposed ? j * d + k : k * d + j];
            c[i * d + j] = sum;
        }
}

static void cholesky(const real *s, real *l) {
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j) {
            real sum = j <= i ? s[i * d + j] : 0;
            for (ptrdiff_t k = 0; j <= i && k < j; ++k)
                sum -= l[i * d + k] * l[j * d + k];
            l[i * d + j] = j > i ? 0 : j == i ? sqrtl(sum) : sum / l[j * d + j];
        }
}

/* v = l^-1 */
static void invert_lower(const real *l, real *v) {
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j) {
            real sum = i == j;
            for (ptrdiff_t k = j; k < i; ++k)
                sum -= l[i * d + k] * v[k * d + j];
            v[i * d + j] = j > i ? 0 : sum / l[i * d + i];
        }
}

/* s^-1, and its lower factor's inverse */
static void invert(const real *s, real *v, real *inverse) {
    static matrix l;
    cholesky(s, l);
    invert_lower(l, v);
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j) {
            inverse[i * d + j] = 0;
            for (ptrdiff_t k = i > j ? i : j; k < d; ++k)
                inverse[i * d + j] += v[k * d + i] * v[k * d + j];
        }
}

typedef struct {
    gkl_kind kind;
    ptrdiff_t rank;
    const double *factor;
    matrix given; /* the parameter, a matrix whatever it is */
    matrix s, inverse, v; /* S, S^-1, L^-1 */
    real log_det;
} side;

static real variance(gkl_kind kind, real x) {
    return kind == GKL_STD ? x * x : kind == GKL_LOGVAR ? expl(x) : kind == GKL_UNIT ? 1 : x;
}

static void side_of(side *x, gkl_kind kind, const double *scale, const double *factor,
                    ptrdiff_t rank) {
    static matrix v;
    x->kind = kind;
    x->rank = rank;
    x->factor = factor;
    const int full = kind >= GKL_COV && kind <= GKL_PRECISION;
    for (ptrdiff_t i = 0; i < d; ++i)
        for (ptrdiff_t j = 0; j < d; ++j) {
            real *to = &x->given[i * d + j];
            *to = full     ? (real)scale[i >= j ? i * d + j : j * d + i]
                  : i == j ? variance(kind, kind == GKL_UNIT ? 1 : (real)scale[i])
                           : 0;
            if (kind == GKL_TRIL && j > i)
                *to = 0;
            for (ptrdiff_t r = 0; r < rank; ++r)
                *to += (real)factor[i * rank + r] * (real)factor[j * rank + r];
        }
    if (kind == GKL_TRIL)
        product(x->given, x->given, 1, x->s);
    else if (kind == GKL_PRECISION)
        invert(x->given, v, x->s);
    else
        memcpy(x->s, x->given, sizeof x->s);
    invert(x->s, x->v, x->inverse);
    x->log_det = 0;
    for (ptrdiff_t i = 0; i < d; ++i)
        x->log_det -= 2 * logl(x->v[i * d + i]);
}

/* E = S_p - S_q */
static void difference(const side *p, const side *q, real *e) {
    static matrix delta, half;
    for (ptrdiff_t i = 0; i < d * d; ++i)
        delta[i] = p->given[i] - q->given[i];
    if (p->kind == GKL_TRIL && (q->kind == p->kind || q->kind == GKL_UNIT)) {
        /* D L_q^T + L_p D^T; a unit is its own factor and inverse */
        product(delta, q->given, 1, half);
        product(p->given, delta, 1, e);
        for (ptrdiff_t i = 0; i < d * d; ++i)
            e[i] += half[i];
    } else if (p->kind == GKL_PRECISION && (q->kind == p->kind || q->kind == GKL_UNIT)) {
        /* -S_p D S_q */
        product(p->s, delta, 0, half);
        product(half, q->s, 0, e);
        for (ptrdiff_t i = 0; i < d * d; ++i)
            e[i] = -e[i];
    } else {
        for (ptrdiff_t i = 0; i < d * d; ++i)
            e[i] = p->s[i] - q->s[i];
    }
}

/* tr M - log det(I + M), which is sum phi(p_k) + ..., and log det(I + M) */
static real divide(real *m, real *log_det) {
    static matrix u;
    real sum = 0;
    *log_det = 0;
    for (ptrdiff_t k = 0; k < d; ++k)
        for (ptrdiff_t i = k; i < d; ++i) {
            real v = m[i * d + k];
            for (ptrdiff_t j = 0; j < k; ++j)
                v -= m[i * d + j] * u[k * d + j];
            m[i * d + k] = v; /* m becomes v */
            u[i * d + k] = v / (1 + m[k * d + k]);
            if (i > k) {
                sum += v * u[i * d + k];
            } else {
                sum += reference_phi(v);
                *log_det += log1pl(v);
            }
        }
    return sum;
}

/* dKL = sum_ij g_ij dS_ij in the parameters of this side */
static void chain(const side *x, const double *scale, const real *g, real *out, real *out_factor) {
    static matrix half;
    if (x->kind == GKL_TRIL) {
        product(g, x->given, 0, half);
        for (ptrdiff_t i = 0; i < d * d; ++i)
            out[i] = i % d > i / d ? 0 : 2 * half[i];
    } else if (x->kind == GKL_PRECISION) {
        product(x->s, g, 0, half);
        product(half, x->s, 0, out);
        for (ptrdiff_t i = 0; i < d * d; ++i)
            out[i] = -out[i];
    } else if (x->kind == GKL_COV) {
        memcpy(out, g, (size_t)(d * d) * sizeof *out);
    } else {
        for (ptrdiff_t i = 0; i < d; ++i) {
            const real slope = x->kind == GKL_STD      ? 2 * (real)scale[i]
                               : x->kind == GKL_LOGVAR ? x->s[i * d + i]
                                                       : 1;
            out[i] = slope * g[i * d + i];
            for (ptrdiff_t r = 0; r < x->rank; ++r) {
                out_factor[i * x->rank + r] = 0;
                for (ptrdiff_t j = 0; j < d; ++j)
                    out_factor[i * x->rank + r] +=
                        2 * g[i * d + j] * (real)x->factor[j * x->rank + r];
            }
        }
    }
}

static real worse(real condition, const side *x) {
    for (ptrdiff_t i = 0; i < d; ++i)
        condition = fmaxl(condition, x->s[i * d + i] * x->inverse[i * d + i]);
    return condition;
}

full_reference full_reference_of(const gaussians *x, ptrdiff_t item) {
    static side p, q;
    static matrix e, m, half, g;
    static real delta[REFERENCE_D], z[REFERENCE_D];
    const gaussians one = alone(x, item);
    full_reference r = {.kl = 0};
    d = x->d;
    side_of(&p, x->p, one.in[1], one.in[GKL_FACTOR_P], x->rank_p);
    side_of(&q, x->q, one.in[3], one.in[GKL_FACTOR_Q], x->rank_q);
    difference(&p, &q, e);
    product(q.v, e, 0, half);
    product(half, q.v, 1, m);
    real trace = (real)d, maha = 0, other = 0, jeffreys = 0, log_det;
    for (ptrdiff_t i = 0; i < d; ++i) {
        trace += m[i * d + i];
        delta[i] = (real)one.in[0][i] - (one.in[2] ? (real)one.in[2][i] : 0);
    }
    for (ptrdiff_t i = 0; i < d; ++i) {
        z[i] = 0;
        for (ptrdiff_t j = 0; j < d; ++j) {
            z[i] += q.inverse[i * d + j] * delta[j];
            other += delta[i] * p.inverse[i * d + j] * delta[j];
        }
        maha += delta[i] * z[i];
    }
    const real cov = divide(m, &log_det);
    product(q.inverse, e, 0, half);
    product(half, p.inverse, 0, g); /* twice the gradient in S_p */
    for (ptrdiff_t i = 0; i < d * d; ++i)
        jeffreys += g[i] * e[i % d * d + i / d];
    r.kl = (maha + cov) / 2;
    r.jeffreys = (jeffreys + maha + other) / 2;
    r.cross = ((real)d * LOG_2_PI + q.log_det + trace + maha) / 2;
    r.entropy = ((real)d * (1 + LOG_2_PI) + p.log_det) / 2;
    memcpy(r.terms, (real[]){maha, trace, -log_det, r.kl, maha / 2, cov / 2}, sizeof r.terms);
    r.condition = worse(worse(1, &p), &q);
    r.scale = 2 * (real)d + fabsl(p.log_det) + fabsl(q.log_det) + trace + maha;
    const size_t n = (size_t)(d * d);
    r.memory = calloc(5 * n + 2 * (size_t)(d * (x->rank_p + x->rank_q + 1)) + 1, sizeof(real));
    r.factor = r.memory;
    cholesky(x->p == GKL_PRECISION ? p.given : p.s, r.factor);
    real *next = r.memory + n;
    const ptrdiff_t sizes[] = {0, d, (ptrdiff_t)n, d, (ptrdiff_t)n, d * x->rank_p, d * x->rank_q};
    for (int k = 1; k < GKL_MAX_OUT; next += sizes[k++])
        r.gradient[k] = next;
    for (ptrdiff_t i = 0; i < d; ++i) {
        r.gradient[1][i] = z[i];
        r.gradient[3][i] = -z[i];
    }
    for (ptrdiff_t i = 0; i < d * d; ++i)
        m[i] = (g[i] + g[i % d * d + i / d]) / 4;
    chain(&p, one.in[1], m, r.gradient[2], r.gradient[5]);
    product(half, q.inverse, 0, g);
    for (ptrdiff_t i = 0; i < d * d; ++i)
        m[i] = -(g[i] + g[i % d * d + i / d]) / 4 - z[i / d] * z[i % d] / 2;
    if (x->q != GKL_UNIT)
        chain(&q, one.in[3], m, r.gradient[4], r.gradient[6]);
    return r;
}
