# SPDX-License-Identifier: BSD-3-Clause
# What gkl.jax has of the core: the custom call that XLA makes, and the rules of shapes.

cdef extern from "xla_ffi.h" nogil:
    ctypedef struct gkl_xla_error
    ctypedef struct gkl_xla_call
    gkl_xla_error *gkl_xla_kl(gkl_xla_call *call)


def xla_call():
    """The custom call of src_c/xla.c, in a capsule as jax.ffi.register_ffi_target takes it."""
    return PyCapsule_New(<void *>gkl_xla_kl, NULL, NULL)


def batch_and_dim(Gaussian p, Gaussian q=None):
    """The batch's shape and d of a pair."""
    return _batch_and_dim(p, q)
