# SPDX-License-Identifier: BSD-3-Clause
# SciPy's BLAS and LAPACK for the C core.
#
# Taken from the capsules that cython_blas and cython_lapack export, when the core first wants them:
# importing scipy.linalg takes longer than all of gkl. A cimport would do so at once, and would tie
# the binary to SciPy's integers at build time: a capsule's name tells them, `int *` (LP64) or
# `int64_t *` (ILP64).

from cpython.exc cimport PyErr_SetInterrupt
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer

cdef extern from "blas.h" nogil:
    ctypedef void (*gkl_blas_function)()
    ctypedef struct gkl_blas:
        int ilp64
        gkl_blas_function *potrf
        gkl_blas_function *trsm
        gkl_blas_function *gemm
    void gkl_use_blas(const gkl_blas *blas)
    void gkl_find_blas_by(int (*find)() noexcept nogil)
    const char *gkl_blas_threads_by()
    ctypedef enum gkl_way:
        GKL_BY_RULE
        GKL_BY_LANES
        GKL_BY_BLAS
    void gkl_set_way(gkl_way way)


cdef int _take(dict exported, str name, gkl_blas *blas, gkl_blas_function *to) except -1:
    """A function of an exporting module; all must have the same integers."""
    capsule = exported[name]
    cdef const char *signature = PyCapsule_GetName(capsule)
    cdef bint ilp64 = b"int64_t *" in signature
    if blas.ilp64 not in (-1, ilp64) or not (ilp64 or b", int *" in signature):
        raise TypeError(f"unknown signature of {name}: {signature!r}")
    blas.ilp64 = ilp64
    to[0] = <gkl_blas_function>PyCapsule_GetPointer(capsule, signature)
    return 0


cdef int _use_scipy() except -1:
    from scipy.linalg import cython_blas, cython_lapack

    cdef gkl_blas blas
    cdef int is_f64
    cdef dict from_blas = cython_blas.__pyx_capi__, from_lapack = cython_lapack.__pyx_capi__
    blas.ilp64 = -1
    for is_f64 in range(2):
        _take(from_lapack, "sd"[is_f64] + "potrf", &blas, &blas.potrf[is_f64])
        _take(from_blas, "sd"[is_f64] + "trsm", &blas, &blas.trsm[is_f64])
        _take(from_blas, "sd"[is_f64] + "gemm", &blas, &blas.gemm[is_f64])
    gkl_use_blas(&blas)
    return 0


cdef int _find_scipy() noexcept with gil:
    try:
        _use_scipy()
    except KeyboardInterrupt:
        PyErr_SetInterrupt()  # for the next who looks: nothing can be raised from here
        return -1
    except (ImportError, AttributeError, KeyError, TypeError):
        pass  # the core does without
    return 0


gkl_find_blas_by(<int (*)() noexcept nogil>_find_scipy)


def use_blas(bint yes=True):
    """Whether large matrices may go by SciPy's BLAS, from now on in the whole process."""
    gkl_find_blas_by(NULL)
    if yes:
        _use_scipy()
    else:
        gkl_use_blas(NULL)


def set_way(way):
    """Which way matrices go in the whole process: "rule", "lanes" or "blas"."""
    gkl_set_way({"rule": GKL_BY_RULE, "lanes": GKL_BY_LANES, "blas": GKL_BY_BLAS}[way])


def blas_threads_by():
    """The function by which BLAS is held to one thread, or None."""
    cdef const char *name = gkl_blas_threads_by()
    return None if name == NULL else name.decode()
