# SPDX-License-Identifier: BSD-3-Clause
"""KL divergences of tensors, which autograd, ``torch.func`` and ``torch.compile`` know.

>>> import torch
>>> import gkl.torch
>>> mean = torch.tensor([[0.0, 1.0]], requires_grad=True)
>>> p = gkl.torch.DiagNormal(mean, logvar=torch.zeros(1, 2))
>>> gkl.torch.kl(p).sum().backward()
>>> mean.grad
tensor([[0., 1.]])
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("gkl.torch wants torch: pip install 'gkl[torch]'") from error

from gkl.tensors import DiagNormal, FullNormal, LowRankNormal
from gkl.torch.distributions import kl_divergence
from gkl.torch.divergence import kl, kl_per_dim

__all__ = ["DiagNormal", "FullNormal", "LowRankNormal", "kl", "kl_divergence", "kl_per_dim"]
