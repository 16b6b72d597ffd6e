/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Of emit.c: where a row begins, and what becomes of its totals.
 */
#ifndef GKL_EMIT_H
#define GKL_EMIT_H

#include "plan.h"

/* The operands of a row. */
void gkl_in_at(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, const char **in);
void gkl_out_at(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, char **out);

/* The totals of a row, total[t * stride], to where they belong: its outputs, and the task's sums
 * (of a segment of this length) when there are any. 1 when the item is bad. */
int gkl_emit_totals(const gkl_plan *plan, const char *const *in, char *const *out,
                    const double *total, ptrdiff_t stride, double *sums, ptrdiff_t length);

/* The same for a row whose segments have been put together. */
int gkl_emit_row(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, const double *total,
                 double *sums);

#endif
