/* SPDX-License-Identifier: BSD-3-Clause
 *
 * n diagonal Gaussians against m: in numbers, put into memory, and what comes of every pair.
 */
#ifndef PAIRS_H
#define PAIRS_H

#include "harness.h"
#include "reference.h"

#define EACH_KIND_PAIR(p, q) EACH(p, 3) EACH(q, 3)

extern const char *const metric_names[];

typedef struct {
    gaussians x; /* its first n are p, its first m are q */
    ptrdiff_t n, m;
    gkl_metric metric;
    double order;
} pairs;

typedef struct {
    layout in, out; /* rows, columns, reversed or spaced */
    int gap;        /* bytes after each row of the results */
    int shift, at_end, nthreads;
    int (*poll)(void);
} way;

/* of every four of q, where kinds are the same: one equal to one of p, two more or less near */
pairs pairs_make(int p, int q, gkl_type type, ptrdiff_t n, ptrdiff_t m, ptrdiff_t d);
/* item j of q, of the kind of p, at a relative distance e from item i of p */
void pairs_near(pairs *x, ptrdiff_t j, ptrdiff_t i, double e);
pairs pairs_alone(const pairs *x, ptrdiff_t i, ptrdiff_t j); /* not to be freed */
void pairs_describe(char *text, size_t size, const pairs *x);

/* One problem is in memory at a time, in the slots from 0 to 3; `stride` has room for 4. */
gkl_pairwise_job job_of(const pairs *x, const way *how, ptrdiff_t *stride);
char *buffer_of(int slot, size_t bytes, const way *how);
gkl_type value_type(const pairs *x);
ptrdiff_t value_size(const pairs *x);

results measure(const pairs *x, const way *how); /* values (n, m), the states of p, of q */
void check_way(const pairs *x, const way *how, const results *want, const char *name);
pair_reference pairs_reference(const pairs *x, ptrdiff_t i, ptrdiff_t j);
int meets(const pairs *x, const pair_reference *want, double got);

#endif
