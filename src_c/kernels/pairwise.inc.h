/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every one of some rows against every lane of some vectors, diagonal Gaussians.
 *
 *     delta = mean_1 - mean_2,  u = v_1/v_2 - 1,  y = log(v_1/v_2)
 *
 *     KL            = 1/2 sum [u + delta^2/v_2] - 1/2 (log det S_1 - log det S_2)  (product form)
 *                   = 1/2 sum [phi(u) + delta^2/v_2]                             (difference form)
 *     Jeffreys      = 1/2 sum [(v_1 - v_2)^2/(v_1 v_2) + delta^2 (1/v_1 + 1/v_2)]
 *     Wasserstein^2 = sum [delta^2 + (s_1 - s_2)^2]
 *     Renyi         = 1/2 sum [log1p((1 - a) u)/(1 - a) - log1p(u) + a delta^2/w],
 *                     w = v_2 + (1 - a) (v_1 - v_2)
 *
 * The product form takes four instructions a pair and dimension, and loses digits where KL is
 * small beside the numbers that are summed.  Where it may have lost too many, the difference form
 * takes its place, pair by pair: what a pair gives depends on nothing but itself.
 *
 * Parameters: real.h, the vector words, math.inc.h, lanes.inc.h.
 */
#ifndef REAL
#error kernels/pairwise.inc.h needs simd/real.h
#endif

#ifndef PAIR_ROWS
#define PAIR_ROWS 4
#if VECTOR_BYTES == 64 /* sums that stay in registers, with what else there is: of 32, of 16 */
#define PAIR_VECTORS 4
#else
#define PAIR_VECTORS 2
#endif
#define PAIR_CHAIN 16  /* dimensions that are added up before they go to the sum so far, */
#define PAIR_BLOCK 512 /* and before that goes to the total */
#endif

#include "pairwise_items.inc.h"
#include "pairwise_cells.inc.h"

/* ---- the product form: twice KL but for the logarithms ---- */

/* dimensions [first, end), added up from 0, in variables of its own that stay in registers */
INLINE void FN(product_chain)(ptrdiff_t first, ptrdiff_t end, const REAL *row,
                              const vec *const *lane, vec *to, const int reversed) {
    vec sum[PAIR_ROWS * PAIR_VECTORS];
    UNROLL for (int s = 0; s < PAIR_ROWS * PAIR_VECTORS; ++s)
        sum[s] = vset(0);
    for (ptrdiff_t j = first; j < end; ++j) {
        vec mean[PAIR_VECTORS], var[PAIR_VECTORS], inverse[PAIR_VECTORS];
        UNROLL for (int v = 0; v < PAIR_VECTORS; ++v) {
            mean[v] = lane[v][j * GKL_PRODUCT];
            var[v] = lane[v][j * GKL_PRODUCT + 1];
            inverse[v] = lane[v][j * GKL_PRODUCT + 2];
        }
        UNROLL for (int r = 0; r < PAIR_ROWS; ++r) {
            const REAL *x = row + (j * PAIR_ROWS + r) * GKL_PRODUCT;
            UNROLL for (int v = 0; v < PAIR_VECTORS; ++v) {
                vec *s = &sum[r * PAIR_VECTORS + v];
                const vec delta = vminus(mean[v], &x[0]);
                const vec excess = vminus(var[v], &x[1]);
                if (reversed)
                    *s = vfma(vset(x[2]), vfma(delta, delta, excess), *s);
                else
                    *s = vfma(inverse[v], vfma(delta, delta, -excess), *s);
            }
        }
    }
    UNROLL for (int s = 0; s < PAIR_ROWS * PAIR_VECTORS; ++s)
        to[s] = sum[s];
}

INLINE void FN(product_form)(ptrdiff_t dim, const REAL *row, const vec *const *lane, vec *total,
                             const int reversed) {
    enum { SUMS = PAIR_ROWS * PAIR_VECTORS };
    FN(product_chain)(0, FN(smaller)(PAIR_CHAIN, dim), row, lane, total, reversed);
    for (ptrdiff_t first = PAIR_CHAIN; first < dim; first += PAIR_BLOCK) {
        const ptrdiff_t block_end = FN(smaller)(first + PAIR_BLOCK, dim);
        vec sum[SUMS], part[SUMS];
        UNROLL for (int s = 0; s < SUMS; ++s)
            sum[s] = vset(0);
        for (ptrdiff_t at = first; at < block_end; at += PAIR_CHAIN) {
            const ptrdiff_t end = FN(smaller)(at + PAIR_CHAIN, block_end);
            FN(product_chain)(at, end, row, lane, part, reversed);
            UNROLL for (int s = 0; s < SUMS; ++s)
                sum[s] = sum[s] + part[s];
        }
        UNROLL for (int s = 0; s < SUMS; ++s)
            total[s] = total[s] + sum[s];
    }
}

