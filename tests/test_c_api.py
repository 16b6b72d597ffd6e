# SPDX-License-Identifier: BSD-3-Clause
"""gkl.c_api: the functions of rows by ctypes."""

import ctypes

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
    assert function(*kinds, -1, d, *operands, *[None] * 5) < 0
    assert function(*kinds, 0, d, *[None] * 9) == 0


def test_addresses_are_those_of_the_table():
    address = ctypes.cast(c_api.kl_f64, ctypes.c_void_p).value
    kl = np.empty(1)
    function = type(c_api.kl_f64)(address)
    one = np.ones(4)
    assert function(c_api.GKL_STD, c_api.GKL_UNIT, 1, 4, one.ctypes, one.ctypes, None, None,
                    kl.ctypes) == 0  # fmt: skip
    assert kl == 2
    assert address in _core.c_functions().values()
