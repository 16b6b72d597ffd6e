# SPDX-License-Identifier: BSD-3-Clause
"""A drop-in for ``torch.distributions.kl_divergence``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributions as td
from torch import Tensor

from gkl.tensors import DiagNormal, FullNormal, LowRankNormal
from gkl.torch.divergence import kl

__all__ = ["kl_divergence"]

GAUSSIANS: dict[type, Callable[[Any], Any]] = {
    td.Normal: lambda x: DiagNormal(x.loc, std=x.scale),
    td.MultivariateNormal: lambda x: FullNormal(x.loc, tril=x.scale_tril),
    td.LowRankMultivariateNormal: lambda x: LowRankNormal(
        x.loc, factor=x.cov_factor, var=x.cov_diag
    ),
}


def kl_divergence(p: td.Distribution, q: td.Distribution) -> Tensor:
    """``torch.distributions.kl_divergence``, by gkl where both distributions are Gaussian.

    Parameters
    ----------
    p, q : torch.distributions.Distribution
        ``Normal``, ``MultivariateNormal``, ``LowRankMultivariateNormal`` and ``Independent`` of
        these, in any pair of the same event shape, such as ``Independent(Normal(...), 1)`` and
        ``MultivariateNormal``, which torch lacks.  All others are torch's own business.

    Returns
    -------
    Tensor, the batch's shape
        In nats; float32 also for float16 distributions.  A Gaussian with a parameter that is not
        finite, or not positive where it must be, gives NaN: torch's formula may give 0 or inf.

    Raises
    ------
    ValueError
        Event or batch shapes that do not fit; tensors that are not on the CPU.
    NotImplementedError
        A pair that neither gkl nor torch has.

    Notes
    -----
    Accuracy and derivatives are those of :func:`gkl.torch.kl`.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, MultivariateNormal, Normal
    >>> from gkl.torch import kl_divergence
    >>> p = Independent(Normal(torch.ones(3, 2), torch.ones(3, 2)), 1)
    >>> q = MultivariateNormal(torch.zeros(2), torch.eye(2))
    >>> kl_divergence(p, q)
    tensor([1., 1., 1.])
    """
    (a, summed_p), (b, summed_q) = _base(p), _base(q)
    known = type(a) in GAUSSIANS and type(b) in GAUSSIANS
    if not known or len(p.event_shape) != len(q.event_shape):
        return td.kl_divergence(p, q)
    own, other = GAUSSIANS[type(a)](a), GAUSSIANS[type(b)](b)
    summed = min(summed_p, summed_q)  # beyond the axis of a vector
    if type(a) is type(b) is td.Normal:
        if p.event_shape == q.event_shape and summed:
            summed -= 1
        else:  # univariate, and the axes of both broadcast
            own, other = (
                x.like(y.unsqueeze(-1) for y in x.parameters.values()) for x in (own, other)
            )
    elif p.event_shape != q.event_shape:
        shapes = f"{tuple(p.event_shape)} and {tuple(q.event_shape)}"
        raise ValueError(f"the event shapes of p and q differ: {shapes}")
    value = kl(own, other, on_error="nan")
    return value.sum(tuple(range(-summed, 0))) if summed else value


def _base(x: td.Distribution) -> tuple[td.Distribution, int]:
    """What Independent stands around, and how many of its batch axes are summed."""
    summed = 0
    while type(x) is td.Independent:
        summed += x.reinterpreted_batch_ndims
        x = x.base_dist
    return x, summed
