# SPDX-License-Identifier: BSD-3-Clause
"""KL(p || q) in torch's own operations: where second and higher derivatives come from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["kl"]


def kl(parameters: Sequence[Tensor], p: str, q: str) -> Tensor:
    """Of parameters and kinds as :mod:`gkl.torch.operator` has them."""
    n = 3 if p == "low_rank" else 2
    own, other = list(parameters[:n]), list(parameters[n:])
    if not q:
        other, q = [torch.zeros_like(own[0]), torch.ones_like(own[0])], "var"
    delta = own[0] - other[0]
    if {p, q} <= {"var", "std", "logvar"}:
        v_p, v_q = _var(p, own[1]), _var(q, other[1])
        log_ratio = _logvar(p, own[1]) - _logvar(q, other[1])
        return 0.5 * (v_p / v_q - 1 - log_ratio + delta * delta / v_q).sum(-1)
    lower_p, lower_q = _cholesky(p, own[1:]), _cholesky(q, other[1:])
    w = torch.linalg.solve_triangular(lower_q, lower_p, upper=False)
    y = torch.linalg.solve_triangular(lower_q, delta.unsqueeze(-1), upper=False)
    logdet = _log_diagonal(lower_q) - _log_diagonal(lower_p)
    return 0.5 * ((w * w).sum((-2, -1)) - w.shape[-1] + (y * y).sum((-2, -1))) + logdet


def _var(kind: str, scale: Tensor) -> Tensor:
    return scale if kind == "var" else scale * scale if kind == "std" else scale.exp()


def _logvar(kind: str, scale: Tensor) -> Tensor:
    return scale.log() if kind == "var" else 2 * scale.log() if kind == "std" else scale


def _cholesky(kind: str, scales: Sequence[Tensor]) -> Tensor:
    """The lower factor of the covariance."""
    if kind == "tril":
        return scales[0].tril()
    if kind == "cov":
        return torch.linalg.cholesky(scales[0])
    if kind == "precision":
        return torch.linalg.cholesky(torch.linalg.inv(scales[0]))
    if kind == "low_rank":
        factor, var = scales
        return torch.linalg.cholesky(factor @ factor.mT + torch.diag_embed(var))
    return torch.diag_embed(_var(kind, scales[0]).sqrt())


def _log_diagonal(lower: Tensor) -> Tensor:
    return lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