/* Where the product form is good enough: KL >= this times d.
 *
 * u_j is found with a relative error of 2 eps, sums of 16 and of what they give lose about 6 eps
 * of the sum of |u_j| + delta_j^2/v, which is at most 2.6 sqrt(d KL) + 6.5 KL, since |u| is at most
 * 1.8 sqrt(phi) or 3.3 phi.  To this come, for each dimension, 0.7 eps from each logarithm, and
 * what v and 1/v were rounded by where they are not parameters: eps from a standard deviation, 5
 * eps from a log-variance.  With x = sqrt(d/KL) the relative error is within 1e-5 (of double 1e-13)
 * where
 *
 *     c (2.6 x + 6.5) + e x^2 <= 168 (900),   c = 6, 7, 8.5,   e = 1.4, 3.8, 5
 *
 * (in units of half an eps), which gives x, and this is 1/x^2, by kind of parameter. */
#if BITS == 32
static const REAL FN(product_limit)[] = {(REAL)0.035, (REAL)0.072, (REAL)0.11};
#else
static const REAL FN(product_limit)[] = {0.0026, 0.0063, 0.0085};
#endif

/* ---- the difference form and the other divergences ---- */

/* one row and one vector over all dimensions; `row` and `lane` are the numbers of the product form,
 * `row_more` and `lane_more` the others */
INLINE vec FN(strip)(ptrdiff_t dim, const REAL *row, const REAL *row_more, const vec *lane,
                     const vec *lane_more, REAL order, REAL rest, const int form,
                     const int kind) {
    enum { STRIP = 64 };
    vec total = vset(0);
    for (ptrdiff_t first = 0; first < dim; first += STRIP) {
        const ptrdiff_t end = FN(smaller)(first + STRIP, dim);
        vec even = vset(0), odd = vset(0);
        for (ptrdiff_t j = first; j < end; ++j) {
            vec p[GKL_PRODUCT + GKL_DIFFERENCE], q[GKL_PRODUCT + GKL_DIFFERENCE];
            UNROLL for (int f = 0; f < GKL_PRODUCT; ++f) {
                p[f] = vset(row[j * PAIR_ROWS * GKL_PRODUCT + f]);
                q[f] = lane[j * GKL_PRODUCT + f];
            }
            UNROLL for (int f = 0; f < GKL_DIFFERENCE; ++f) {
                p[GKL_PRODUCT + f] = vset(row_more[j * GKL_DIFFERENCE + f]);
                q[GKL_PRODUCT + f] = lane_more[j * GKL_DIFFERENCE + f];
            }
            const vec term = form == GKL_FORM_KL                 ? FN(pair_kl)(p, q, kind)
                             : form == GKL_FORM_REVERSE_KL       ? FN(pair_kl)(q, p, kind)
                             : form == GKL_FORM_JEFFREYS         ? FN(pair_jeffreys)(p, q, kind)
                             : form == GKL_FORM_WASSERSTEIN      ? FN(pair_wasserstein)(p, q, kind)
                             : form == GKL_FORM_RENYI
                                 ? FN(pair_renyi)(p, q, kind, vset(order), vset(rest))
                                 : FN(pair_renyi)(q, p, kind, vset(order), vset(rest));
            const vec before = even;
            even = odd;
            odd = before + term;
        }
        total = total + (even + odd);
    }
    return form == GKL_FORM_WASSERSTEIN ? total : total * vset((REAL)0.5);
}

/* ---- a tile ---- */

/* PAIR_ROWS rows and PAIR_VECTORS vectors by the product form; whether all are good enough, and
 * which */
INLINE int FN(product_values)(const gkl_tile *t, const REAL *panel, const REAL *row_logdet,
                              const vec *const *lane, const vec *const *logdet, vec limit,
                              vec *value, mask *good, const int reversed) {
    FN(product_form)(t->dim, panel, lane, value, reversed);
    mask all = vless_equal(limit, limit);
    UNROLL for (int r = 0; r < PAIR_ROWS; ++r)
        UNROLL for (int v = 0; v < PAIR_VECTORS; ++v) {
            vec *x = &value[r * PAIR_VECTORS + v];
            const vec high = vminus(logdet[v][0], &row_logdet[2 * r]);
            const vec both = high + vminus(logdet[v][1], &row_logdet[2 * r + 1]);
            *x = vset((REAL)0.5) * (reversed ? *x - both : *x + both);
            good[r * PAIR_VECTORS + v] = vless_equal(limit, *x);
            all = vboth(all, good[r * PAIR_VECTORS + v]);
        }
    return vall(all);
}

