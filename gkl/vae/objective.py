# SPDX-License-Identifier: BSD-3-Clause
"""The objective of a batch of Gaussians, and its gradients in their parameters."""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import Any, TypeVar

import numpy as np

from gkl import lazy, tensors
from gkl._core import Gaussian
from gkl.divergence import checked, kl, kl_per_dim
from gkl.gradients import kl_and_grad
from gkl.vae.scheme import Scheme
from gkl.vae.schemes import Beta

__all__ = ["batch_shape", "objective_and_grad"]

P = TypeVar("P", bound=Gaussian)
Q = TypeVar("Q", bound=Gaussian)


def objective_and_grad(
    p: P,
    q: Q | None = None,
    scheme: Scheme = Beta(1.0),  # noqa: B008
    *,
    balance: float | None = None,
    wrt: Collection[str] = ("p", "q"),
    threads: int | None = None,
) -> tuple[Any, P | None, Q | None]:
    """The objective of posteriors p and prior q, and its gradients in their parameters.

    Parameters
    ----------
    p : DiagNormal, FullNormal or LowRankNormal
        The posteriors of a batch.
    q : DiagNormal, FullNormal or LowRankNormal, optional
        The prior, or one for each; None is N(0, I).
    scheme : Beta, FreeBits, Capacity or another Scheme
        What the objective is of the KL values.
    balance : float, optional
        alpha, from 0 to 1, of KL balancing: the gradients of q are multiplied by alpha and those
        of p by 1 - alpha.  The value is not.
    wrt, threads
        As in :func:`gkl.kl_and_grad`.

    Returns
    -------
    value : scalar
        The objective, in nats; float32 or float64 as :func:`gkl.kl`.
    grad_p, grad_q : DiagNormal, FullNormal or LowRankNormal; or None
        As those of :func:`gkl.kl_and_grad`.

    Raises
    ------
    InvalidGaussianError
        Some items are bad: their objective is not defined, nor is that of the batch.
    ValueError
        Shapes that do not fit, an empty batch, `balance` beyond 0 and 1 or without a q.
    TypeError
        A scheme of dimensions, and p or q is not a DiagNormal; Gaussians of tensors or Dask
        arrays; a `scheme` that is none.

    Notes
    -----
    A pass over the parameters for the KL values, whose function the scheme is; then one for the
    gradients, weighted by the scheme's derivative.  :class:`Beta` takes one alone.  Nothing of
    the size of the parameters is allocated beside the gradients, but for a scheme of dimensions
    their KL values and, where these are clamped one by one, weights.

    KL balancing is that of Hafner et al., "Mastering Atari with discrete world models" (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from gkl import DiagNormal, vae
    >>> p = DiagNormal(np.array([[1.0, 0.0], [2.0, 0.1]]), logvar=0.0)
    >>> q = DiagNormal(np.zeros(2), var=1.0)
    >>> value, grad_p, grad_q = vae.objective_and_grad(p, q, balance=0.75)
    >>> float(value), grad_p.mean[:, 0], grad_q.mean
    (1.2525, array([0.125, 0.25 ]), array([-1.125 , -0.0375]))
    """
    for name, x in (("p", p), ("q", q)):
        if isinstance(x, tensors.Gaussian):
            raise TypeError(
                f"{name} is a Gaussian of tensors, which go through functions of KL values: "
                "vae.free_bits(gkl.torch.kl_per_dim(p), ...), vae.beta(gkl.torch.kl(p), ...)"
            )
    checked(p, q, "raise", threads)
    if not isinstance(scheme, Scheme):
        raise TypeError(f"scheme is {scheme!r}, not a Scheme such as vae.Beta(0.5)")
    if lazy.wanted(p, q):
        raise TypeError("objective_and_grad takes no Dask arrays: compute them first")
    if balance is not None:
        if q is None:
            raise ValueError("balance= is between p and a prior q, and q is None")
        if not 0 <= balance <= 1:
            raise ValueError(f"balance is {balance!r}, and has to be from 0 to 1")
    value, grad_p, grad_q = _weighted(p, q, scheme, wrt, threads)
    if balance is not None:
        _multiply(grad_p, 1 - balance)
        _multiply(grad_q, balance)
    return value, grad_p, grad_q


def _weighted(
    p: Any, q: Any, scheme: Scheme, wrt: Collection[str], threads: int | None
) -> tuple[Any, Any, Any]:
    if scheme.is_linear and not scheme.per_dim:
        weight = scheme.factor / max(1, prod(batch_shape(p, q)))
        values, *grads = kl_and_grad(p, q, weight=weight, wrt=wrt, threads=threads)
        return scheme(values), *grads
    if not scheme.per_dim:
        value, weight = scheme.value_and_weight(kl(p, q, threads=threads))
        return value, *kl_and_grad(p, q, weight=weight, wrt=wrt, threads=threads)[1:]

    for name, x in (("p", p), ("q", q)):
        if x is not None and x.structure != "diag":
            raise TypeError(
                f"{name} is a {type(x).__name__}, whose divergence is not a sum over dimensions: "
                f"{scheme!r} wants a DiagNormal, or per_dim=False"
            )
    value, weight = scheme.value_and_weight(kl_per_dim(p, q, threads=threads))
    if p.scalar and (q is None or q.scalar):  # numbers are one dimension and no batch
        return value, *kl_and_grad(p, q, weight=weight[0], wrt=wrt, threads=threads)[1:]
    pair = _by_dimension(p), _by_dimension(q)
    _, *grads = kl_and_grad(*pair, weight=weight, wrt=wrt, threads=threads)
    return value, *(x and x.like([_without_last(y) for y in x.parameters.values()]) for x in grads)


def batch_shape(p: Any, q: Any) -> tuple[int, ...]:
    """That of p and q together."""
    fits = q is None or p.scalar or q.scalar or p.dim == q.dim
    try:
        if fits:
            return np.broadcast_shapes(p.batch_shape, () if q is None else q.batch_shape)
    except ValueError:
        pass
    kl(p, q)  # says which shapes these are
    raise ValueError("p and q do not fit")


def _by_dimension(x: Any) -> Any:
    """Every dimension of a DiagNormal as a univariate Gaussian, in a batch of items and
    dimensions: views."""
    if x is None:
        return None
    return x.like([y if isinstance(y, float) else y[..., None] for y in x.parameters.values()])


def _without_last(x: Any) -> Any:
    return x[..., 0] if x.ndim else x  # of a number it is one


def _multiply(x: Any, factor: float) -> None:
    for y in () if x is None else x.parameters.values():
        np.multiply(y, factor, out=y)
