/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Gaussians with a matrix or a factor, and what the kernels should give for them.
 */
#ifndef MATRICES_H
#define MATRICES_H

#include "harness.h"

/* Is one of the two more than diagonal? */
int structured(int p, int q);
#define EACH_STRUCTURED(p, q) EACH(p, GKL_KINDS) EACH(q, GKL_KINDS) if (structured(p, q))
/* every output of such a pair; those of p alone come once, beside GKL_UNIT */
int has_output(int p, int q, int output);
#define EACH_STRUCTURED_OUTPUT(o, p, q) EACH(o, GKL_OUTPUTS) if (has_output(p, q, o))

/* Of all sizes but the first every pair comes in one type, and fewer pairs if it is to be quick. */
int tried(int size, int p, int q, int type);

/* Well-conditioned pairs; NaN above the diagonals of matrices. The ranks are 3 and 2, at most d. */
void matrices_make(gaussians *x, int p, int q, gkl_type type, ptrdiff_t rows, ptrdiff_t d);
/* p of this item at relative distance e from q, which has its kind or is N(0, I) */
void matrices_near(gaussians *x, ptrdiff_t item, double e);
/* p of this item made smaller by this factor, exactly a power of 4 */
void matrices_far(gaussians *x, ptrdiff_t item, double factor);
/* one item alone; its operands stay where they are */
gaussians alone(const gaussians *x, ptrdiff_t item);

enum { REFERENCE_D = 70 };

/* `condition`: of the worse covariance, scaled, about */
typedef struct {
    long double kl, jeffreys, cross, entropy, terms[6], condition, scale;
    long double *gradient[GKL_MAX_OUT], *factor; /* as they lie in results */
    long double *memory;                         /* which is the caller's to free */
} full_reference;

full_reference full_reference_of(const gaussians *x, ptrdiff_t item);

#endif
