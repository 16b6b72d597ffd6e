/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large items of a task, one after the other.
 */
#include <stdlib.h>

#include "emit.h"
#include "groups.h"
#include "large.h"

ptrdiff_t gkl_do_items(const gkl_plan *plan, ptrdiff_t kept, ptrdiff_t row, ptrdiff_t rows,
                       double *sums) {
    gkl_item item = {.job = plan->job, .blas = plan->blas, .nthreads = plan->inner_threads};
    char *memory = malloc(gkl_large_work(plan->job) + ALIGNMENT);
    ptrdiff_t bad = 0;
    if (!memory)
        return -1;
    item.work = memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT);
    for (int k = 0; k < GKL_MAX_OUT; ++k)
        if (sums && (item.width[k] = gkl_width(plan, k, plan->job->dim)) > 0) {
            item.sum[k] = sums;
            sums += 2 * item.width[k];
        }
    for (ptrdiff_t end = row + rows; row < end; ++row) {
        gkl_in_at(plan, kept, row, item.in);
        gkl_out_at(plan, kept, row, item.out);
        bad += gkl_large_item(&item);
    }
    free(memory);
    return bad;
}
