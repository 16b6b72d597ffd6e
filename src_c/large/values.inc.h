/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a pair of pair.inc.h to the divergences; and what there is of a single Gaussian.
 *
 * Parameters: those of tiles.inc.h.
 */
#ifndef REAL
#error large/values.inc.h needs simd/real.h
#endif

static void FN(put)(const gkl_item *item, int place, double x) {
    if (item->out[place])
        gkl_write(BITS == 64, item->out[place], x);
}

/* the squares below the diagonal */
static void FN(add_squares)(const space *s, const REAL *m, tally *total) {
    for (ptrdiff_t i = 1; i < s->d; ++i)
        tally_add(total, FN(row_squares)(m + i * s->ld, i));
}

static void FN(add_vector_squares)(const space *s, const REAL *y, tally *total) {
    for (ptrdiff_t k = 0; k < s->d; k += BLOCK)
        tally_add(total, FN(row_squares)(y + k, s->d - k < BLOCK ? s->d - k : BLOCK));
}

/* The square of a given root may be out of range: are the pivots k what they should be? */
static int FN(pivots_inside)(const FN(pair) *t, ptrdiff_t k) {
    return isnormal(t->a.pivot[k]) && isnormal(t->b.pivot[k]);
}

/* What the pivots k of A and B are to each other: u, of which u + 1 is their ratio; then log1p(u),
 * and u - log1p(u).  Where the ratio is small it is known better than u. */
static double FN(pivot_excess)(const FN(pair) *t, ptrdiff_t k) {
    const double a = t->a.root[k], b = t->b.root[k];
    return FN(pivots_inside)(t, k) ? t->excess[k] / t->b.pivot[k] : (a - b) / b * ((a + b) / b);
}

static double FN(pivot_log)(const FN(pair) *t, ptrdiff_t k) {
    const double u = FN(pivot_excess)(t, k), a = t->a.root[k], b = t->b.root[k];
    return fabs(u) < 0.5 ? log1p(u) : 2 * (isnormal(a / b) ? log(a / b) : log(a) - log(b));
}

static double FN(pivot_phi)(const FN(pair) *t, ptrdiff_t k) {
    const double u = FN(pivot_excess)(t, k);
    double phi = u;
    if (u < -0.75)
        return u - FN(pivot_log)(t, k);
    if (u <= DBL_MAX) /* else it has overflown */
        gkl_scalar_function("phi", GKL_F64, 1, &u, &phi);
    return phi;
}

/* of finite operands with Cholesky factors */
static double FN(overflown)(double x) { return isnan(x) ? INFINITY : x; }

/* the share of the covariances in twice the Jeffreys divergence, and the mean's the other way */
static void FN(add_jeffreys)(const FN(pair) *t, tally *cov, tally *mean) {
    const space *s = &t->s;
    char *work = t->work;
    REAL *y = FN(take)(&work, (size_t)s->d, sizeof(REAL));
    for (ptrdiff_t k = 0; k < s->d; ++k) {
        const double w = FN(pivot_excess)(t, k) * (t->b.root[k] / t->a.root[k]);
        tally_add(cov, w * w);
    }
    FN(add_squares)(s, t->x, cov);
    FN(add_squares)(s, t->xi, cov);
    memcpy(y, t->delta, (size_t)s->d * sizeof(REAL));
    if (t->inverted)
        FN(apply_side)(s, &t->b, TIMES_TRANSPOSED, y);
    else
        FN(apply_side)(s, &t->a, SOLVE, y);
    FN(add_vector_squares)(s, y, mean);
}

static void FN(values)(const gkl_item *item, const FN(pair) *t) {
    const space *s = &t->s;
    const gkl_output output = item->job->output;
    tally cov = {0, 0}, mean = {0, 0}, trace = {0, 0}, logdet = {0, 0}, logs = {0, 0};
    double value;
    FN(add_vector_squares)(s, t->y, &mean);
    if (output == GKL_JEFFREYS) {
        FN(add_jeffreys)(t, &cov, &mean);
    } else {
        FN(add_squares)(s, t->x, &cov);
        trace = cov;
        for (ptrdiff_t k = 0; k < s->d; ++k)
            tally_add(&cov, FN(pivot_phi)(t, k));
    }
    value = tally_total(&cov) / 2 + tally_total(&mean) / 2;
    if (output == GKL_CROSS || output == GKL_TERMS)
        for (ptrdiff_t k = 0; k < s->d; ++k) {
            const double root = (t->inverted ? &t->a : &t->b)->root[k];
            const double ratio = t->a.root[k] / t->b.root[k];
            tally_add(&trace, FN(pivots_inside)(t, k) ? t->a.pivot[k] / t->b.pivot[k]
                                                      : ratio * ratio);
            tally_add(&logdet, -FN(pivot_log)(t, k));
            tally_add(&logs, (t->inverted ? -2 : 2) * log(root));
        }
    if (output == GKL_CROSS)
        value = (tally_total(&logs) + (double)s->d * LOG_2_PI) / 2
                + (tally_total(&trace) / 2 + tally_total(&mean) / 2);
    if (output != GKL_TERMS) {
        FN(put)(item, 0, FN(overflown)(value));
        return;
    }
    const double terms[] = {tally_total(&mean), tally_total(&trace),    tally_total(&logdet),
                            value,              tally_total(&mean) / 2, tally_total(&cov) / 2};
    for (int k = 0; k < (int)(sizeof terms / sizeof terms[0]); ++k)
        FN(put)(item, k, FN(overflown)(terms[k]));
}

/* one Gaussian: its entropy, or its factor; 1 when it is bad */
static int FN(single)(const gkl_item *item) {
    const gkl_job *job = item->job;
    const space s = space_of(job, item->blas, item->nthreads);
    char *work = item->work;
    FN(side) side;
    const int inverted = job->output == GKL_ENTROPY || job->q != GKL_TRIL;
    if (FN(read_side)(&s, item, 0, inverted, &side, &work) || FN(factor_side)(&s, &side))
        return 1;
    if (job->output == GKL_FACTOR) {
        for (ptrdiff_t i = 0; i < s.d; ++i) {
            memset(side.l + i * s.ld + i + 1, 0, (size_t)(s.d - i - 1) * sizeof(REAL));
            gkl_scatter(BITS == 64, side.l + i * s.ld, 1, s.d, item->out[0] + i * job->out[0].step,
                        0, job->out[0].across);
        }
        return 0;
    }
    tally logs = {0, 0};
    for (ptrdiff_t k = 0; k < s.d; ++k)
        tally_add(&logs, log(side.root[k]));
    FN(put)(item, 0, (job->p == GKL_PRECISION ? -1 : 1) * tally_total(&logs)
                         + (double)s.d * (1 + LOG_2_PI) / 2);
    return 0;
}
