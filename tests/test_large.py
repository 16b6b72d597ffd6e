# SPDX-License-Identifier: BSD-3-Clause
"""Large matrices by BLAS, one item at a time: the same results as side by side; bits that do not
depend on threads; BLAS itself left as it was.  Their accuracy: test_full_accuracy.py."""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from helpers import (
    FLOATS,
    MATRICES,
    kind_of,
    operand_names,
    operands,
    same_bits,
    several,
    spoil_upper,
)

import gkl
from gkl import _core, ufuncs

pytestmark = pytest.mark.thread_unsafe  # ways and BLAS are the process's

NAMES = [
    name
    for name in _core.gufunc_names()
    if any(kind_of(operand) in MATRICES for operand in operand_names(name))
]
SOME = [
    "kl_full_cov_grad",
    "kl_full_tril_precision_vjp",
    "kl_full_precision_grad",
    "kl_unit_tril_grad",
    "kl_diag_full_logvar_cov_grad",
    "kl_full_diag_cov_std_grad",
    "kl_full_low_rank_cov_grad",
    "kl_low_rank_full_tril_terms",
    "jeffreys_full_precision_cov",
    "cross_entropy_full_cov",
    "entropy_full_precision",
]


@pytest.fixture(autouse=True)
def by_rule_again():
    yield
    _core.set_way("rule")


def by(way, name, arrays):
    _core.set_way(way)
    return several(getattr(ufuncs, name)(*arrays))


