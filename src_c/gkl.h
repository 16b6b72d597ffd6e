/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gkl: KL divergence between Gaussians over batches. The one header the outside sees, for C11 and
 * C++11; with Python there is gkl_python.h beside it.
 *
 * gkl_kl_f64 and its like take rows that lie one after the other. A job names a kernel and
 * describes its operands by strides; gkl_run does it, on as many threads as it is given, without a
 * batch-sized temporary. All divergences are in nats. Any thread may call any function at any time,
 * but gkl_use_isa only while no job runs in another.
 */
#ifndef GKL_H
#define GKL_H

#include <stddef.h>
#include <stdint.h>

/* The version of gkl, and that of this interface: a new minor appends functions to gkl_api and values
 * to enums, a new major changes what was there, as the size of a struct does. */
#define GKL_VERSION "0.1.0"
#define GKL_API_MAJOR 1
#define GKL_API_MINOR 0

#ifdef __cplusplus
extern "C" {
#endif
#ifdef GKL_EXPORTS /* when a shared library is built: these functions alone are its own */
#pragma GCC visibility push(default)
#endif

/* The places of the operands: mean and scale of p, then of q, a weight, and further parameters. */
enum { GKL_MAX_DIMS = 64, GKL_MAX_IN = 7, GKL_MAX_OUT = 7 };
enum { GKL_WEIGHT = 4, GKL_FACTOR_P = 5, GKL_FACTOR_Q = 6 };

/* How an operand is stored; kernels compute in F32 (the first three) or F64. */
typedef enum { GKL_F16, GKL_BF16, GKL_F32, GKL_F64 } gkl_type;

/* The parameter that carries the scale of a Gaussian; GKL_UNIT is N(0, I), without parameters. */
typedef enum {
    GKL_VAR,       /* (d) */
    GKL_STD,       /* (d) */
    GKL_LOGVAR,    /* (d) */
    GKL_UNIT,
    GKL_COV,       /* (d, d), of which the lower triangle is read */
    GKL_TRIL,      /* (d, d), its lower Cholesky factor, likewise */
    GKL_PRECISION, /* (d, d), its inverse, likewise */
    GKL_LOW_RANK,  /* covariance F F^T + diag(scale): scale (d), and F as the factor (d, rank) */
    GKL_KINDS
} gkl_kind;

/* what is compiled with -fshort-enums has other structs */
typedef char gkl_enums_are_as_large_as_int[sizeof(gkl_kind) == sizeof(int) ? 1 : -1];

/* Is that parameter a matrix? */
static inline int gkl_has_matrix(gkl_kind kind) { return kind >= GKL_COV && kind <= GKL_PRECISION; }

/* What went wrong with a call, of which the outputs are then unfinished. */
enum { GKL_NO_MEMORY = 1, GKL_NO_KERNEL = 2, GKL_BAD_ARGUMENT = 3 };

/* ---- rows that lie one after the other ---- */

/* KL(p || q) of n pairs in d dimensions to kl[0], ..., kl[n - 1].  A mean is (n, d), a scale
 * (n, d) or, of GKL_COV, GKL_TRIL and GKL_PRECISION, (n, d, d), all in C order; GKL_UNIT has
 * neither, and its pointers are not looked at.  GKL_LOW_RANK is for gkl_run, and so is a Gaussian
 * that is shared by many.
 *
 * Gives the number of bad items, whose results are NaN; 0 when all are good.  Less than 0:
 * -GKL_NO_KERNEL for a pair that does not exist, -GKL_BAD_ARGUMENT for an n or d below 0 or a
 * pointer to something that is NULL, -GKL_NO_MEMORY.  An output must not overlap anything else.
 * The bits are those of gkl_run, whose gkl_bad_items stay as they are; threads are used when they
 * pay. */
ptrdiff_t gkl_kl_f32(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const float *mean_p,
                     const float *scale_p, const float *mean_q, const float *scale_q, float *kl);
ptrdiff_t gkl_kl_f64(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const double *mean_p,
                     const double *scale_p, const double *mean_q, const double *scale_q,
                     double *kl);

/* The same with the gradients of each kl by its own parameters, in their shapes; of these outputs,
 * kl among them, any may be NULL. */
ptrdiff_t gkl_kl_and_grad_f32(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d,
                              const float *mean_p, const float *scale_p, const float *mean_q,
                              const float *scale_q, float *kl, float *d_mean_p, float *d_scale_p,
                              float *d_mean_q, float *d_scale_q);
ptrdiff_t gkl_kl_and_grad_f64(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d,
                              const double *mean_p, const double *scale_p, const double *mean_q,
                              const double *scale_q, double *kl, double *d_mean_p,
                              double *d_scale_p, double *d_mean_q, double *d_scale_q);

/* ---- jobs ---- */

/* What a kernel gives.  Operands in: mean and scale of p, then of q (not when q is GKL_UNIT), then
 * the weight for GKL_GRAD when the job has one, then the factors: of GKL_LOW_RANK its own, of
 * GKL_COV and GKL_PRECISION, if given, the lower Cholesky factor, which is not computed then; it and
 * the weight are of the results' type.
 * GKL_ENTROPY takes the scale (and the factor) alone, and q is GKL_UNIT; GKL_FACTOR takes the
 * scale.  Of a symmetric matrix the gradient is symmetric too: dKL = sum_ij G_ij dS_ij; of a
 * Cholesky factor it is lower triangular. */
typedef enum {
    GKL_VALUE,   /* kl */
    GKL_PER_DIM, /* kl of each dimension, (d); diagonal Gaussians only */
    GKL_GRAD,    /* kl, d_mean_p, d_scale_p, d_mean_q, d_scale_q, d_factor_p, d_factor_q */
    GKL_TERMS,   /* mahalanobis, trace, logdet; kl, mean part, covariance part */
    GKL_JEFFREYS,
    GKL_CROSS,
    GKL_ENTROPY,
    GKL_FACTOR, /* the lower Cholesky factor of GKL_COV or GKL_PRECISION, (d, d); of the inverse of a
                 * GKL_PRECISION where q is GKL_TRIL */
    GKL_OUTPUTS
} gkl_output;

typedef struct {
    const char *name;      /* as in Python: kl_diag_var_logvar_grad */
    const char *signature; /* of the gufunc */
    gkl_kind p, q;
    gkl_output output;
    int weighted;
    int nin, nout;
    int from[GKL_MAX_IN];   /* places of its operands */
    int place[GKL_MAX_OUT]; /* of its outputs among those of gkl_output */
} gkl_kernel;

/* The kernels, in the order of kernels.def; NULL past the end. */
const gkl_kernel *gkl_kernel_at(int index);

typedef struct {
    char *data;              /* NULL: this output is not wanted, this input not given */
    const ptrdiff_t *stride; /* bytes, one a batch dimension */
    ptrdiff_t step;          /* bytes, along d; a gradient with step 0 is summed along d */
    ptrdiff_t across;        /* bytes, along the second axis: (i, j) is at i step + j across */
} gkl_array;

typedef struct {
    gkl_kind p, q;
    gkl_output output;
    gkl_type storage; /* of the parameters; outputs and the weight are F64 for F64, else F32 */
    int ndim;         /* batch dimensions */
    int nsum;         /* gradients with stride 0 along all of the last nsum are summed over them */
    const ptrdiff_t *shape;
    ptrdiff_t dim;            /* d */
    ptrdiff_t rank_p, rank_q; /* of GKL_LOW_RANK, of others 0 */
    gkl_array in[GKL_MAX_IN]; /* mean_p, scale_p, mean_q, scale_q, weight, factor_p, factor_q */
    gkl_array out[GKL_MAX_OUT]; /* as gkl_output says */
    const ptrdiff_t *index[2]; /* NULL, or, where ndim is 1, which of p's and of q's items are item
                                * 0, 1, ... of the batch */
    int nthreads;              /* 0: gkl_threads() */
    int (*poll)(void);         /* called now and then on the calling thread; < 0 stops */
} gkl_job;

/* Do the job, in which all that is not set is 0.  0, or GKL_NO_MEMORY, or GKL_NO_KERNEL for a pair or
 * an output that does not exist, or GKL_BAD_ARGUMENT for an ndim, nsum, shape, dim or rank out of
 * range or an index where ndim is not 1, or what poll returned (less than 0): outputs are then
 * unfinished.  Pointers are not checked. */
int gkl_run(const gkl_job *job);

/* Bad items (KL undefined, results NaN) of this thread's last gkl_run. */
ptrdiff_t *gkl_bad_items(void);

/* ---- every one against every other ---- */

/* What sets two diagonal Gaussians apart, beside the results of gkl_output. */
typedef enum {
    GKL_KL,            /* KL(p || q) */
    GKL_REVERSE_KL,    /* KL(q || p) */
    GKL_SYMMETRIC_KL,  /* their sum, Jeffreys */
    GKL_WASSERSTEIN2,  /* the squared 2-Wasserstein distance */
    GKL_RENYI,         /* the Renyi divergence of an order > 0, not 1, of p from q */
    GKL_BHATTACHARYYA,
    GKL_HELLINGER,     /* the distance, 0 to 1 */
    GKL_METRICS
} gkl_metric;

/* n Gaussians against m: all of both are diagonal. */
typedef struct {
    gkl_metric metric;
    double order; /* of GKL_RENYI */
    gkl_kind p, q; /* GKL_VAR, GKL_STD or GKL_LOGVAR; p's are converted to q's */
    gkl_type storage;
    ptrdiff_t n, m, dim;
    gkl_array in[4]; /* mean_p, scale_p, mean_q, scale_q, each with one stride */
    char *state_p, *state_q; /* n, m: set to 1 where an item is bad, else 0; may be NULL */
    int nthreads;
    int (*poll)(void);
} gkl_pairwise_job;

/* The metrics by name, as in Python: pairwise_kl_diag_var_logvar; NULL past the end. */
typedef struct {
    const char *name, *signature;
    gkl_metric metric;
    gkl_kind p, q;
    int ordered; /* is there an operand for the order? */
} gkl_pairwise_kernel;

const gkl_pairwise_kernel *gkl_pairwise_kernel_at(int index);

/* The three give 0, or GKL_NO_MEMORY, or GKL_NO_KERNEL for a metric, kinds or a storage that do
 * not exist, or GKL_BAD_ARGUMENT for an n, m, dim or k below 0, or what poll returned (less than 0):
 * outputs and states are then unfinished.  Pointers are not checked.
 *
 * Every divergence: that of (i, j) at i stride[0] + j stride[1] bytes, F64 for F64 storage, else F32;
 * within 1e-5 of the exact one, relatively, in F32 and 1e-13 in F64; NaN where an item is bad. */
int gkl_pairwise(const gkl_pairwise_job *job, void *out, const ptrdiff_t stride[2]);

/* For each of p the k members of q from which it diverges least by these values, which lie as
 * (n, k); equal ones by index, and with fewer than k good ones NaN and -1 at the end.  Not the one
 * of index i + self for item i, unless self is GKL_NO_SELF. */
#define GKL_NO_SELF PTRDIFF_MIN
int gkl_nearest(const gkl_pairwise_job *job, ptrdiff_t k, ptrdiff_t self, void *value,
                ptrdiff_t *index);

/* For each of p the members of q within its bound by these values, in the order of index: those of
 * item i are from start[i] up to start[i + 1], of which there is room for n + 1.  The caller gives
 * *index and *value to free(), after an error, too. */
int gkl_within(const gkl_pairwise_job *job, const double *bound, ptrdiff_t self, ptrdiff_t *start,
               ptrdiff_t **index, double **value);

/* ---- what is set for the process ---- */

/* The instruction set in use, and the ones this binary has for this machine (index order is worst
 * to best, NULL past the end).  The first who computes takes the best, unless gkl_use_isa was
 * called before: gkl_use_isa(NULL) takes the best; -1 when there is no such here.
 * Not while a job runs in another thread. */
const char *gkl_isa(void);
const char *gkl_isa_at(int index);
int gkl_use_isa(const char *name);

/* Threads: the default of the process, and this thread's own, which goes before it (0: none). */
int gkl_threads(void);
void gkl_set_threads(int n);
int gkl_set_own_threads(int n); /* gives the one before */
int gkl_has_openmp(void);

/* BLAS and LAPACK, by which few large matrices are faster; without, all is done by gkl's own
 * kernels.  Fortran's convention: everything by address, no lengths of strings, integers of 32 bits
 * or, when ilp64, 64.  Each for float, then double. */
typedef void (*gkl_blas_function)(void); /* cast to what it is before it is called */

typedef struct {
    int ilp64;
    gkl_blas_function potrf[2]; /* spotrf, dpotrf, */
    gkl_blas_function trsm[2];  /* and so on */
    gkl_blas_function gemm[2];
} gkl_blas;

/* These from now on in the whole process; NULL: none.  The table is copied. */
void gkl_use_blas(const gkl_blas *blas);

/* Scalar functions of the kernels over arrays: "phi", "psi", "log", "exp", "expm1". */
int gkl_scalar_function(const char *name, gkl_type type, ptrdiff_t n, const void *in, void *out);

/* ---- what computes, as a table ---- */

/* For who finds gkl at run time, in Python's capsule (gkl_python.h) or by dlsym.  Whoever was
 * built against major.minor may use a table of the same major and the same or a later minor. */
typedef struct {
    int major, minor;
    const char *version; /* of gkl */
    ptrdiff_t (*kl_f32)(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const float *mean_p,
                        const float *scale_p, const float *mean_q, const float *scale_q,
                        float *kl);
    ptrdiff_t (*kl_f64)(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const double *mean_p,
                        const double *scale_p, const double *mean_q, const double *scale_q,
                        double *kl);
    ptrdiff_t (*kl_and_grad_f32)(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d,
                                 const float *mean_p, const float *scale_p, const float *mean_q,
                                 const float *scale_q, float *kl, float *d_mean_p,
                                 float *d_scale_p, float *d_mean_q, float *d_scale_q);
    ptrdiff_t (*kl_and_grad_f64)(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d,
                                 const double *mean_p, const double *scale_p, const double *mean_q,
                                 const double *scale_q, double *kl, double *d_mean_p,
                                 double *d_scale_p, double *d_mean_q, double *d_scale_q);
    int (*run)(const gkl_job *job);
    ptrdiff_t *(*bad_items)(void);
    int (*pairwise)(const gkl_pairwise_job *job, void *out, const ptrdiff_t stride[2]);
    int (*nearest)(const gkl_pairwise_job *job, ptrdiff_t k, ptrdiff_t self, void *value,
                   ptrdiff_t *index);
    int (*within)(const gkl_pairwise_job *job, const double *bound, ptrdiff_t self,
                  ptrdiff_t *start, ptrdiff_t **index, double **value);
    const char *(*isa)(void);
    int (*threads)(void);
    int (*set_own_threads)(int n);
} gkl_api;

const gkl_api *gkl_get_api(void);

#ifdef GKL_EXPORTS
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
