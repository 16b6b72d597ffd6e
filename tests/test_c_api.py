# SPDX-License-Identifier: BSD-3-Clause
"""gkl.c_api: the functions of rows by ctypes."""

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

import gkl
from gkl import _core, c_api


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 64, 700])
def test_functions_by_ctypes(dtype, d):
    suffix = "f64" if dtype == np.float64 else "f32"
    rng = np.random.default_rng(d)
    mean = rng.normal(size=(2, 5, d)).astype(dtype)
    var = rng.gamma(2, size=(2, 5, d)).astype(dtype)
    var[0, 3, 0] = -1
    p, q = (gkl.DiagNormal(m, var=v) for m, v in zip(mean, var, strict=True))
    wanted, grad_p, grad_q = gkl.kl_and_grad(p, q, on_error="nan")
    kl, *grads = np.empty(5, dtype), *(np.empty((5, d), dtype) for _ in range(4))
    operands = [x.ctypes for x in (mean[0], var[0], mean[1], var[1])]
    kinds = (c_api.GKL_VAR, c_api.GKL_VAR)
    assert getattr(c_api, f"kl_{suffix}")(*kinds, 5, d, *operands, kl.ctypes) == 1
    np.testing.assert_array_equal(kl, wanted)
    function = getattr(c_api, f"kl_and_grad_{suffix}")
    assert function(*kinds, 5, d, *operands, kl.ctypes, *(x.ctypes for x in grads)) == 1
    np.testing.assert_array_equal(kl, wanted)
    for ours, theirs in zip(
        grads, (grad_p.mean, grad_p.var, grad_q.mean, grad_q.var), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert function(*kinds, -1, d, *operands, *[None] * 5) == -c_api.GKL_BAD_ARGUMENT
    assert function(c_api.GKL_UNIT, 0, 5, d, *operands, *[None] * 5) == -c_api.GKL_NO_KERNEL
    assert function(*kinds, 0, d, *[None] * 9) == 0


def test_addresses_are_those_of_the_table():
    """The capsule's, of which major, minor and version come first."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = pointer(_core.C_API, b"gkl._core.C_API")
    names = ("kl_f32", "kl_f64", "kl_and_grad_f32", "kl_and_grad_f64")
    head = 2 * ctypes.sizeof(ctypes.c_int) + ctypes.sizeof(ctypes.c_char_p)
    addresses = (ctypes.c_void_p * len(names)).from_address(table + head)
    for name, address in zip(names, addresses, strict=True):
        assert ctypes.cast(getattr(c_api, name), ctypes.c_void_p).value == address
    one, kl = np.ones(4), np.empty(1)
    function = type(c_api.kl_f64)(addresses[1])
    assert function(c_api.GKL_STD, c_api.GKL_UNIT, 1, 4, one.ctypes, one.ctypes, None, None,
                    kl.ctypes) == 0  # fmt: skip
    assert kl == 2


def names_in(text):
    return set(re.findall(r"\b(?:gkl|GKL)_\w+", text))


def test_cython_has_all_of_the_header():
    header = Path(gkl.get_include(), "gkl.h").read_text()
    declarations = Path(c_api.__file__).with_suffix(".pxd").read_text()
    ours = names_in(re.sub(r"/\*.*?\*/", "", header, flags=re.S))
    theirs = names_in(re.sub("#.*", "", declarations))
    assert len(ours) > 70
    own = {"GKL_H", "GKL_EXPORTS", "gkl_enums_are_as_large_as_int"}
    assert theirs - {"gkl_python", "gkl_import"} == ours - own
