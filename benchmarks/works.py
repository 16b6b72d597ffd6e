# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: inputs, and each library's call that does the work once.

The peers are those of ``gkl bench``, with torch.compile and two more parameterizations beside
them.  A call gives the value and, of the work "grad-var", the four gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np

import gkl
from gkl import bench, ufuncs
from gkl.bench import Arrays, Call

__all__ = [
    "DTYPES",
    "LIBRARIES",
    "SMALL",
    "WORKS",
    "bytes_moved",
    "check",
    "inputs",
    "make",
    "make_small",
]

WORKS = {
    "pair-var": "KL(p‖q), var",
    "pair-std": "KL(p‖q), std",
    "pair-logvar": "KL(p‖q), logvar",
    "unit-logvar": "KL(p‖N(0,I)), logvar",
    "grad-var": "KL(p‖q), var, and four gradients",
}
DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
SMALL = ("gufunc, out=", "gufunc", "facade")  # the ways into gkl, for small calls
LIBRARIES = ("gkl", "NumPy", "numba", "torch", "torch.compile", "jax")

_SHARED = {"pair-var": "kl-pair", "unit-logvar": "kl-unit", "grad-var": "grad"}


def inputs(work: str, rows: int, dim: int, dtype: str, order: str = "C") -> Arrays:
    """Means and scales of p, and of q if the work has one, as matrices of that order."""
    rng = np.random.default_rng(0)

    def uniform(low: float, high: float) -> np.ndarray:
        shape = (rows, dim) if order == "C" else (dim, rows)
        x = rng.random(shape, dtype=DTYPES[dtype])
        x *= high - low
        x += low
        return x if order == "C" else x.T

    scale = (-1.0, 1.0) if work.endswith("logvar") else (0.5, 2.0)
    one = [uniform(-1, 1), uniform(*scale)]
    return one if work.startswith("unit") else [*one, uniform(-1, 1), uniform(*scale)]


def bytes_moved(work: str, arrays: Arrays) -> int:
    """Bytes read and written, each once."""
    read = sum(x.nbytes for x in arrays)
    return read + arrays[0].itemsize * len(arrays[0]) + read * work.startswith("grad")


def make(library: str, work: str, arrays: Arrays) -> Call:
    """The call of a library, with as many threads as gkl has; its outputs exist already where
    the library can take them.

    Raises
    ------
    ImportError, OSError
        The library is not there.
    """
    if library == "torch.compile":
        return _torch_compile(work, arrays)
    if work in _SHARED:
        return bench.PEERS[library](_SHARED[work], arrays)
    return _MORE[library](work, arrays)


def check(work: str, arrays: Arrays, calls: Iterable[tuple[str, Call]]) -> None:
    """See that libraries agree with gkl; every call has run once after that."""
    tolerance = 1e-4 if arrays[0].itemsize == 4 else 1e-9
    bench._agree({"gkl": make("gkl", work, arrays), **dict(calls)}, tolerance)


def make_small(name: str, arrays: Arrays) -> Call:
    """One call of the gufunc, of the facade, views and all, or of a peer."""
    mean_p, var_p, mean_q, var_q = arrays
    out, kl, view = np.empty(len(mean_p), mean_p.dtype), gkl.kl, gkl.DiagNormal
    if name == "gufunc, out=":
        return lambda: ufuncs.kl_diag_var(mean_p, var_p, mean_q, var_q, out=out)
    if name == "gufunc":
        return lambda: ufuncs.kl_diag_var(mean_p, var_p, mean_q, var_q)
    if name == "facade":
        return lambda: kl(view(mean_p, var=var_p), view(mean_q, var=var_q))
    call = make(name, "pair-var", arrays)
    call()  # compiles
    return call


def _formula(work: str, arrays: Any, xp: Any) -> Any:
    """The usual formula, in the words of NumPy, torch or jax alike."""
    if work in _SHARED:
        return bench._formula(_SHARED[work], arrays, xp)
    mean_p, scale_p, mean_q, scale_q = arrays
    delta = mean_p - mean_q
    if work == "pair-std":
        variance_q = scale_q * scale_q
        terms = xp.log(scale_q / scale_p) + 0.5 * (scale_p * scale_p + delta * delta) / variance_q
        return ((terms - 0.5).sum(-1),)
    difference = scale_p - scale_q
    terms = xp.exp(difference) + delta * delta * xp.exp(-scale_q) - 1 - difference
    return (0.5 * terms.sum(-1),)


def _gkl(work: str, arrays: Arrays) -> Call:
    name = work.removeprefix("pair-")
    p = gkl.DiagNormal(arrays[0], **{name: arrays[1]})
    q = gkl.DiagNormal(arrays[2], **{name: arrays[3]})
    value = np.empty(len(arrays[0]), arrays[0].dtype)
    return lambda: (gkl.kl(p, q, out=value),)


def _numpy(work: str, arrays: Arrays) -> Call:
    return lambda: _formula(work, arrays, np)


def _numba(work: str, arrays: Arrays) -> Call:
    numba = import_module("numba")

    numba.set_num_threads(min(gkl.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    compiled = numba.njit(parallel=True, fastmath=True)
    prange = numba.prange
    half, one = arrays[0].dtype.type(0.5), arrays[0].dtype.type(1)  # or float64 it would be

    def std(mean_p, std_p, mean_q, std_q, value):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, ratio = mean_p[i, j] - mean_q[i, j], std_p[i, j] / std_q[i, j]
                z = delta / std_q[i, j]
                total += half * (ratio * ratio + z * z - one) - np.log(ratio)
            value[i] = total

    def logvar(mean_p, logvar_p, mean_q, logvar_q, value):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, x = mean_p[i, j] - mean_q[i, j], logvar_p[i, j] - logvar_q[i, j]
                total += np.exp(x) + delta * delta * np.exp(-logvar_q[i, j]) - one - x
            value[i] = half * total

    kernel = compiled({"pair-std": std, "pair-logvar": logvar}[work])
    value = np.empty(len(arrays[0]), arrays[0].dtype)

    def call() -> Any:
        kernel(*arrays, value)
        return (value,)

    return call


def _torch(work: str, arrays: Arrays) -> Call:
    torch = import_module("torch")

    torch.set_num_threads(gkl.get_num_threads())
    tensors = [torch.from_numpy(x) for x in arrays]
    return lambda: _formula(work, tensors, torch)


def _torch_compile(work: str, arrays: Arrays) -> Call:
    """The formula, of gradients, too: nothing is left for autograd to do."""
    torch = import_module("torch")

    torch.set_num_threads(gkl.get_num_threads())
    torch.compiler.reset()  # or the second size would be compiled for all sizes
    tensors = [torch.from_numpy(x) for x in arrays]
    compiled = torch.compile(lambda *tensors: _formula(work, tensors, torch), dynamic=False)
    return lambda: compiled(*tensors)


def _jax(work: str, arrays: Arrays) -> Call:
    jax = import_module("jax")

    jax.config.update("jax_enable_x64", True)
    tensors = [jax.device_put(x, jax.devices("cpu")[0]) for x in arrays]
    compiled = jax.jit(lambda *tensors: _formula(work, tensors, jax.numpy))
    return lambda: jax.block_until_ready(compiled(*tensors))


_MORE = {"gkl": _gkl, "NumPy": _numpy, "numba": _numba, "torch": _torch, "jax": _jax}
