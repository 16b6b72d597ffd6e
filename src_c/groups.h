/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Of groups.c: items of a task that have a matrix or a factor.
 */
#ifndef GKL_GROUPS_H
#define GKL_GROUPS_H

#include "plan.h"

/* The operand that gradient `out` belongs to, and back. */
static inline int gkl_operand_of(int out) { return out <= GKL_WEIGHT ? out - 1 : out; }

static inline int gkl_output_of(int place) { return place < GKL_WEIGHT ? place + 1 : place; }

/* The second axis of an operand: d of a matrix, the rank of a factor, 1 of a vector. */
ptrdiff_t gkl_columns(const gkl_job *job, int operand);

/* Which kernel, if any, and about how much work an item is. */
void gkl_plan_groups(gkl_plan *plan);

/* A matrix that all items share is factored once: its factor becomes an operand of `job`, in memory
 * that is the caller's to free.  What gkl_run gives. */
int gkl_share_factors(gkl_job *job, void *memory[2]);

/* Items [row, row + rows) of one of `kept`: outputs written, gradients that are summed over the
 * batch added to `sums`.  Gives the number of bad items, -1 without memory. */
ptrdiff_t gkl_do_groups(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, ptrdiff_t rows,
                        double *sums);

/* The same one by one, where the plan says so. */
ptrdiff_t gkl_do_items(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, ptrdiff_t rows,
                       double *sums);

#endif
