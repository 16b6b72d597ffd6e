# SPDX-License-Identifier: BSD-3-Clause
# SciPy's BLAS and LAPACK for the C core.
#
# They are taken from the capsules that cython_blas and cython_lapack export, when the core first
# wants them: importing scipy.linalg takes longer than importing gkl. A cimport would do so at once,
# and tie the binary to the integers of the SciPy that it was built with; a capsule's name, which is
# the signature, tells what they are: `int *` (LP64) or `int64_t *` (ILP64).

from cpython.exc cimport PyErr_SetInterrupt
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.string cimport memset

cdef extern from "blas.h" nogil:
    void gkl_find_blas_by(int (*find)() noexcept nogil)
    const char *gkl_blas_threads_by()
    ctypedef enum gkl_way:
        GKL_BY_RULE
        GKL_BY_LANES
        GKL_BY_BLAS
    void gkl_set_way(gkl_way way)


cdef int _take(dict functions, str name, gkl_blas *blas, gkl_blas_function *to) except -1:
    """One of them; all must have the same integers."""
    cdef const char *signature = PyCapsule_GetName(functions[name])
    cdef bint ilp64 = b"int64_t *" in signature
    if blas.ilp64 not in (-1, ilp64) or not (ilp64 or b", int *" in signature):
        raise TypeError(f"unknown signature of {name}: {signature!r}")
    blas.ilp64 = ilp64
    to[0] = <gkl_blas_function>PyCapsule_GetPointer(functions[name], signature)
    return 0


def scipy_blas():
    """What SciPy exports: capsules by the functions' names."""
    from scipy.linalg import cython_blas, cython_lapack

    return cython_blas.__pyx_capi__ | cython_lapack.__pyx_capi__


def use_blas(dict functions):
    """Use these, such as `scipy_blas()`, from now on in the whole process; None: none."""
    cdef gkl_blas blas
    cdef int is_f64
    if functions is None:
        gkl_find_blas_by(NULL)
        gkl_use_blas(NULL)
        return
    memset(&blas, 0, sizeof(blas))  # with its padding, by which tables are compared
    blas.ilp64 = -1
    for is_f64 in range(2):
        _take(functions, "sd"[is_f64] + "potrf", &blas, &blas.potrf[is_f64])
        _take(functions, "sd"[is_f64] + "trsm", &blas, &blas.trsm[is_f64])
        _take(functions, "sd"[is_f64] + "gemm", &blas, &blas.gemm[is_f64])
    gkl_use_blas(&blas)
    gkl_find_blas_by(NULL)  # after that: nobody finds neither


cdef int _find_scipy() noexcept with gil:
    try:
        use_blas(scipy_blas())
    except KeyboardInterrupt:
        PyErr_SetInterrupt()  # for the next who looks: nothing can be raised from here
        return -1
    except (ImportError, AttributeError, KeyError, TypeError):
        pass  # the core does without
    return 0


gkl_find_blas_by(<int (*)() noexcept nogil>_find_scipy)


def set_way(way):
    """Which way matrices go in the whole process: "rule", "lanes" or "blas"."""
    gkl_set_way({"rule": GKL_BY_RULE, "lanes": GKL_BY_LANES, "blas": GKL_BY_BLAS}[way])


def blas_threads_by():
    """The function by which BLAS is held to one thread, or None."""
    cdef const char *name = gkl_blas_threads_by()
    return None if name == NULL else name.decode()
