# SPDX-License-Identifier: BSD-3-Clause
"""gkl for compiled code: where ``gkl.h`` is, and its functions of rows as C functions.

`kl_f32`, `kl_f64`, `kl_and_grad_f32` and `kl_and_grad_f64` are ctypes functions, which numba calls
from compiled code without the interpreter, and which release the GIL. They take what ``gkl.h``
says: the kinds of p and q (`GKL_VAR`, `GKL_STD`, `GKL_LOGVAR`, `GKL_COV`, `GKL_TRIL`,
`GKL_PRECISION`; q also `GKL_UNIT`), n, d, then pointers to C-contiguous arrays: mean_p, scale_p,
mean_q, scale_q, and where KL, in nats, goes, shape (n,); with gradients also d_mean_p, d_scale_p,
d_mean_q and d_scale_q. Nothing checks types and shapes. They return the number of bad items, whose
results are NaN, or less than 0: `-GKL_NO_MEMORY`, `-GKL_NO_KERNEL` for a pair of kinds that does
not exist, `-GKL_BAD_ARGUMENT`. For a pointer that is not used Python passes None, and what numba
compiles passes 0.

Compiled modules find the same in the capsule ``gkl._core.C_API``: in C by ``gkl_python.h``, in
Cython by ``from gkl.c_api cimport gkl_api, gkl_import``.

>>> import numpy as np
>>> from gkl import c_api
>>> mean, var, kl = np.full((2, 3), 2.0), np.ones((2, 3)), np.empty(2)
>>> unused = None  # N(0, I) has no parameters
>>> c_api.kl_f64(
...     c_api.GKL_VAR, c_api.GKL_UNIT, 2, 3, mean.ctypes, var.ctypes, unused, unused, kl.ctypes
... )
0
>>> kl
array([6., 6.])

The address, for cffi or whatever else takes one:

>>> import ctypes
>>> ctypes.cast(c_api.kl_f64, ctypes.c_void_p).value > 0
True
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from gkl import _core

__all__ = [
    "GKL_BAD_ARGUMENT",
    "GKL_COV",
    "GKL_LOGVAR",
    "GKL_NO_KERNEL",
    "GKL_NO_MEMORY",
    "GKL_PRECISION",
    "GKL_STD",
    "GKL_TRIL",
    "GKL_UNIT",
    "GKL_VAR",
    "get_include",
    "kl_and_grad_f32",
    "kl_and_grad_f64",
    "kl_f32",
    "kl_f64",
]

GKL_VAR, GKL_STD, GKL_LOGVAR, GKL_UNIT, GKL_COV, GKL_TRIL, GKL_PRECISION = _core.c_kinds()
GKL_NO_MEMORY, GKL_NO_KERNEL, GKL_BAD_ARGUMENT = _core.c_errors()


def _function(name: str, pointers: int) -> Any:
    head = [ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t, ctypes.c_ssize_t]
    prototype = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *head, *[ctypes.c_void_p] * pointers)
    return prototype(_core.c_functions()[name])


kl_f32 = _function("kl_f32", 5)
kl_f64 = _function("kl_f64", 5)
kl_and_grad_f32 = _function("kl_and_grad_f32", 9)
kl_and_grad_f64 = _function("kl_and_grad_f64", 9)


def get_include() -> str:
    """Give the folder of the C headers, ``gkl.h`` and ``gkl_python.h``.

    Returns
    -------
    str
        For the compiler's ``-I`` or ``include_dirs=``.

    Examples
    --------
    >>> import os, gkl
    >>> os.path.exists(os.path.join(gkl.get_include(), "gkl.h"))
    True
    """
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "include")
    if os.path.isdir(installed):
        return installed
    return os.path.join(os.path.dirname(package), "src_c")  # an editable installation
