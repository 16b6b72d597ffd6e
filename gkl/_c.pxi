# SPDX-License-Identifier: BSD-3-Clause
# The C core as src_c/gkl.h declares it, and what is set for the process: ISA and threads.

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
    ctypedef enum gkl_output:
        GKL_VALUE
        GKL_PER_DIM
        GKL_GRAD
        GKL_TERMS
        GKL_JEFFREYS
        GKL_CROSS
        GKL_ENTROPY
        GKL_FACTOR
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
        int (*poll)() noexcept
    ctypedef enum gkl_metric:
        GKL_KL
        GKL_REVERSE_KL
        GKL_SYMMETRIC_KL
        GKL_WASSERSTEIN2
        GKL_RENYI
        GKL_BHATTACHARYYA
        GKL_HELLINGER
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
        int (*poll)() noexcept
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


def isas():
    """Names of the instruction sets that this machine has, worst to best."""
    names = []
    cdef int i = 0
    while gkl_isa_at(i) != NULL:
        names.append(gkl_isa_at(i).decode())
        i += 1
    return names


def isa():
    """Name of the instruction set in use."""
    return gkl_isa().decode()


def use_isa(name=None):
    """Use this instruction set from now on in the whole process; None: the best."""
    if name is None:
        gkl_use_isa(NULL)
    elif gkl_use_isa(name.encode()) != 0:
        raise ValueError(f"{name!r} is not an instruction set of this machine: {isas()}")


def has_openmp():
    """Whether the core was built with OpenMP."""
    return bool(gkl_has_openmp())


def threads():
    """Threads that a call from this thread would use."""
    return gkl_threads()


def set_threads(int n):
    """Set the default of the process; 0: what OpenMP says."""
    gkl_set_threads(n)


def set_own_threads(int n):
    """Set the calling thread's own number; 0: none. Returns the one before."""
    return gkl_set_own_threads(n)


def scalar(name, x):
    """One of the C scalar functions, `phi`, `psi`, `log`, `exp` or `expm1`, over an array."""
    cdef cnp.ndarray a = np.ascontiguousarray(x)
    if a.dtype != np.float32 and a.dtype != np.float64:
        raise TypeError("float32 or float64 is wanted")
    cdef cnp.ndarray y = np.empty_like(a)
    cdef gkl_type type = GKL_F64 if a.dtype == np.float64 else GKL_F32
    if gkl_scalar_function(name.encode(), type, a.size, cnp.PyArray_DATA(a), cnp.PyArray_DATA(y)):
        raise ValueError(f"there is no scalar function {name!r}")
    return y