def both_ways(name, arrays):
    return zip(by("blas", name, arrays), by("lanes", name, arrays), strict=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_as_side_by_side(name, dtype):
    for d in (1, 3, 40):
        arrays = operands(name, (2,), d, dtype, seed=d)
        for found, expected in both_ways(name, arrays):
            assert found.dtype == expected.dtype
            bound = 500 * np.finfo(dtype).eps * np.abs(expected).max()
            np.testing.assert_allclose(found, expected, 0, bound)


@pytest.mark.parametrize("name", NAMES)
def test_bad_items_are_nan_in_the_same_places(name):
    """Of three items, one has a NaN, or a matrix that is not positive definite."""
    for d in (2, 35):
        for operand, kind in enumerate(map(kind_of, operand_names(name))):
            if kind in ("weight", "logvar"):
                continue
            arrays = operands(name, (3,), d)
            index = (1, *[d - 1] * (arrays[operand].ndim - 1)) if kind != "factor" else (1, 0, 0)
            arrays[operand][index] = np.nan if kind in ("mean", "factor") else -1
            for found, expected in both_ways(name, arrays):
                np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
                assert np.isnan(found[1]).any() and not np.isnan(found[::2]).any()


@pytest.mark.parametrize("name", SOME)
def test_any_strides_and_storage(name):
    arrays = operands(name, (2,), 45)
    expected = by("blas", name, arrays)
    same_bits(by("blas", name, spoil_upper(name, arrays)), expected, "above the diagonal")
    turned = [np.asfortranarray(x) for x in arrays]
    same_bits(by("blas", name, turned), expected, "the other order")
    apart = [np.repeat(x, 3, -1)[..., ::3] if x.ndim > 1 else x for x in arrays]
    same_bits(by("blas", name, apart), expected, "with gaps")
    arrays = [np.asarray(x, np.float16) for x in arrays]
    found = by("blas", name, arrays)
    same_bits(found, by("blas", name, [np.asarray(x, np.float32) for x in arrays]), "float16")


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("name", SOME)
def test_the_bits_do_not_depend_on_threads(name, near):
    _core.set_way("blas")
    for batch in ((1,), (3,)):
        arrays = operands(name, batch, 200)
        if near and name.startswith("kl_full_cov"):
            arrays[3] = arrays[1] * 1.001
        found = []
        for n in (1, 2, 3, 5):
            with gkl.num_threads(n):
                found.append(getattr(ufuncs, name)(*arrays))
                same_bits(found[-1], found[0], f"{n} threads")


def test_gradients_of_a_shared_q():
    """Summed over the batch, as side by side."""
    mean, cov = operands("kl_full_cov", (5, 2), 70)[:2]
    p, q = gkl.FullNormal(mean, cov=cov), gkl.FullNormal(mean[0, 0], cov=cov[0, 0])
    found = {}
    for way in ("blas", "lanes"):
        _core.set_way(way)
        for threads in (1, 3):
            kl, grad_p, grad_q = gkl.kl_and_grad(p, q, threads=threads)
            found[way, threads] = kl, grad_p.mean, grad_p.cov, grad_q.mean, grad_q.cov
        same_bits(found[way, 3], found[way, 1], way)
    for x, y in zip(found["blas", 1], found["lanes", 1], strict=True):
        np.testing.assert_allclose(x, y, 1e-11, 1e-11 * np.abs(y).max())


# --- BLAS


def test_blas_threads_are_as_before():
    info = threadpoolctl.threadpool_info
    args = operands("kl_full_cov_grad", (4,), 130)
    by("blas", "kl_full_cov", args)
    if _core.blas_threads_by() is None:
        pytest.skip("this BLAS has no known control of its threads")
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        before = info()
        workers = [
            threading.Thread(target=lambda: [ufuncs.kl_full_cov_grad(*args) for _ in range(20)])
            for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert info() == before


def test_without_blas():
    args = operands("kl_full_cov_grad", (), 80)
    expected = by("lanes", "kl_full_cov_grad", args)
    try:
        _core.use_blas(None)
        same_bits(by("blas", "kl_full_cov_grad", args), expected)
        with pytest.raises(TypeError, match="unknown signature of spotrf"):
            _core.use_blas(dict.fromkeys(_core.scipy_blas(), capsule(1, b"int")))
    finally:
        _core.use_blas(_core.scipy_blas())


def capsule(address, signature):
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    kept.append(signature)
    return new(address, signature, None)


kept: list[bytes] = []  # a capsule does not keep its name


def numpy_blas():
    """NumPy's own OpenBLAS, which has integers of 64 bits, as SciPy might export it."""
    found = [x for x in threadpoolctl.threadpool_info() if "64_" in Path(x["filepath"]).name]
    if not found:
        pytest.skip("NumPy has no OpenBLAS with 64-bit integers here")
    library = ctypes.CDLL(found[0]["filepath"])
    return {
        name: capsule(
            ctypes.cast(library[f"scipy_{name}_64_"], ctypes.c_void_p).value,
            b"void (char *, int64_t *)",
        )
        for name in ("spotrf", "dpotrf", "strsm", "dtrsm", "sgemm", "dgemm")
    }


@pytest.mark.parametrize("dtype", FLOATS)
def test_integers_of_64_bits(dtype):
    args = operands("kl_full_cov_grad", (2,), 100, dtype)
    expected = by("lanes", "kl_full_cov_grad", args)
    try:
        _core.use_blas(numpy_blas())
        assert _core.blas_threads_by() in (None, "scipy_openblas_set_num_threads64_")
        found = by("blas", "kl_full_cov_grad", args)
    finally:
        _core.use_blas(_core.scipy_blas())
    for x, y in zip(found, expected, strict=True):
        assert x.tobytes() != y.tobytes()
        np.testing.assert_allclose(x, y, 0, 500 * np.finfo(dtype).eps * np.abs(y).max())


PROGRAM = """
import os, sys
import numpy as np, gkl
from gkl import _core, ufuncs
eye = np.eye(300)
ufuncs.kl_unit_cov(np.ones(20), eye[:20, :20])
assert "scipy.linalg" not in sys.modules
expected = ufuncs.kl_unit_cov(np.ones(300), 2 * eye)
assert "scipy.linalg" in sys.modules
if hasattr(os, "fork"):
    child = os.fork()
    found = ufuncs.kl_unit_cov(np.ones(300), 2 * eye)
    assert found == expected
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scipy_is_imported_when_it_is_wanted_and_a_fork_goes_well():
    run = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert run.stdout == "done\n", run.stderr
