/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large matrices, one item at a time by BLAS.
 */
#ifndef GKL_LARGE_H
#define GKL_LARGE_H

#include "blas.h"
#include "internal.h"

/* One item of a job. */
typedef struct {
    const gkl_job *job; /* of which batch strides are not looked at */
    const gkl_blas *blas;
    const char *in[GKL_MAX_IN];
    char *out[GKL_MAX_OUT];    /* NULL: not wanted */
    double *sum[GKL_MAX_OUT];  /* gradients: if not NULL, add to these, with the rests behind them, */
    ptrdiff_t width[GKL_MAX_OUT]; /* which are this many; `out` is not written then */
    int nthreads;
    void *work;                /* gkl_large_work bytes, aligned to a cache line; the next item's too */
} gkl_item;

size_t gkl_large_work(const gkl_job *job);

/* 0, or 1 for a bad item, whose outputs are NaN.  The bits do not depend on the threads. */
int gkl_large_item(const gkl_item *item);

/* BLAS, if it is there and the faster way to this many items of this job, or NULL.  Depends on
 * neither the threads nor the outputs, so that all of them belong together. */
const gkl_blas *gkl_prefers_large(const gkl_job *job, ptrdiff_t items);

/* The table in use, or NULL. */
const gkl_blas *gkl_blas_in_use(void);

/* BLAS on one thread from the first hold to the last release, whoever calls. */
void gkl_hold_blas_threads(void);
void gkl_release_blas_threads(void);

#endif