INLINE void FN(tile_run)(const gkl_tile *t, const int form, const int kind) {
    const ptrdiff_t product = t->dim * GKL_PRODUCT, more = t->dim * GKL_DIFFERENCE;
    const int is_kl = form == GKL_FORM_KL || form == GKL_FORM_REVERSE_KL;
    const vec limit = vset((REAL)t->dim * FN(product_limit)[kind]);
    for (ptrdiff_t v = 0; v < t->vectors; v += PAIR_VECTORS) {
        const ptrdiff_t vectors = FN(smaller)(t->vectors - v, PAIR_VECTORS);
        const vec *lane[PAIR_VECTORS], *logdet[PAIR_VECTORS];
        for (int i = 0; i < PAIR_VECTORS; ++i) {
            lane[i] = (const vec *)t->lane + (v + (i < vectors ? i : 0)) * product;
            logdet[i] = (const vec *)t->lane_logdet + (v + (i < vectors ? i : 0)) * 2;
        }
        for (ptrdiff_t first = 0; first < t->rows; first += PAIR_ROWS) {
            const ptrdiff_t rows = FN(smaller)(t->rows - first, PAIR_ROWS);
            const REAL *panel = (const REAL *)t->row + first * product;
            vec value[PAIR_ROWS * PAIR_VECTORS];
            mask good[PAIR_ROWS * PAIR_VECTORS];
            const int all = is_kl
                            && FN(product_values)(t, panel, (const REAL *)t->row_logdet + 2 * first,
                                                  lane, logdet, limit, value, good,
                                                  form == GKL_FORM_REVERSE_KL);
            for (ptrdiff_t r = 0; r < rows && !all; ++r)
                for (ptrdiff_t i = 0; i < vectors; ++i) {
                    const ptrdiff_t at = r * PAIR_VECTORS + i;
                    if (is_kl && vall(good[at]))
                        continue;
                    const vec x = FN(strip)(t->dim, panel + r * GKL_PRODUCT,
                                            (const REAL *)t->row_more + (first + r) * more, lane[i],
                                            (const vec *)t->lane_more + (v + i) * more,
                                            (REAL)t->order, (REAL)t->rest, form, kind);
                    value[at] = is_kl ? vselect(good[at], value[at], x) : x;
                }
            REAL *to = (REAL *)t->value + first * t->stride + v * LANES;
            for (ptrdiff_t r = 0; r < rows; ++r, to += t->stride)
                for (ptrdiff_t i = 0; i < vectors; ++i)
                    vstore(to + i * LANES, value[r * PAIR_VECTORS + i]);
        }
    }
}

/* which of n <= 64 values are less than a limit: bit i for value i */
static uint64_t FN(pairwise_less)(const void *value, ptrdiff_t n, double limit) {
    const REAL *x = value;
    uint64_t found = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const mask less = vless(vload(x + i), vset((REAL)limit));
        if (vany(less))
            found |= (uint64_t)vbits(less) << i;
    }
    for (; i < n; ++i)
        found |= (uint64_t)(x[i] < (REAL)limit) << i;
    return found;
}

#define BODY(form, kind)                                                                           \
    static void FN(tile_##form##_##kind)(const gkl_tile *t) {                                      \
        FN(tile_run)(t, GKL_FORM_##form, GKL_##kind);                                              \
    }
#define BODIES(form) BODY(form, VAR) BODY(form, STD) BODY(form, LOGVAR)
BODIES(KL)
BODIES(REVERSE_KL)
BODIES(JEFFREYS)
BODIES(WASSERSTEIN)
BODIES(RENYI)
BODIES(REVERSE_RENYI)
#undef BODIES
#undef BODY

#ifndef PAIR_FORMS /* the table's row of each form */
#define PAIR_FORM(form, suffix)                                                                    \
    [GKL_FORM_##form] = {GKL_PASTE(tile_##form##_VAR, suffix),                                     \
                         GKL_PASTE(tile_##form##_STD, suffix),                                     \
                         GKL_PASTE(tile_##form##_LOGVAR, suffix)}
#define PAIR_FORMS(suffix)                                                                         \
    {PAIR_FORM(KL, suffix),       PAIR_FORM(REVERSE_KL, suffix),  PAIR_FORM(JEFFREYS, suffix),     \
     PAIR_FORM(WASSERSTEIN, suffix), PAIR_FORM(RENYI, suffix), PAIR_FORM(REVERSE_RENYI, suffix)}
#endif
