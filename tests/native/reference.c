/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One dimension in long double.
 */
#include <float.h>
#include <math.h>

#include "reference.h"

#if LDBL_MANT_DIG < 64
#error the reference needs a long double that is longer than double
#endif

static const long double LOG_2_PI = 1.837877066409345483560659472811235L;

/* u - log1p(u); near 0 by its series, the subtraction would cancel */
long double reference_phi(long double u) {
    if (fabsl(u) > 0.1L)
        return u - log1pl(u);
    long double sum = 0, power = u;
    for (int n = 2; n < 40; ++n) {
        power *= -u;
        sum -= power / n;
    }
    return sum;
}

/* expm1(y) - y */
long double reference_psi(long double y) {
    if (fabsl(y) > 0.1L)
        return expm1l(y) - y;
    long double sum = 0, term = y;
    for (int n = 2; n < 25; ++n) {
        term *= y / n;
        sum += term;
    }
    return sum;
}

static long double variance(gkl_kind kind, long double scale) {
    switch (kind) {
    case GKL_VAR:
        return scale;
    case GKL_STD:
        return scale * scale;
    case GKL_LOGVAR:
        return expl(scale);
    default:
        return 1;
    }
}

static long double log_variance(gkl_kind kind, long double scale) {
    switch (kind) {
    case GKL_VAR:
        return logl(scale);
    case GKL_STD:
        return 2 * logl(scale);
    case GKL_LOGVAR:
        return scale;
    default:
        return 0;
    }
}

/* d variance / d scale */
static long double slope(gkl_kind kind, long double scale) {
    return kind == GKL_VAR ? 1 : kind == GKL_STD ? 2 * scale : expl(scale);
}

/* v_p/v_q - 1 */
static long double excess(gkl_kind p, gkl_kind q, long double a, long double b) {
    if (p == GKL_LOGVAR || q == GKL_LOGVAR)
        return expm1l(log_variance(p, a) - log_variance(q, b));
    if (p == q || q == GKL_UNIT) {
        const long double t = (a - b) / b;
        return p == GKL_STD ? t * (2 + t) : t;
    }
    const long double s = p == GKL_STD ? a : b, square = s * s, rest = fmal(s, s, -square);
    return p == GKL_STD ? ((square - b) + rest) / b : ((a - square) - rest) / square;
}

static number relative(long double want) { return (number){want, fabsl(want)}; }

reference reference_of(gkl_kind p, gkl_kind q, gkl_type type, const double *in) {
    const int unit = q == GKL_UNIT;
    const long double a = (long double)in[1], b = unit ? 1 : (long double)in[3];
    const long double delta = (long double)in[0] - (unit ? 0 : (long double)in[2]);
    const long double v_p = variance(p, a), v_q = variance(q, b);
    const long double log_p = log_variance(p, a), log_q = log_variance(q, b);
    const long double m = delta * delta / v_q, u = excess(p, q, a, b);
    const int logs = p == GKL_LOGVAR && (q == GKL_LOGVAR || unit), near = fabsl(u) < 0.1L;
    const long double ratio = logs ? expl(log_p - log_q) : near ? 1 + u : v_p / v_q;
    const long double log_ratio = logs || !near ? log_p - log_q : log1pl(u);
    const long double c = logs   ? reference_psi(log_ratio) / 2
                          : near ? reference_phi(u) / 2
                                 : (u - log_ratio) / 2;

    /* a logarithm beside a variance: the result is that of a parameter that was rounded once,
     * which moves u by eps, and c by what is of first and of second order in it */
    const int mixed = !unit && (p == GKL_LOGVAR) != (q == GKL_LOGVAR);
    const long double moved = mixed ? 1 : 0;
    const long double eps = type == GKL_F64 ? DBL_EPSILON : FLT_EPSILON;
    const long double c_moved = mixed ? (u != 0 ? fabsl(c / u) : 0) + eps / 4 : 0;

    reference r = {
        .kl = {m / 2 + c, m / 2 + c + c_moved},
        .jeffreys = relative((u * u / ratio + m + delta * delta / v_p) / 2),
        .cross = {(LOG_2_PI + log_q + ratio + m) / 2, (LOG_2_PI + fabsl(log_q) + ratio + m) / 2},
        .entropy = {(LOG_2_PI + 1 + log_p) / 2, (LOG_2_PI + 1 + fabsl(log_p)) / 2},
        .terms = {relative(m), relative(ratio), {-log_ratio, fabsl(log_ratio) + moved},
                  {m / 2 + c, m / 2 + c + c_moved}, relative(m / 2), {c, c + c_moved}},
        .gradient = {{m / 2 + c, m / 2 + c + c_moved}, relative(delta / v_q)},
    };
    r.jeffreys.scale += moved * (fabsl(u) / ratio + fabsl(u) + LDBL_EPSILON);
    const long double per_p = slope(p, a) / (2 * v_p);
    r.gradient[2] = (number){u * per_p, (fabsl(u) + moved) * per_p};
    if (!unit) {
        const long double per_q = slope(q, b) / (2 * v_q);
        r.gradient[3] = relative(-delta / v_q);
        r.gradient[4] = (number){-(u + m) * per_q, (fabsl(u) + m + moved) * per_q};
    }
    return r;
}

/* of one dimension; there is none where *mixed is not positive */
static long double renyi_term(long double order, long double u, long double y, long double square,
                              long double *mixed) {
    const long double rest = 1 - order, w = rest * u;
    *mixed = 1 + w;
    if (*mixed <= 0)
        return (long double)INFINITY;
    const long double logs = fabsl(u) < 0.1L ? reference_phi(u) - reference_phi(w) / rest
                                             : log1pl(w) / rest - y;
    return (logs + order * square / *mixed) / 2;
}

pair_reference reference_pair(gkl_kind p, gkl_kind q, ptrdiff_t d, double *const in[4],
                              double order) {
    pair_reference x = {.mixed = 1};
    long double *sum = x.value;
    for (ptrdiff_t j = 0; j < d; ++j) {
        const long double a = (long double)in[1][j], b = (long double)in[3][j];
        const long double delta = (long double)in[0][j] - (long double)in[2][j];
        const long double v_p = variance(p, a), v_q = variance(q, b), u = excess(p, q, a, b);
        const int logs = p == GKL_LOGVAR && q == GKL_LOGVAR;
        const long double y = !logs && fabsl(u) < 0.1L ? log1pl(u)
                                                       : log_variance(p, a) - log_variance(q, b);
        const long double root = fabsl(y) < 0.1L ? sqrtl(v_q) * expm1l(y / 2)
                                                 : sqrtl(v_p) - sqrtl(v_q);
        long double mixed;
        x.var_p += v_p;
        sum[GKL_KL] += (reference_psi(y) + delta * delta / v_q) / 2;
        sum[GKL_REVERSE_KL] += (reference_psi(-y) + delta * delta / v_p) / 2;
        sum[GKL_WASSERSTEIN2] += delta * delta + root * root;
        sum[GKL_BHATTACHARYYA] += renyi_term(0.5L, u, y, delta * delta / v_q, &mixed) / 2;
        sum[GKL_RENYI] += renyi_term((long double)order, u, y, delta * delta / v_q, &mixed);
        x.mixed = mixed < x.mixed ? mixed : x.mixed;
    }
    sum[GKL_SYMMETRIC_KL] = sum[GKL_KL] + sum[GKL_REVERSE_KL];
    sum[GKL_HELLINGER] = sqrtl(-expm1l(-sum[GKL_BHATTACHARYYA]));
    return x;
}
