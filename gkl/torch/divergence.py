# SPDX-License-Identifier: BSD-3-Clause
"""Divergences of tensors: names, shapes and errors around the operator."""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor

import gkl
from gkl.errors import InvalidGaussianError, raises, refuse_correlated
from gkl.tensors import DiagNormal, Gaussian, cores
from gkl.torch.operator import apply

__all__ = ["kl", "kl_per_dim"]

OnError = Literal["raise", "nan"]
TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def kl(p: Gaussian, q: Gaussian | None = None, *, on_error: OnError = "raise") -> Tensor:
    """Kullback-Leibler divergence KL(p || q) of every pair of a batch, in nats.

    Parameters
    ----------
    p : DiagNormal, FullNormal or LowRankNormal
        Of :mod:`gkl.torch`: their parameters are tensors on the CPU, or numbers.
    q : DiagNormal, FullNormal or LowRankNormal, optional
        None is the standard normal N(0, I).  Structures and parameterizations may differ,
        batches broadcast.
    on_error : {"raise", "nan"}
        What to do about items whose divergence is undefined, such as those of a variance that
        is not positive.

    Returns
    -------
    Tensor, the batch's shape
        float32 for float16, bfloat16 and float32 parameters, else float64.

    Raises
    ------
    InvalidGaussianError
        Some items are bad and `on_error` is "raise".
    ValueError
        Shapes that do not fit; tensors that are not on the CPU.
    TypeError
        Arguments of other kinds.

    Notes
    -----
    Formula, accuracy and bits are those of :func:`gkl.kl`, which reads the tensors where they
    are.  Where a gradient is wanted, it comes from the same pass over the data as the value and
    is kept, item by item, for the backward pass; gradients have the conventions of
    :func:`gkl.kl_and_grad`: that of a covariance or a precision is symmetric.  What a batch shares
    has one of each item, too, until they are summed.

    Derivatives of gradients, of any order, and forward-mode ones are those of the closed form in
    torch's operations.  ``torch.func`` composes (``grad``, ``vjp``, ``jvp``, ``jacrev``,
    ``jacfwd``, ``hessian``, ``vmap``).  ``torch.compile`` captures calls without a graph break;
    within compiled ``torch.func`` the closed form stands for the value as well, which then has
    its rounding errors near P = Q.  Parameters that are Python numbers are constants of a compiled
    program: one that changes is better a tensor.  The number of threads is gkl's
    (:func:`gkl.set_num_threads`), not torch's.

    Examples
    --------
    >>> import torch
    >>> import gkl.torch
    >>> logvar = torch.zeros(3, 2, requires_grad=True)
    >>> p = gkl.torch.DiagNormal(torch.ones(3, 2), logvar=logvar)
    >>> q = gkl.torch.FullNormal(torch.zeros(2), tril=torch.eye(2))
    >>> gkl.torch.kl(p, q)
    tensor([1., 1., 1.], grad_fn=<PlainBackward>)
    """
    return _divergence(p, q, on_error, False)


def kl_per_dim(
    p: DiagNormal, q: DiagNormal | None = None, *, on_error: OnError = "raise"
) -> Tensor:
    """KL(p || q) of every dimension, in nats: the sum over the last axis is :func:`kl`.

    Parameters, errors and derivatives are those of :func:`kl`, but p and q are of DiagNormal.

    Returns
    -------
    Tensor, the batch's shape and (d,)

    Examples
    --------
    >>> import torch
    >>> import gkl.torch
    >>> gkl.torch.kl_per_dim(gkl.torch.DiagNormal(torch.tensor([1.0, 2.0]), logvar=0.0))
    tensor([0.5000, 2.0000])
    """
    refuse_correlated(p, q)
    return _divergence(p, q, on_error, True)


def _divergence(p: Any, q: Any, on_error: str, per_dim: bool) -> Tensor:
    must_raise = raises(on_error)
    parameters, kinds = _flat(p, q)
    if per_dim:  # every dimension is an item
        parameters = [x.unsqueeze(-1) for x in parameters]
    try:
        return apply(parameters, *kinds, must_raise)
    except InvalidGaussianError as error:
        raise _in_words(error, p, q, per_dim) from None


