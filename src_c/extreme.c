/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every p against every q: items at the ends of the range, which the tiles leave out, one pair at a
 * time in double.
 */
#include "pairwise.h"

static double deviation(gkl_kind kind, double scale) {
    return kind == GKL_VAR ? sqrt(scale) : kind == GKL_STD ? scale : exp(scale / 2);
}

static double log_variance(gkl_kind kind, double scale) {
    return kind == GKL_LOGVAR ? scale : kind == GKL_STD ? 2 * log(scale) : log(scale);
}

/* log v_a/v_b, from the difference of parameters that are near each other */
static double log_ratio(gkl_kind kind_a, double a, gkl_kind kind_b, double b) {
    const double u = (a - b) / b;
    if (kind_a != kind_b || kind_a == GKL_LOGVAR || !(fabs(u) < 0.5))
        return log_variance(kind_a, a) - log_variance(kind_b, b);
    return (kind_a == GKL_STD ? 2 : 1) * log1p(u);
}

static double phi(const gkl_pairing *x, double u) {
    double value;
    x->table->scalar[1][0](1, &u, &value);
    return value;
}

/* order delta^2/(v_b + rest (v_a - v_b)), whose denominator may be out of range */
static double renyi_mean_part(const gkl_pairing *x, double delta, double s_a, double s_b,
                              double mixed) {
    const double rest = x->rest;
    if (delta == 0)
        return 0;
    const double w = rest > 0 ? delta / hypot(sqrt(x->order) * s_b, sqrt(rest) * s_a)
                              : delta / s_b / sqrt(mixed);
    return x->order * w * w;
}

static double extreme_term(const gkl_pairing *x, const double *mean, const double *scale,
                           const gkl_kind *kind) {
    const int a = x->form == GKL_FORM_REVERSE_RENYI, b = !a;
    const double s_a = deviation(kind[a], scale[a]), s_b = deviation(kind[b], scale[b]);
    const double y = log_ratio(kind[a], scale[a], kind[b], scale[b]), delta = mean[0] - mean[1];
    if (x->form == GKL_FORM_WASSERSTEIN) {
        const double apart = fabs(y) < 1 && kind[a] != GKL_STD ? s_b * expm1(y / 2) : s_a - s_b;
        return delta * delta + apart * apart;
    }
    const double rest = x->rest, u = expm1(y), mixed = 1 + rest * u;
    if (!(mixed > 0))
        return (double)INFINITY;
    const double logs = fabs(u) < 0.5 ? phi(x, u) - phi(x, rest * u) / rest
                        : isinf(u)    ? (log(rest) + y) / rest - y
                                      : log1p(rest * u) / rest - y;
    return 0.5 * (logs + renyi_mean_part(x, delta, s_a, s_b, mixed));
}

static double extreme_pair(const gkl_pairing *x, ptrdiff_t row, ptrdiff_t column) {
    const gkl_pairwise_job *job = x->job;
    const gkl_kind kind[] = {job->p, job->q};
    double sum = 0, rest = 0;
    for (ptrdiff_t j = 0; j < job->dim; ++j) {
        double value[4];
        for (int k = 0; k < 4; ++k)
            value[k] = gkl_read(job->storage, job->in[k].data + j * job->in[k].step
                                                  + (k < 2 ? row : column) * job->in[k].stride[0]);
        const double mean[] = {value[0], value[2]}, scale[] = {value[1], value[3]};
        gkl_two_sum(&sum, &rest, extreme_term(x, mean, scale, kind));
    }
    return gkl_sum_of(sum, rest);
}

/* `n` values of one row at these columns, by the kernels of rows where there is one */
int gkl_extreme_values(const gkl_pairing *x, ptrdiff_t row, const ptrdiff_t *column, ptrdiff_t n,
                       char *value) {
    static const ptrdiff_t none[1] = {0};
    const gkl_pairwise_job *job = x->job;
    ptrdiff_t shape[1] = {n}, out[1] = {x->size};
    if (x->form > GKL_FORM_JEFFREYS) {
        for (ptrdiff_t i = 0; i < n; ++i)
            gkl_write(x->is_f64, value + i * x->size, extreme_pair(x, row, column[i]));
        return 0;
    }
    const int is_reversed = x->form == GKL_FORM_REVERSE_KL;
    gkl_job pairs = {.p = is_reversed ? job->q : job->p, .q = is_reversed ? job->p : job->q,
                     .output = x->form == GKL_FORM_JEFFREYS ? GKL_JEFFREYS : GKL_VALUE,
                     .storage = job->storage, .ndim = 1, .shape = shape, .dim = job->dim,
                     .nthreads = 1};
    for (int k = 0; k < 4; ++k) {
        gkl_array *to = &pairs.in[is_reversed ? (k + 2) % 4 : k];
        *to = job->in[k];
        if (k < 2) {
            to->data += row * to->stride[0];
            to->stride = none;
        }
    }
    pairs.index[!is_reversed] = column;
    pairs.out[0] = (gkl_array){.data = value, .stride = out};
    return gkl_run(&pairs);
}
