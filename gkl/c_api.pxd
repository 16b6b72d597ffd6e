# SPDX-License-Identifier: BSD-3-Clause
# src_c/gkl.h for Cython.  A module of your own takes the table that gkl exports, and links against
# nothing; it finds gkl.h and gkl_python.h in gkl.get_include():
#
#     from gkl.c_api cimport GKL_VAR, gkl_api, gkl_import
#     cdef const gkl_api *gkl = gkl_import()
#
# gkl.h documents everything below; the functions outside the table want libgkl.

from libc.stddef cimport ptrdiff_t


cdef extern from "gkl.h" nogil:
    enum:
        GKL_MAX_DIMS
        GKL_MAX_IN
        GKL_MAX_OUT
        GKL_WEIGHT
        GKL_FACTOR_P
        GKL_FACTOR_Q
        GKL_NO_MEMORY
        GKL_NO_KERNEL
        GKL_BAD_ARGUMENT
        GKL_API_MAJOR
        GKL_API_MINOR
    const char *GKL_VERSION
    ctypedef enum gkl_type:
        GKL_F16
        GKL_BF16
        GKL_F32
        GKL_F64
    ctypedef enum gkl_kind:
        GKL_VAR
        GKL_STD
        GKL_LOGVAR
        GKL_UNIT
        GKL_COV
        GKL_TRIL
        GKL_PRECISION
        GKL_LOW_RANK
        GKL_KINDS
    bint gkl_has_matrix(gkl_kind kind)
    ctypedef enum gkl_output:
        GKL_VALUE
        GKL_PER_DIM
        GKL_GRAD
        GKL_TERMS
        GKL_JEFFREYS
        GKL_CROSS
        GKL_ENTROPY
        GKL_FACTOR
        GKL_OUTPUTS
    ctypedef struct gkl_kernel:
        const char *name
        const char *signature
        gkl_kind p
        gkl_kind q
        gkl_output output
        int weighted
        int nin
        int nout
        int *place
        int *from_ "from"
    ctypedef struct gkl_array:
        char *data
        const ptrdiff_t *stride
        ptrdiff_t step
        ptrdiff_t across
    ctypedef struct gkl_job:
        gkl_kind p
        gkl_kind q
        gkl_output output
        gkl_type storage
        int ndim
        int nsum
        const ptrdiff_t *shape
        ptrdiff_t dim
        ptrdiff_t rank_p
        ptrdiff_t rank_q
        gkl_array *inputs "in"
        gkl_array *out
        const ptrdiff_t **index
        int nthreads
        int (*poll)() noexcept nogil
    ctypedef enum gkl_metric:
        GKL_KL
        GKL_REVERSE_KL
        GKL_SYMMETRIC_KL
        GKL_WASSERSTEIN2
        GKL_RENYI
        GKL_BHATTACHARYYA
        GKL_HELLINGER
        GKL_METRICS
    ctypedef struct gkl_pairwise_job:
        gkl_metric metric
        double order
        gkl_kind p
        gkl_kind q
        gkl_type storage
        ptrdiff_t n
        ptrdiff_t m
        ptrdiff_t dim
        gkl_array *inputs "in"
        char *state_p
        char *state_q
        int nthreads
        int (*poll)() noexcept nogil
    ctypedef struct gkl_pairwise_kernel:
        const char *name
        const char *signature
        gkl_metric metric
        gkl_kind p
        gkl_kind q
        int ordered
    const gkl_pairwise_kernel *gkl_pairwise_kernel_at(int index)
    ptrdiff_t GKL_NO_SELF
    int gkl_pairwise(const gkl_pairwise_job *job, void *out, const ptrdiff_t *stride)
    int gkl_nearest(const gkl_pairwise_job *job, ptrdiff_t k, ptrdiff_t own, void *value,
                    ptrdiff_t *index)
    int gkl_within(const gkl_pairwise_job *job, const double *bound, ptrdiff_t own,
                   ptrdiff_t *start, ptrdiff_t **index, double **value)
    const gkl_kernel *gkl_kernel_at(int index)
    int gkl_run(const gkl_job *job)
    ptrdiff_t *gkl_bad_items()
    const char *gkl_isa()
    const char *gkl_isa_at(int index)
    int gkl_use_isa(const char *name)
    int gkl_scalar_function(const char *name, gkl_type type, ptrdiff_t n, const void *x, void *y)
    int gkl_threads()
    void gkl_set_threads(int n)
    int gkl_set_own_threads(int n)
    int gkl_has_openmp()
    ctypedef void (*gkl_blas_function)()
    ctypedef struct gkl_blas:
        int ilp64
        gkl_blas_function *potrf
        gkl_blas_function *trsm
        gkl_blas_function *gemm
    void gkl_use_blas(const gkl_blas *blas)
    ptrdiff_t gkl_kl_f32(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const float *mean_p,
                         const float *scale_p, const float *mean_q, const float *scale_q,
                         float *kl)
    ptrdiff_t gkl_kl_f64(gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const double *mean_p,
                         const double *scale_p, const double *mean_q, const double *scale_q,
                         double *kl)
    ptrdiff_t gkl_kl_and_grad_f32(
        gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const float *mean_p,
        const float *scale_p, const float *mean_q, const float *scale_q, float *kl,
        float *d_mean_p, float *d_scale_p, float *d_mean_q, float *d_scale_q)
    ptrdiff_t gkl_kl_and_grad_f64(
        gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const double *mean_p,
        const double *scale_p, const double *mean_q, const double *scale_q, double *kl,
        double *d_mean_p, double *d_scale_p, double *d_mean_q, double *d_scale_q)
    ctypedef struct gkl_api:
        int major
        int minor
        const char *version
        ptrdiff_t (*kl_f32)(
            gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const float *mean_p,
            const float *scale_p, const float *mean_q, const float *scale_q,
            float *kl) noexcept nogil
        ptrdiff_t (*kl_f64)(
            gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const double *mean_p,
            const double *scale_p, const double *mean_q, const double *scale_q,
            double *kl) noexcept nogil
        ptrdiff_t (*kl_and_grad_f32)(
            gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const float *mean_p,
            const float *scale_p, const float *mean_q, const float *scale_q, float *kl,
            float *d_mean_p, float *d_scale_p, float *d_mean_q, float *d_scale_q) noexcept nogil
        ptrdiff_t (*kl_and_grad_f64)(
            gkl_kind p, gkl_kind q, ptrdiff_t n, ptrdiff_t d, const double *mean_p,
            const double *scale_p, const double *mean_q, const double *scale_q, double *kl,
            double *d_mean_p, double *d_scale_p, double *d_mean_q,
            double *d_scale_q) noexcept nogil
        int (*run)(const gkl_job *job) noexcept nogil
        ptrdiff_t *(*bad_items)() noexcept nogil
        int (*pairwise)(const gkl_pairwise_job *job, void *out,
                        const ptrdiff_t *stride) noexcept nogil
        int (*nearest)(const gkl_pairwise_job *job, ptrdiff_t k, ptrdiff_t own, void *value,
                       ptrdiff_t *index) noexcept nogil
        int (*within)(const gkl_pairwise_job *job, const double *bound, ptrdiff_t own,
                      ptrdiff_t *start, ptrdiff_t **index, double **value) noexcept nogil
        const char *(*isa)() noexcept nogil
        int (*threads)() noexcept nogil
        int (*set_own_threads)(int n) noexcept nogil
    const gkl_api *gkl_get_api()


cdef extern from "gkl_python.h":
    const gkl_api *gkl_import() except NULL
