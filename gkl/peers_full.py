# SPDX-License-Identifier: BSD-3-Clause
"""Divergences of full covariances in gkl, NumPy and torch: (work, arrays) -> call.

As in `gkl.peers`; the arrays are mean_p, cov_p, mean_q, cov_q.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

import gkl
from gkl.peers import Arrays, Call, Peer, gkl_call

__all__ = ["FULL"]


def _gkl(work: str, arrays: Arrays) -> Call:
    p, q = gkl.FullNormal(arrays[0], cov=arrays[1]), gkl.FullNormal(arrays[2], cov=arrays[3])
    return gkl_call(p, q, arrays, work == "grad-cov")


def _logdet(root: Any) -> Any:
    return 2 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(-1)


def _numpy(work: str, arrays: Arrays) -> Call:
    """Batched Cholesky factors, and a batched solve or inverse."""
    mean_p, cov_p, mean_q, cov_q = arrays
    delta = (mean_p - mean_q)[..., np.newaxis]

    def value() -> Any:
        root_p, root_q = np.linalg.cholesky(cov_p), np.linalg.cholesky(cov_q)
        white = np.linalg.solve(root_q, np.concatenate([root_p, delta], axis=-1))
        trace = np.einsum("nij,nij->n", white, white)  # and the Mahalanobis term
        return (0.5 * (trace - mean_p.shape[-1] + _logdet(root_q) - _logdet(root_p)),)

    def value_and_gradients() -> Any:
        root_p, root_q = np.linalg.cholesky(cov_p), np.linalg.cholesky(cov_q)
        inverse_p, inverse_q = np.linalg.inv(cov_p), np.linalg.inv(cov_q)
        moment = cov_p + delta * delta.swapaxes(-1, -2)
        right = inverse_q @ moment
        trace = np.trace(right, axis1=-2, axis2=-1)
        value = 0.5 * (trace - mean_p.shape[-1] + _logdet(root_q) - _logdet(root_p))
        slope = (inverse_q @ delta)[..., 0]
        grad_q = 0.5 * (inverse_q - right @ inverse_q)
        return value, slope, 0.5 * (inverse_q - inverse_p), -slope, grad_q

    return value if work == "pair-cov" else value_and_gradients


def _torch(work: str, arrays: Arrays) -> Call:
    torch = import_module("torch")

    torch.set_num_threads(gkl.get_num_threads())
    normal = torch.distributions.MultivariateNormal
    tensors = [torch.from_numpy(x).requires_grad_(work == "grad-cov") for x in arrays]

    def value() -> Any:
        p, q = (normal(*tensors[i : i + 2], validate_args=False) for i in (0, 2))
        return torch.distributions.kl_divergence(p, q)

    def call() -> Any:
        result = value()
        if work == "pair-cov":
            return (result,)
        return result.detach(), *torch.autograd.grad(result.sum(), tensors)

    return call


FULL: dict[str, Peer] = {"gkl": _gkl, "NumPy": _numpy, "torch": _torch}
