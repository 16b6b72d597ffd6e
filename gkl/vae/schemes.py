# SPDX-License-Identifier: BSD-3-Clause
"""The schemes in use, as objects and, with their settings, as functions of KL values."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np

from gkl.vae.scheme import Scheme

__all__ = ["Beta", "Capacity", "FreeBits", "balance", "beta", "capacity", "check", "free_bits"]


@dataclass(frozen=True)
class Beta(Scheme):
    """beta times the mean KL: the beta-VAE; with beta = 1, the KL term as it is.

    .. math:: \\beta \\; \\mathrm{mean}_i \\, KL_i

    Higgins et al., "beta-VAE: learning basic visual concepts with a constrained variational
    framework" (2017).

    Parameters
    ----------
    beta : float
        A finite number of at least 0.

    Examples
    --------
    >>> from gkl import vae
    >>> float(vae.Beta(4.0)([0.5, 1.5]))
    4.0
    """

    beta: float = 1.0
    is_linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check("beta", self.beta)

    @property
    def factor(self) -> float:
        return self.beta

    def f(self, x: Any) -> Any:
        return x

    def slope(self, x: Any) -> Any:
        return np.ones_like(x)


@dataclass(frozen=True)
class FreeBits(Scheme):
    """KL of which the first nats are free: below them nothing is gained by having less.

    ========  ==========  ============================================================
    per_dim   after_mean  value / beta
    ========  ==========  ============================================================
    True      True        sum_j max(mean_i KL_ij, nats): Kingma et al.
    True      False       mean_i sum_j max(KL_ij, nats)
    False     True        max(mean_i KL_i, nats)
    False     False       mean_i max(KL_i, nats)
    ========  ==========  ============================================================

    Kingma et al., "Improving variational inference with inverse autoregressive flow" (2016),
    have the first, of dimensions or groups of them; the clamp of every item is as common.  To have
    groups, sum the values within each: the last axis holds whatever is clamped on its own.
    So a vector of KL values of items, as of :func:`gkl.kl`, wants ``per_dim=False``: by default
    it is read as the dimensions of a single item.

    Parameters
    ----------
    nats : float
        What is free, to every dimension or to the whole.
    per_dim : bool
        Whether each dimension is clamped, or the sum over them.
    after_mean : bool
        Whether the mean over the batch is clamped, or every item.
    beta : float
        What multiplies the objective.

    Notes
    -----
    The derivative is 0 below `nats` and 1 from there on: at the kink that of torch's ``clamp``;
    JAX has 1/2 there.

    Examples
    --------
    >>> import numpy as np
    >>> from gkl import vae
    >>> kl = np.array([[0.1, 3.0], [0.5, 1.0]])
    >>> for per_dim in True, False:
    ...     for after_mean in True, False:
    ...         free_bits = vae.FreeBits(0.4, per_dim=per_dim, after_mean=after_mean)
    ...         print(float(free_bits(kl if per_dim else kl.sum(-1))))
    2.4
    2.45
    2.3
    2.3
    """

    nats: float
    per_dim: bool = True
    after_mean: bool = True
    beta: float = 1.0

    def __post_init__(self) -> None:
        check("nats", self.nats)
        check("beta", self.beta)

    @property
    def factor(self) -> float:
        return self.beta

    def f(self, x: Any) -> Any:
        return (x - self.nats).clip(0) + self.nats  # torch.compile specializes on clip's limits

    def slope(self, x: Any) -> Any:
        return ~(x < self.nats)  # NaN is not free: it is seen in the gradients


@dataclass(frozen=True)
class Capacity(Scheme):
    """The distance of the KL from a capacity, which is raised during training.

    .. math:: \\gamma \\; |\\mathrm{mean}_i \\, KL_i - C| \\quad\\text{or}\\quad
              \\gamma \\; \\mathrm{mean}_i \\, |KL_i - C|

    Burgess et al., "Understanding disentangling in beta-VAE" (2018).

    Parameters
    ----------
    nats : float
        The capacity C.
    gamma : float
        What multiplies the distance.
    after_mean : bool
        Whether the mean over the batch (first formula) or every item (second) has the capacity.

    Notes
    -----
    The derivative in the KL is -gamma below C, gamma above and 0 at C.

    Examples
    --------
    >>> from gkl import vae
    >>> float(vae.Capacity(5.0, gamma=100.0)([3.0, 4.0]))
    150.0
    """

    nats: float
    gamma: float
    after_mean: bool = True

    def __post_init__(self) -> None:
        check("nats", self.nats)
        check("gamma", self.gamma)

    @property
    def factor(self) -> float:
        return self.gamma

    def f(self, x: Any) -> Any:
        return abs(x - self.nats)

    def slope(self, x: Any) -> Any:
        return np.sign(x - self.nats)


def beta(kl: Any, factor: float) -> Any:
    """:class:`Beta` of KL values of items: arrays, or tensors that are differentiated through.

    Examples
    --------
    >>> from gkl import vae
    >>> float(vae.beta([0.5, 1.5], 4.0))
    4.0
    """
    return Beta(factor)(kl)


def free_bits(
    kl: Any, nats: float, *, per_dim: bool = True, after_mean: bool = True, beta: float = 1.0
) -> Any:
    """:class:`FreeBits` of KL values: arrays, or tensors that are differentiated through.

    A vector of KL values of items wants ``per_dim=False``: by default it is read as dimensions.

    Examples
    --------
    >>> from gkl import vae
    >>> float(vae.free_bits([[0.1, 3.0], [0.5, 1.0]], 0.4))
    2.4
    """
    return FreeBits(nats, per_dim, after_mean, beta)(kl)


def capacity(kl: Any, nats: float, *, gamma: float, after_mean: bool = True) -> Any:
    """:class:`Capacity` of KL values of items: arrays, or tensors that are differentiated through.

    Examples
    --------
    >>> from gkl import vae
    >>> float(vae.capacity([3.0, 4.0], 5.0, gamma=100.0))
    150.0
    """
    return Capacity(nats, gamma, after_mean)(kl)


def balance(kl_prior: Any, kl_posterior: Any, alpha: float = 0.8) -> Any:
    """KL values whose gradients reach the prior with alpha, the posterior with 1 - alpha.

    .. math:: \\alpha \\, KL(\\mathrm{sg}(p) \\,\\|\\, q)
              + (1 - \\alpha) \\, KL(p \\,\\|\\, \\mathrm{sg}(q))

    where sg stops gradients.  For tensors; :func:`objective_and_grad` has ``balance=``.

    Hafner et al., "Mastering Atari with discrete world models" (2021).

    Parameters
    ----------
    kl_prior, kl_posterior : tensor
        The same values twice, of detached posteriors p and of a detached prior q.
    alpha : float
        From 0 to 1.

    Returns
    -------
    tensor
        The KL itself, for any of the schemes.

    Examples
    --------
    >>> import numpy as np
    >>> from gkl import vae
    >>> kl = np.array([0.5, 1.5])
    >>> vae.balance(kl, kl, 0.75)
    array([0.5, 1.5])
    """
    check("alpha", alpha, 1)
    return alpha * kl_prior + (1 - alpha) * kl_posterior


def check(name: str, x: Any, largest: float = inf) -> None:
    """A finite number of at least 0."""
    if not 0 <= x <= largest or x == inf:
        bounds = "a finite number of at least 0" if largest == inf else f"from 0 to {largest}"
        raise ValueError(f"{name} is {x!r}, and has to be {bounds}")
