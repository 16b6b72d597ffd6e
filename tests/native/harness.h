/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Gaussians (the numbers), how it is put into memory, and the results as plain arrays again.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "gkl.h"

/* ---- checks: one line a group, at most a few lines a failing one ---- */
void group_begin(const char *name);
void group_end(void);
extern long checks;
void check_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define check(ok, ...) (++checks, (ok) ? (void)0 : check_failed(__VA_ARGS__))
int report(void); /* the closing line; the exit code */

extern int quick; /* a part of what there is to try: GKL_TEST_QUICK, for emulation and sanitizers */

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define EACH(i, n) for (int i = 0; i < (n); ++i)
/* every pair of parameterizations, and every output that it has */
#define EACH_PAIR(p, q) EACH(p, 3) EACH(q, 4)
#define EACH_OUTPUT(output, q) EACH(output, GKL_ENTROPY + ((q) == GKL_UNIT))

static const gkl_kind kinds[] = {GKL_VAR, GKL_STD, GKL_LOGVAR, GKL_UNIT};
static const gkl_type computed[] = {GKL_F32, GKL_F64};
extern const char *const kind_names[], *const output_names[], *const type_names[],
    *const layout_names[];

/* ---- numbers ---- */
void seed(unsigned value);
double uniform(double low, double high);
double rounded(gkl_type type, double x); /* to what the storage can hold */

typedef struct {
    gkl_kind p, q;
    gkl_type type;
    ptrdiff_t rows, d;
    ptrdiff_t width;          /* of a row in in[], >= d, and d when there are matrices */
    ptrdiff_t rank_p, rank_q;
    double *in[GKL_MAX_IN];   /* as gkl_job orders them, NULL when there is none */
} gaussians;

typedef enum {
    GENERIC, /* of ordinary size */
    NEAR,    /* p almost q: relative differences of 1e-6 (float), 1e-12 (double) */
    WIDE,    /* scales far apart, every result still a normal number */
} regime;

void gaussians_make(gaussians *problem, gkl_kind p, gkl_kind q, gkl_type type, regime kind_of,
                  ptrdiff_t rows, ptrdiff_t d);
int is_matrix(const gaussians *problem, int operand); /* d x d */
ptrdiff_t columns_of(const gaussians *problem, int operand);
ptrdiff_t item_size(const gaussians *problem, int operand); /* its numbers in in[] */
void gaussians_share(gaussians *problem, int operand); /* all rows as the first */
void gaussians_free(gaussians *problem);

/* ---- memory ---- */
enum { CANARY = 0xa5 }; /* every byte of the results before a job */
/* `bytes` between two unmapped pages, at the first or at the last possible place; GKL_MAX_IN +
 * GKL_MAX_OUT slots, each with its own */
char *guarded(int slot, size_t bytes, int at_end);
void put(gkl_type type, char *to, double x);
double get(gkl_type type, const char *from); /* not of a half type */

typedef enum {
    ROWS,     /* C order */
    COLUMNS,  /* row i beside row i + 1 */
    REVERSED, /* C order, from the end */
    SPACED,   /* every other number, every third of a matrix, and a gap after each row */
    PERMUTED, /* the batch axes in Fortran order */
    SHARED,   /* stride 0 along the batch; for inputs */
    SCALAR,   /* one number; for inputs */
    FORTRAN,    /* all axes in Fortran order */
    TRANSPOSED, /* C order, but the matrices in Fortran order */
    LAYOUTS
} layout;

typedef struct {
    gkl_output output;
    layout in[GKL_MAX_IN], out;
    int batch_axes;   /* 1, or 3 when the rows are a multiple of 6 */
    int shift;        /* bytes by which every buffer is off its alignment */
    int at_end;       /* every buffer ends at an unmapped page; it starts at one otherwise */
    int nsum, summed; /* the gradients with a bit in `summed` are summed over the last nsum axes */
    int summed_d;     /* bits: gradients that are summed along d */
    int without;      /* bits: outputs that are not asked for */
    const ptrdiff_t *index[2]; /* as in gkl_job, of a batch of */
    ptrdiff_t count;           /* so many; batch_axes is 1 then */
    int nthreads;
    int (*poll)(void);
} manner;

typedef struct {
    double *out[GKL_MAX_OUT]; /* NULL, or rows or rows x d numbers */
    ptrdiff_t n[GKL_MAX_OUT];
    ptrdiff_t bad;
    int code;
} results;

results solve(const gaussians *problem, const manner *how);
int same(const results *a, const results *b); /* bit by bit; one NaN is as good as another */
void results_free(results *x);
void describe(char *text, size_t size, const gaussians *x, int output);
int output_count(const gaussians *problem, gkl_output output);
int operand_of(gkl_output output, int k); /* that output k has the shape of; -1: one number */

/* it has these results in this manner, too */
void check_same(const gaussians *x, const manner *how, const results *want, const char *name);

/* a half type is read as the floats that it holds, numbers in rows or spaced out */
void check_half(gaussians *x, gkl_output output, int spaced);

/* ---- the groups ---- */
void test_values(regime kind_of, const char *name, int every_d);
void test_equal(void);
void test_corners(void);
void test_scalar_functions(void);
void test_bad_items(void);
void test_layouts(void);
void test_storage(void);
void test_threads(void);
void test_sums(void);
void test_full_values(void);
void test_full_near(void);
void test_full_equal(void);
void test_full_bad(void);
void test_full_empty(void);
void test_full_layouts(void);
void test_full_shared(void);
void test_full_storage(void);
void test_full_company(void);
void test_full_sums(void);
void test_full_weights(void);
void test_pairwise_values(void);
void test_pairwise_layouts(void);
void test_pairwise_company(void);
void test_pairwise_bad(void);
void test_pairwise_extremes(void);
void test_nearest(void);
void test_pairwise_poll(void);
void test_pairwise_arguments(void);
void test_gathers(void);
void test_rows(void);
void test_xla(void);
void test_callers(void);

#endif
