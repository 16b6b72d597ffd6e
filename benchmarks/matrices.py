# SPDX-License-Identifier: BSD-3-Clause
"""Full covariances: inputs, and each library's call that does the work once."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import gkl

__all__ = ["LIBRARIES", "WORKS", "bytes_moved", "check", "inputs", "make"]

Arrays = list[np.ndarray]
Call = Callable[[], tuple[Any, ...]]

WORKS = {
    "cov": "KL(p‖q), cov",
    "near": "KL(p‖q), cov, p near q",
    "shared": "KL(p‖q), cov, one q for all",
    "grad": "KL(p‖q), cov, and four gradients",
}
LIBRARIES = ("gkl", "NumPy", "torch")


def inputs(work: str, count: int, dim: int, dtype: Any = np.float64) -> Arrays:
    """Means and covariances of p and q, with condition numbers of some tens."""
    rng = np.random.default_rng(0)

    def covariances(n: int) -> np.ndarray:
        x = rng.standard_normal((n, dim, dim + 4))
        return x @ x.swapaxes(1, 2) / dim + 0.1 * np.eye(dim)

    n_q = 1 if work == "shared" else count
    mean_p, mean_q = rng.standard_normal((count, dim)), rng.standard_normal((n_q, dim))
    cov_p, cov_q = covariances(count), covariances(n_q)
    if work == "near":
        cov_p, mean_p = cov_q + 1e-3 * cov_p, mean_q + 1e-3 * mean_p
    return [np.ascontiguousarray(x, dtype) for x in (mean_p, cov_p, mean_q, cov_q)]


def bytes_moved(work: str, arrays: Arrays) -> int:
    """Bytes read and written, each once."""
    read = sum(x.nbytes for x in arrays)
    return read + arrays[0].itemsize * len(arrays[0]) + read * (work == "grad")


def make(library: str, work: str, arrays: Arrays) -> Call:
    """The call of a library, with as many threads as gkl has; ImportError: it is not there."""
    return {"gkl": _gkl, "NumPy": _numpy, "torch": _torch}[library](work, arrays)


def check(arrays: Arrays, calls: dict[str, Call]) -> None:
    """See that libraries agree with gkl; every call has run once after that."""
    tolerance = 1e-3 if arrays[0].itemsize == 4 else 1e-7
    wanted = calls["gkl"]()
    for name, call in calls.items():
        for x, y in zip(call(), wanted, strict=True):
            found = np.asarray(x)
            limit = tolerance * np.abs(y).max()
            if not np.allclose(found, y, tolerance, limit):
                raise RuntimeError(f"{name} and gkl do not agree")


def _gkl(work: str, arrays: Arrays) -> Call:
    mean_p, cov_p, mean_q, cov_q = arrays
    p, q = gkl.FullNormal(mean_p, cov=cov_p), gkl.FullNormal(mean_q, cov=cov_q)
    value = np.empty(len(mean_p), mean_p.dtype)
    if work != "grad":
        return lambda: (gkl.kl(p, q, out=value),)
    grad_p = gkl.FullNormal(np.empty_like(mean_p), cov=np.empty_like(cov_p))
    grad_q = gkl.FullNormal(np.empty_like(mean_q), cov=np.empty_like(cov_q))

    def call() -> tuple[Any, ...]:
        gkl.kl_and_grad(p, q, out=(value, grad_p, grad_q))
        return value, grad_p.mean, grad_p.cov, grad_q.mean, grad_q.cov

    return call


def _numpy(work: str, arrays: Arrays) -> Call:
    """Batched Cholesky factors and solves, the best that NumPy has for it."""
    mean_p, cov_p, mean_q, cov_q = arrays

    def call() -> tuple[Any, ...]:
        factor_p, factor_q = np.linalg.cholesky(cov_p), np.linalg.cholesky(cov_q)
        right = np.concatenate([factor_p, (mean_p - mean_q)[..., np.newaxis]], -1)
        left = np.broadcast_to(factor_q, factor_p.shape)
        white = np.linalg.solve(left, right)
        logs = [np.log(np.diagonal(x, axis1=-2, axis2=-1)).sum(-1) for x in (factor_p, factor_q)]
        return (0.5 * ((white * white).sum((-2, -1)) - mean_p.shape[-1]) + logs[1] - logs[0],)

    def with_gradients() -> tuple[Any, ...]:
        (value,) = call()
        inverse_p, inverse_q = np.linalg.inv(cov_p), np.linalg.inv(cov_q)
        delta = mean_p - mean_q
        slope = (inverse_q @ delta[..., np.newaxis])[..., 0]
        spread = cov_p + delta[..., np.newaxis] * delta[..., np.newaxis, :]
        by_q = 0.5 * (inverse_q - inverse_q @ spread @ inverse_q)
        return value, slope, 0.5 * (inverse_q - inverse_p), -slope, by_q

    return with_gradients if work == "grad" else call


def _torch(work: str, arrays: Arrays) -> Call:
    """torch.distributions, gradients by autograd."""
    torch = import_module("torch")
    torch.set_num_threads(gkl.get_num_threads())
    tensors = [torch.from_numpy(x).clone().requires_grad_(work == "grad") for x in arrays]

    def normal(mean: Any, cov: Any) -> Any:
        return torch.distributions.MultivariateNormal(mean, cov, validate_args=False)

    def call() -> tuple[Any, ...]:
        p, q = normal(*tensors[:2]), normal(*tensors[2:])
        value = torch.distributions.kl_divergence(p, q)
        if work != "grad":
            return (value,)
        return (value.detach(), *torch.autograd.grad(value.sum(), tensors))

    return call
