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

/* Items of one side, packed: rows in panels of pair_rows, or lanes of vectors. */
typedef struct {
    const gkl_array *mean, *scale;
    gkl_kind kind;
    ptrdiff_t count, most; /* items now, and at most */
    ptrdiff_t first;
    char *product, *more, *logdet; /* see gkl_tile */
    unsigned char *state;          /* gkl_item_state */
} gkl_side;

typedef struct {
    const gkl_pairwise_job *job;
    const gkl_table *table;
    gkl_taker *taker;
    gkl_form form;
    gkl_tile_kernel *tile;
    double order, rest, factor; /* rest: 1 - order, which that may be too close to 1 to give */
    int is_f64;
    ptrdiff_t size, lanes, rows;
    gkl_side p, q;
    int status;
} gkl_pairing;

/* `n` values of items at the ends of the range: of row `row` of all p, and columns of all q. */
int gkl_extreme_values(const gkl_pairing *x, ptrdiff_t row, const ptrdiff_t *column, ptrdiff_t n,
                       char *value);

/* Every value to the taker; those of one row in the order of their columns, different rows by
 * different threads at a time.  Not 0 from `take` is the end: GKL_NO_MEMORY. */
int gkl_each_pair(const gkl_pairwise_job *job, gkl_taker *taker);

#endif
