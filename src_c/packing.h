/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Between the caller's arrays and the vectors of a group.
 */
#ifndef GKL_PACKING_H
#define GKL_PACKING_H

#include "plan.h"

enum { GKL_MOST_LANES = GKL_PAD, GKL_FLAT = 16 /* d of matrices that are packed whole */ };

/* One task's group and what it is made of. */
typedef struct {
    const gkl_plan *plan;
    gkl_group group;
    ptrdiff_t lanes, count; /* of which hold items of their own */
    int fresh;              /* nothing is packed yet */
    int inputs[GKL_MAX_IN], ninputs, outputs[GKL_MAX_OUT], noutputs; /* those that there are */
    const char *in[GKL_MAX_IN][GKL_MOST_LANES];
    char *out[GKL_MAX_OUT][GKL_MOST_LANES];
    const char *first_in[GKL_MAX_IN]; /* of the run along the innermost axis, */
    char *first_out[GKL_MAX_OUT];
    ptrdiff_t run, run_end;           /* from this row to that */
    char *flat;                       /* vectors: a row of a gradient */
    char *rows;                       /* a row of each lane as contiguous numbers */
    ptrdiff_t row_length;
    int place[GKL_FLAT * GKL_FLAT]; /* where in panels the elements of a small matrix go */
} gkl_batch;

/* Is this operand (or its gradient) a square matrix? */
int gkl_is_matrix(const gkl_job *job, int operand);

/* A Cholesky factor that the caller has, and weights, are of the results' type. */
gkl_type gkl_type_of(const gkl_plan *plan, int operand);

/* Vectors that an operand or its gradient takes when packed. */
ptrdiff_t gkl_packed_size(const gkl_plan *plan, int operand);

/* The same of what the job gives. */
ptrdiff_t gkl_packed_output(const gkl_plan *plan, int out);

/* What of a packed matrix is set once: zeros above the diagonal, in its tiles; the identity where
 * the last tiles are beyond d; and behind the matrix a place for what is not wanted of it. */
void gkl_prepare_matrix(gkl_batch *b, char *to, ptrdiff_t size);

/* Operand k of all lanes to its vectors. */
void gkl_pack(const gkl_batch *b, int k);

/* Output k of all lanes to its place, or added to the sums of the task. */
void gkl_unpack(const gkl_batch *b, int k, double *sum);

#endif