def _in_words(error: InvalidGaussianError, p: Any, q: Any, per_dim: bool) -> InvalidGaussianError:
    """The error of gkl itself for what the caller gave, where that can be looked at."""
    function = gkl.kl_per_dim if per_dim else gkl.kl
    try:
        function(*(x and _numpy(x) for x in (p, q)))
    except InvalidGaussianError as own:
        return own
    except (RuntimeError, TypeError, ValueError):  # within a transform
        pass
    return error


def _numpy(x: Gaussian) -> Any:
    """The same of NumPy."""
    values = (y.numpy(force=True) if isinstance(y, Tensor) else y for y in x.parameters.values())
    structure = {"diag": gkl.DiagNormal, "full": gkl.FullNormal, "low_rank": gkl.LowRankNormal}
    return structure[x.structure](**dict(zip(x.names, values, strict=True)))


def _flat(p: Any, q: Any) -> tuple[list[Tensor], tuple[str, str]]:
    """Parameters and kinds as the operator has them, checked."""
    for owner, x in (("p", p), ("q", q)):
        if not isinstance(x, Gaussian) and (owner == "p" or x is not None):
            raise TypeError(f"{owner} is a {type(x).__name__}, not a Gaussian of gkl.torch")
    values = list(p.parameters.values())
    kinds = p.kind, ""
    if q is not None:
        values += q.parameters.values()
        kinds = p.kind, q.kind
    if not _alike(values, *kinds):
        values = _fitted(_named(p, q), *kinds)
    return values, kinds


def _alike(values: list[Any], p: str, q: str) -> bool:
    """Are these tensors of one d, which need no second look?"""
    d = None
    for x, n in zip(values, cores(p, q), strict=True):
        if not isinstance(x, Tensor) or not x.is_cpu or x.dtype not in TYPES or x.ndim < n:
            return False
        if d is None:
            d = x.shape[-n]
        if x.shape[-n] != d or x.layout is not torch.strided:
            return False
    return True


def _named(p: Gaussian, q: Gaussian | None) -> dict[str, Tensor]:
    """All parameters as tensors, by the names that they have here."""
    owners = {"p": p} if q is None else {"p": p, "q": q}
    named = {f"{o}.{name}": v for o, x in owners.items() for name, v in x.parameters.items()}
    tensors = [x for x in named.values() if isinstance(x, Tensor)]
    small = tensors and all(x.dtype != torch.float64 for x in tensors)
    model = tensors[0] if tensors else torch.empty(())
    dtype = torch.float32 if small else torch.float64  # that of the result
    return {name: _tensor(name, x, model, dtype) for name, x in named.items()}


def _tensor(name: str, x: Any, model: Tensor, dtype: torch.dtype) -> Tensor:
    if not isinstance(x, Tensor):
        if not isinstance(x, Real):
            raise TypeError(f"{name} is a {type(x).__name__}; a tensor or a number is wanted")
        return model.new_full((), x, dtype=dtype)
    if x.dtype not in TYPES:
        raise TypeError(f"{name} has dtype {x.dtype}; floating point up to float64 is wanted")
    if x.device.type not in ("cpu", "meta"):
        raise ValueError(f"{name} is on {x.device}, and gkl computes on the CPU: {name}.cpu()")
    if x.layout is not torch.strided or x.is_nested:
        raise TypeError(f"{name} is not a dense tensor, but of layout {x.layout}")
    return x


def _fitted(named: dict[str, Tensor], p: str, q: str) -> list[Tensor]:
    """The parameters with all of d, where one element stood for it."""
    axes = cores(p, q)
    own = [x.shape[-n] if x.ndim >= n else 1 for x, n in zip(named.values(), axes, strict=True)]
    d = next((n for n in own if n != 1), 1)
    for (name, x), n, size in zip(named.items(), axes, own, strict=True):
        is_square = n == 1 or name.endswith(".factor") or x.shape[-1] == size
        if (size != d and (n == 2 or size != 1)) or (n == 2 and x.ndim < 2) or not is_square:
            shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in named.items())
            raise ValueError(f"the parameters do not fit: shapes {shapes}")
    return [
        x if n == 2 or (x.ndim and x.shape[-1] == d) else x.expand(*x.shape[:-1], d)
        for x, n in zip(named.values(), axes, strict=True)
    ]
