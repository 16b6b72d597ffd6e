/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gkl_job.index: items that are gathered give what the same items laid out one by one give.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"

/* the items that an index names, one after the other */
static gaussians laid_out(const gaussians *x, const manner *how) {
    gaussians to = *x;
    to.rows = how->count;
    EACH(k, GKL_MAX_IN) {
        if (!x->in[k])
            continue;
        const int is_q = k == 2 || k == 3 || k == GKL_FACTOR_Q;
        const ptrdiff_t *index = k == GKL_WEIGHT ? NULL : how->index[is_q], n = item_size(x, k);
        to.in[k] = malloc((size_t)(how->count * n + 1) * sizeof(double));
        EACH(i, how->count)
            memcpy(to.in[k] + i * n, x->in[k] + (index ? index[i] : i) * n,
                   (size_t)n * sizeof(double));
    }
    return to;
}

/* `given`: bits, which of the two are gathered; the others are as they come */
static void check_gathers(const gaussians *x, gkl_output output, int given, const ptrdiff_t *of_p,
                          const ptrdiff_t *of_q, ptrdiff_t count) {
    static const layout layouts[] = {ROWS, SPACED, REVERSED};
    char what[100];
    manner how = {.output = output, .batch_axes = 1, .nthreads = 1, .count = count,
                  .index = {given & 1 ? of_p : NULL, given & 2 ? of_q : NULL}};
    gaussians laid = laid_out(x, &how);
    describe(what, sizeof what, x, (int)output);
    EACH(sums, output == GKL_GRAD && count > 0 ? 2 : 1) {
        manner plain = {.output = output, .batch_axes = 1, .nthreads = 1, .nsum = sums,
                        .summed = sums ? 30 : 0};
        results want = solve(&laid, &plain);
        check(want.code == 0, "%s: code %d", what, want.code);
        EACH(l, COUNT(layouts)) {
            EACH(k, GKL_MAX_IN) how.in[k] = layouts[l];
            how.at_end = l != REVERSED;
            how.nthreads = 1 + l;
            how.nsum = sums;
            how.summed = plain.summed;
            results got = solve(x, &how);
            check(same(&want, &got), "%s: %td gathered (%d), %s%s: other bits", what, count, given,
                  layout_names[layouts[l]], sums ? ", summed" : "");
            results_free(&got);
        }
        results_free(&want);
    }
    gaussians_free(&laid);
}

/* Items repeat, come in any order, and one is bad. */
void test_gathers(void) {
    static const ptrdiff_t counts[] = {0, 1, 7, 70, 300};
    static const int pairs[][2] = {{GKL_VAR, GKL_VAR}, {GKL_STD, GKL_LOGVAR},
                                   {GKL_LOGVAR, GKL_LOGVAR}, {GKL_COV, GKL_COV},
                                   {GKL_COV, GKL_TRIL}};
    static const ptrdiff_t dims[2][3] = {{1, 5, 600}, {1, 4, 33}}; /* diagonal, full */
    group_begin("gathered items");
    EACH(pair, COUNT(pairs)) EACH(t, 2) EACH(s, 3) EACH(c, COUNT(counts)) {
        const int p = pairs[pair][0], q = pairs[pair][1], is_full = p == GKL_COV;
        const ptrdiff_t count = counts[c], rows = count + 3, d = dims[is_full][s];
        ptrdiff_t index[2][300];
        gaussians x;
        if (quick && is_full && pair % 2 == t)
            continue;
        if ((count > 7 && s == 2 && (is_full || pair != t || quick)) || (count > 70 && s != 1))
            continue; /* enough of each */
        if (is_full) {
            matrices_make(&x, p, q, computed[t], rows, d);
            x.in[GKL_WEIGHT] = calloc((size_t)rows, sizeof(double));
            EACH(i, rows) x.in[GKL_WEIGHT][i] = rounded(x.type, uniform(-1, 1));
        } else {
            gaussians_make(&x, (gkl_kind)p, (gkl_kind)q, computed[t], GENERIC, rows, d);
        }
        x.in[1][item_size(&x, 1)] = (double)NAN; /* of item 1 */
        EACH(i, count) EACH(k, 2) index[k][i] = (ptrdiff_t)uniform(0, (double)rows);
        EACH(grad, 2) for (int given = 1; given < 4; ++given)
            check_gathers(&x, grad ? GKL_GRAD : GKL_VALUE, given, index[0], index[1], count);
        gaussians_free(&x);
    }
    group_end();
}
