/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All of large matrices for one type.  Parameter: real.h.
 */
#include "blas.inc.h"
#include "tiles.inc.h"
#include "difference.inc.h"
#include "products.inc.h"
#include "sides.inc.h"
#include "pair.inc.h"
#include "values.inc.h"
#include "gradients.inc.h"

/* 1 for a bad item */
static int FN(item)(const gkl_item *item) {
    FN(pair) t;
    if (item->job->output == GKL_ENTROPY || item->job->output == GKL_FACTOR)
        return FN(single)(item);
    if (FN(read_pair)(item, &t))
        return 1;
    FN(values)(item, &t);
    if (item->job->output == GKL_GRAD)
        FN(gradients)(item, &t);
    return 0;
}
