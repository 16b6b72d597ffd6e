# SPDX-License-Identifier: BSD-3-Clause
"""Diagonal divergences in gkl and in other libraries: (work, arrays) -> call.

The works are those of `gkl.bench`.  A call does the work once, with as many threads as gkl has,
and gives the value and, of gradients, the four of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import gkl

__all__ = ["DIAG", "Arrays", "Call", "Peer", "formula", "gkl_call"]

Call: TypeAlias = Callable[[], Any]
Arrays: TypeAlias = list[NDArray[Any]]
Peer: TypeAlias = Callable[[str, Arrays], Call]


def formula(work: str, arrays: Any, xp: Any) -> Any:
    """The usual formula, in the words of NumPy, torch or jax alike."""
    if work == "unit-logvar":
        mean, logvar = arrays
        return (0.5 * (mean * mean + xp.exp(logvar) - 1 - logvar).sum(-1),)
    mean_p, scale_p, mean_q, scale_q = arrays
    delta = mean_p - mean_q
    if work == "pair-std":
        variance_q = scale_q * scale_q
        terms = xp.log(scale_q / scale_p) + 0.5 * (scale_p * scale_p + delta * delta) / variance_q
        return ((terms - 0.5).sum(-1),)
    if work == "pair-logvar":
        y = scale_p - scale_q
        return (0.5 * (xp.exp(y) + delta * delta * xp.exp(-scale_q) - 1 - y).sum(-1),)
    ratio = scale_p / scale_q
    value = 0.5 * (ratio + delta * delta / scale_q - 1 - xp.log(ratio)).sum(-1)
    if work == "pair-var":
        return (value,)
    slope, u = delta / scale_q, ratio - 1
    return value, slope, 0.5 * u / scale_p, -slope, -0.5 * (u + delta * slope) / scale_q


def gkl_call(p: Any, q: Any, arrays: Arrays, gradients: bool) -> Call:
    """gkl's own, of views of these arrays, into outputs that exist."""
    value = np.empty(len(arrays[0]), arrays[0].dtype)
    if not gradients:
        return lambda: (gkl.kl(p, q, out=value),)
    grads = [np.empty_like(x) for x in arrays]
    out = value, p.like(grads[:2]), q.like(grads[2:])

    def call() -> Any:
        gkl.kl_and_grad(p, q, out=out)
        return value, *grads

    return call


def _gkl(work: str, arrays: Arrays) -> Call:
    name = work.partition("-")[2]
    p, *others = (
        gkl.DiagNormal(mean, **{name: scale})
        for mean, scale in zip(arrays[::2], arrays[1::2], strict=True)
    )
    return gkl_call(p, others[0] if others else None, arrays, work == "grad-var")


def _numpy(work: str, arrays: Arrays) -> Call:
    return lambda: formula(work, arrays, np)


def _numba(work: str, arrays: Arrays) -> Call:
    numba = import_module("numba")

    numba.set_num_threads(min(gkl.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    compiled = numba.njit(parallel=True, fastmath=True)
    prange = numba.prange
    half, one = arrays[0].dtype.type(0.5), arrays[0].dtype.type(1)  # or float64 it would be

    def unit(mean, logvar, value):  # type: ignore[no-untyped-def]
        for i in prange(mean.shape[0]):
            total = half - half
            for j in range(mean.shape[1]):
                m, y = mean[i, j], logvar[i, j]
                total += m * m + np.exp(y) - one - y
            value[i] = half * total

    def pair_var(mean_p, var_p, mean_q, var_q, value):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, ratio = mean_p[i, j] - mean_q[i, j], var_p[i, j] / var_q[i, j]
                total += ratio + delta * delta / var_q[i, j] - one - np.log(ratio)
            value[i] = half * total

    def pair_std(mean_p, std_p, mean_q, std_q, value):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, ratio = mean_p[i, j] - mean_q[i, j], std_p[i, j] / std_q[i, j]
                z = delta / std_q[i, j]
                total += half * (ratio * ratio + z * z - one) - np.log(ratio)
            value[i] = total

    def pair_logvar(mean_p, logvar_p, mean_q, logvar_q, value):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, x = mean_p[i, j] - mean_q[i, j], logvar_p[i, j] - logvar_q[i, j]
                total += np.exp(x) + delta * delta * np.exp(-logvar_q[i, j]) - one - x
            value[i] = half * total

    def grad(mean_p, var_p, mean_q, var_q, value, g0, g1, g2, g3):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, ratio = mean_p[i, j] - mean_q[i, j], var_p[i, j] / var_q[i, j]
                slope, u = delta / var_q[i, j], ratio - one
                m = delta * slope
                total += u + m - np.log(ratio)
                g0[i, j], g2[i, j] = slope, -slope
                g1[i, j] = half * u / var_p[i, j]
                g3[i, j] = -half * (u + m) / var_q[i, j]
            value[i] = half * total

    kernels = {"unit-logvar": unit, "pair-var": pair_var, "pair-std": pair_std}
    kernel = compiled((kernels | {"pair-logvar": pair_logvar, "grad-var": grad})[work])
    outputs = [np.empty(len(arrays[0]), arrays[0].dtype)]
    outputs += [np.empty_like(x) for x in arrays] if work == "grad-var" else []

    def call() -> Any:
        kernel(*arrays, *outputs)
        return outputs

    return call


def _torch(work: str, arrays: Arrays) -> Call:
    torch = import_module("torch")

    torch.set_num_threads(gkl.get_num_threads())
    tensors = [torch.from_numpy(x).requires_grad_(work == "grad-var") for x in arrays]

    def call() -> Any:
        if work != "grad-var":
            return formula(work, tensors, torch)
        (value,) = formula("pair-var", tensors, torch)
        return value.detach(), *torch.autograd.grad(value.sum(), tensors)

    return call


def _jax(work: str, arrays: Arrays) -> Call:
    jax = import_module("jax")

    jax.config.update("jax_enable_x64", True)
    tensors = [jax.device_put(x, jax.devices("cpu")[0]) for x in arrays]
    compiled = jax.jit(lambda *tensors: formula(work, tensors, jax.numpy))
    return lambda: jax.block_until_ready(compiled(*tensors))


DIAG: dict[str, Peer] = {
    "gkl": _gkl,
    "NumPy": _numpy,
    "numba": _numba,
    "torch": _torch,
    "jax": _jax,
}
