/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernels should give for one dimension, in long double and by other formulas than theirs.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "gkl.h"

/* `want` is met when |got - want| <= 4 eps scale; numbers of several dimensions are added up. */
typedef struct {
    long double want, scale;
} number;

typedef struct {
    number kl, jeffreys, cross, entropy;
    number terms[6];    /* as GKL_TERMS orders them */
    number gradient[5]; /* as GKL_GRAD orders them; the first is kl */
} reference;

long double reference_phi(long double u); /* u - log1p(u) */
long double reference_psi(long double y); /* expm1(y) - y */

/* mean_p, scale_p, mean_q, scale_q; the last two are not read when q is GKL_UNIT */
reference reference_of(gkl_kind p, gkl_kind q, gkl_type type, const double *in);

/* of diagonal Gaussians with d dimensions, from mean_p, scale_p, mean_q, scale_q */
typedef struct {
    long double value[GKL_METRICS];
    long double var_p; /* sum */
    long double mixed; /* of the order given: the least (v_q + (1 - order) (v_p - v_q)) / v_q */
} pair_reference;

pair_reference reference_pair(gkl_kind p, gkl_kind q, ptrdiff_t d, double *const in[4],
                              double order);

#endif
