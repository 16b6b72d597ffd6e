/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of the core share: sizes, one block of work, one instruction set's table.
 */
#ifndef GKL_INTERNAL_H
#define GKL_INTERNAL_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "gkl.h"

enum {
    GKL_MAX_GRAD = 5,      /* kl and four gradients of diagonal Gaussians */
    GKL_BLOCK = 512,       /* numbers of a block: every operand's share stays in the L1 cache */
    GKL_PAD = 16,          /* lanes of the widest vector: terms are written in whole vectors */
    GKL_MAX_TERMS = 5,     /* what is summed over a row */
    GKL_SEGMENT = 1 << 14, /* a longer row is summed in segments: a multiple of GKL_BLOCK */
    GKL_SUM_LANES = 16,    /* partial sums of a row: element j goes to lane j mod 16 */
    GKL_COLUMN_ROWS = 128, /* rows of a block in batch-contiguous layouts */
    GKL_GRAIN = 1 << 17,   /* elements below which threads do not pay */
    ALIGNMENT = 64,        /* of a cache line and of the widest vector */
    PREFETCH_BYTES = 2048, /* ahead of every input stream */
};

/* What is done with a triangular factor and a vector. */
typedef enum { SOLVE, TIMES, SOLVE_TRANSPOSED, TIMES_TRANSPOSED } gkl_factor_use;

/* Contiguous numbers of one type: what an elementwise kernel sees. */
typedef struct {
    const void *in[GKL_MAX_IN]; /* as gkl_job */
    ptrdiff_t ahead[GKL_MAX_IN]; /* bytes from here to what will be wanted soon */
    void *out[GKL_MAX_GRAD];    /* as GKL_GRAD orders them, each may be NULL; [0] is not used */
    void *term[GKL_MAX_TERMS];  /* what is summed over the row, written in whole vectors */
} gkl_block;

typedef void gkl_elementwise(ptrdiff_t n, const gkl_block *block);

/* A group: as many items as a vector has lanes, one a lane, so that every number below is a vector.
 * What has length d is d of them; a factor (d, rank) lies row by row; a matrix is in the panels of
 * kernels/panels.inc.h.  The kernel may overwrite its operands.  A value is NaN where an operand is
 * or a matrix is not positive definite. */
typedef struct {
    gkl_kind p, q;
    gkl_output output;
    ptrdiff_t dim, rank_p, rank_q;
    void *in[GKL_MAX_IN];   /* as gkl_job; NULL: there is none */
    void *out[GKL_MAX_OUT]; /* as gkl_output says; NULL: not wanted */
    void *work;             /* the kernel's own */
} gkl_group;

typedef void gkl_group_kernel(const gkl_group *group);

/* Every pair of some rows and the lanes of some vectors (kernels/pairwise.inc.h). */
typedef enum {
    GKL_FORM_KL,
    GKL_FORM_REVERSE_KL,
    GKL_FORM_JEFFREYS,
    GKL_FORM_WASSERSTEIN,
    GKL_FORM_RENYI,
    GKL_FORM_REVERSE_RENYI,
    GKL_FORMS
} gkl_form;

/* Numbers of each dimension of an item: of the product form mean, variance and its inverse; and
 *     of variances: standard deviation as high + low, logarithm as high + low
 *     of standard deviations: itself, its inverse, its logarithm as high + low
 *     of log-variances: itself, the standard deviation */
enum { GKL_PRODUCT = 3, GKL_DIFFERENCE = 4 };

typedef enum { GKL_PLAIN, GKL_EXTREME, GKL_BAD } gkl_item_state;

typedef struct {
    ptrdiff_t dim, rows, vectors;
    const void *row, *row_more, *row_logdet;
    const void *lane, *lane_more, *lane_logdet;
    double order, rest; /* of Renyi divergences, and 1 - order */
    void *value; /* of row i and lane j at i stride + j */
    ptrdiff_t stride;
} gkl_tile;

typedef void gkl_tile_kernel(const gkl_tile *tile);

/* Partial sums of one row, and their rounding errors when they are kept (F64). */
typedef struct {
    double sum[GKL_SUM_LANES], rest[GKL_SUM_LANES];
} gkl_sum;

/* The same for GKL_COLUMN_ROWS rows side by side; `held` are terms that wait for their partner. */
typedef struct {
    double sum[GKL_SUM_LANES][GKL_COLUMN_ROWS], rest[GKL_SUM_LANES][GKL_COLUMN_ROWS];
    double held[GKL_SUM_LANES][GKL_COLUMN_ROWS];
} gkl_column_sum;

/* sum + x, the rounding error to rest (Knuth) */
static inline void gkl_two_sum(double *sum, double *rest, double x) {
    const double s = *sum + x, y = s - *sum;
    *rest += (*sum - (s - y)) + (x - y);
    *sum = s;
}

