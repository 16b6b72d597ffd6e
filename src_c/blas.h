/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functions of BLAS and LAPACK that large matrices want, handed in from outside by
 * gkl_use_blas: the core links against neither.  Without them it does everything by itself.
 */
#ifndef GKL_BLAS_H
#define GKL_BLAS_H

#include "gkl.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How to get them when they are first wanted: `find` calls gkl_use_blas, or does not.  It is asked
 * again while it gives anything but 0. */
void gkl_find_blas_by(int (*find)(void));

/* Which way matrices go: GKL_BY_RULE what is measured to be faster, or one of both, for tests. */
typedef enum { GKL_BY_RULE, GKL_BY_LANES, GKL_BY_BLAS } gkl_way;
void gkl_set_way(gkl_way way);

/* How the threads of this library are set: the name of the function, NULL when there is none. */
const char *gkl_blas_threads_by(void);

#ifdef __cplusplus
}
#endif
#endif
