/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Of blocks.c: rows of a task.
 */
#ifndef GKL_BLOCKS_H
#define GKL_BLOCKS_H

#include "plan.h"

/* Rows [row, row + rows) of one of `kept`, elements [first, first + length) of each: outputs
 * written, gradients that are summed over the batch added to `sums`, row totals left in
 * plan->partial when there are several segments.  Gives the number of bad items. */
ptrdiff_t gkl_do_rows(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, ptrdiff_t rows,
                      ptrdiff_t first, ptrdiff_t length, double *sums);

#endif
