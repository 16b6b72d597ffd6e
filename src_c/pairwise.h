/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every p against every q: items are packed once, and then compared tile by tile.
 */
#ifndef GKL_PAIRWISE_H
#define GKL_PAIRWISE_H

#include "internal.h"

/* What becomes of the values of row `row` of p and `n` of q from `column` on. */
typedef struct gkl_taker gkl_taker;
struct gkl_taker {
    int (*take)(gkl_taker *self, ptrdiff_t row, ptrdiff_t column, ptrdiff_t n, const void *value);
    char *out;        /* or, when take is NULL, they are put here, one beside the other, */
    ptrdiff_t stride; /* in rows of so many bytes */
};

/* Every value to the taker; those of one row in the order of their columns, different rows by
 * different threads at a time.  Not 0 from `take` is the end: GKL_NO_MEMORY. */
int gkl_each_pair(const gkl_pairwise_job *job, gkl_taker *taker);

#endif