/* an infinite sum has no meaningful rest; + 0 so that there is one zero */
static inline double gkl_sum_of(double sum, double rest) {
    return (fabs(sum) <= DBL_MAX ? sum + rest : sum) + 0.0;
}

/* One instruction set. */
typedef struct {
    const char *name;
    int (*available)(void);
    gkl_elementwise *diag[2][GKL_UNIT + 1][GKL_UNIT + 1][GKL_OUTPUTS]; /* [is F64][p][q][output] */
    /* totals of rows of d <= GKL_BLOCK terms that lie one after the other */
    void (*sum_rows[2])(const void *term, ptrdiff_t rows, ptrdiff_t d, double *total);
    /* n more terms of a long row; all n but the last are multiples of 2 GKL_SUM_LANES */
    void (*sum_add[2])(gkl_sum *sum, const void *term, ptrdiff_t n);
    double (*sum_total[2])(const gkl_sum *sum);
    /* the terms of element j of each row, j = 0, 1, ...; then the totals of d elements */
    void (*sum_column[2])(gkl_column_sum *sum, const void *term, ptrdiff_t rows, ptrdiff_t j);
    void (*sum_columns_total[2])(gkl_column_sum *sum, ptrdiff_t rows, ptrdiff_t d, double *total);
    /* groups: their lanes and tiles, and how many vectors a kernel works in */
    int lanes[2], tile;
    gkl_group_kernel *full[2], *low_rank[2];
    ptrdiff_t (*full_work[2])(const gkl_group *group), (*low_rank_work[2])(const gkl_group *group);
    /* to[j stride] = element j of each lane's row, of which `readable` >= n may be read; and back,
     * times the lane's factor when there is one, where lane is not NULL */
    void (*pack[2])(const void *const *lane, ptrdiff_t n, ptrdiff_t readable, void *to,
                    ptrdiff_t stride, const int *place, ptrdiff_t ahead); /* or to[place[j]] */
    void (*unpack[2])(const void *from, ptrdiff_t n, const void *factor, void *const *lane);
    /* n gradients of this type added to sums and their rests, for shared parameters */
    void (*accumulate[2])(double *sum, double *rest, const void *gradient, ptrdiff_t n);
    /* pairwise: rows of a panel, the numbers of an item, a row to its panel, tiles by form and kind */
    int pair_rows;
    gkl_item_state (*pairwise_item[2])(gkl_kind from, gkl_kind kind, ptrdiff_t n, const void *mean,
                                       const void *scale, void *const *field, void *logdet);
    void (*pairwise_row[2])(ptrdiff_t n, const void *const *field, ptrdiff_t r, void *product,
                            void *difference);
    uint64_t (*pairwise_less[2])(const void *value, ptrdiff_t n, double limit);
    gkl_tile_kernel *tiles[2][GKL_FORMS][GKL_UNIT];
    /* copy past the cache */
    void (*stream[2])(void *to, const void *from, ptrdiff_t n);
    void (*scalar[2][5])(ptrdiff_t n, const void *in, void *out);
} gkl_table;

extern const gkl_table gkl_baseline, gkl_avx2, gkl_avx512, gkl_neon;
const gkl_table *gkl_current(void);

/* load.c: the block loader */
size_t gkl_size(gkl_type type);
void gkl_gather(gkl_type type, const char *from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t n,
                ptrdiff_t step, void *to);
void gkl_scatter(int is_f64, const void *from, ptrdiff_t rows, ptrdiff_t n, char *to,
                 ptrdiff_t row_stride, ptrdiff_t step);
double gkl_read(gkl_type type, const char *from);

static inline void gkl_write(int is_f64, char *to, double x) {
    const float y = (float)x;
    if (is_f64)
        memcpy(to, &x, sizeof x);
    else
        memcpy(to, &y, sizeof y);
}

/* parallel.c; gkl_once does its work once in a process, whichever thread is first */
#if defined(_WIN32)
typedef void *gkl_once_flag; /* as large as an INIT_ONCE, without all of windows.h */
#define GKL_ONCE_INIT NULL
#else
typedef pthread_once_t gkl_once_flag;
#define GKL_ONCE_INIT PTHREAD_ONCE_INIT
#endif
void gkl_once(gkl_once_flag *flag, void (*work)(void));
typedef void gkl_task(void *context, ptrdiff_t index);
void gkl_watch_forks(void);
void gkl_parallel(ptrdiff_t count, int nthreads, gkl_task *task, void *context);

/* what a job's poll says, if there is one: 0, or less than 0 to stop */
static inline int gkl_stop(int (*poll)(void)) {
    const int said = poll ? poll() : 0;
    return said < 0 ? said : 0;
}

#endif
