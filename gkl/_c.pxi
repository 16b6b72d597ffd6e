# SPDX-License-Identifier: BSD-3-Clause
# What of the C core (c_api.pxd) Python sees: the table, ISA and threads.

from cpython.pycapsule cimport PyCapsule_New

C_API = PyCapsule_New(<void *>gkl_get_api(), "gkl._core.C_API", NULL)


def c_functions():
    """Addresses of the functions of gkl.h that take rows, by name."""
    cdef const gkl_api *api = gkl_get_api()
    return {
        "kl_f32": <size_t>api.kl_f32,
        "kl_f64": <size_t>api.kl_f64,
        "kl_and_grad_f32": <size_t>api.kl_and_grad_f32,
        "kl_and_grad_f64": <size_t>api.kl_and_grad_f64,
    }


def c_kinds():
    """The kinds that they know, as numbers: GKL_VAR, GKL_STD, and so on."""
    return GKL_VAR, GKL_STD, GKL_LOGVAR, GKL_UNIT, GKL_COV, GKL_TRIL, GKL_PRECISION


def c_errors():
    """What they return, as -number, when a call fails."""
    return GKL_NO_MEMORY, GKL_NO_KERNEL, GKL_BAD_ARGUMENT


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
