# SPDX-License-Identifier: BSD-3-Clause
"""KL(p || q) in torch's own operations: where second and higher derivatives come from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["kl"]

DIAG = ("var", "std", "logvar")


def kl(parameters: Sequence[Tensor], p: str, q: str) -> Tensor:
    """Of parameters and kinds as :mod:`gkl.torch.operator` has them, the batch in each."""
    n = 3 if p == "low_rank" else 2
    own, other = list(parameters[:n]), list(parameters[n:])
    if not q:
        other, q = [torch.zeros_like(own[0]), torch.ones_like(own[0])], "std"
    delta = own[0] - other[0]
    if p in DIAG and q in DIAG:
        ratio, log_ratio = _ratio(p, own[1], q, other[1])
        distance = delta / _std(q, other[1])
        return 0.5 * (ratio - 1 - log_ratio + distance * distance).sum(-1)
    root, log_p = _root(p, own[1:])
    both = torch.cat([root, delta.unsqueeze(-1)], -1)
    whitened, log_q = _whitened(q, other[1:], both)
    return 0.5 * ((whitened * whitened).sum((-2, -1)) - delta.shape[-1]) - log_p + log_q


def _ratio(p: str, own: Tensor, q: str, other: Tensor) -> tuple[Tensor, Tensor]:
    """Of the variances, and its logarithm; in range also where the variances are not."""
    if p == q == "logvar":
        return (own - other).exp(), own - other
    if p == q == "var":
        return own / other, own.log() - other.log()
    root = _std(p, own) / _std(q, other)
    return root * root, _logvar(p, own) - _logvar(q, other)


def _std(kind: str, scale: Tensor) -> Tensor:
    return scale.sqrt() if kind == "var" else scale if kind == "std" else (scale / 2).exp()


def _logvar(kind: str, scale: Tensor) -> Tensor:
    return scale.log() if kind == "var" else 2 * scale.log() if kind == "std" else scale


def _root(kind: str, scales: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """A with A A^T the covariance, and log det A."""
    if kind in DIAG:
        return torch.diag_embed(_std(kind, scales[0])), _logvar(kind, scales[0]).sum(-1) / 2
    lower = _cholesky(kind, scales)
    if kind != "precision":
        return lower, _log_diagonal(lower)
    one = torch.eye(lower.shape[-1], dtype=lower.dtype).expand(lower.shape)
    return torch.linalg.solve_triangular(lower.mT, one, upper=True), -_log_diagonal(lower)


def _whitened(kind: str, scales: Sequence[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """B x with B^T B the inverse of the covariance, and -log det B."""
    if kind in DIAG:
        return x / _std(kind, scales[0]).unsqueeze(-1), _logvar(kind, scales[0]).sum(-1) / 2
    lower = _cholesky(kind, scales)
    if kind == "precision":
        return lower.mT @ x, -_log_diagonal(lower)
    return torch.linalg.solve_triangular(lower, x, upper=False), _log_diagonal(lower)


def _cholesky(kind: str, scales: Sequence[Tensor]) -> Tensor:
    """The lower factor, of what stands in the lower triangle; NaN where there is none."""
    if kind == "tril":
        return scales[0].tril()
    matrix = scales[0]
    if kind == "low_rank":
        factor, var = scales
        matrix = factor @ factor.mT + torch.diag_embed(var)
    lower, info = torch.linalg.cholesky_ex(matrix)
    return torch.where((info != 0)[..., None, None], torch.nan, lower)


def _log_diagonal(lower: Tensor) -> Tensor:
    return lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
