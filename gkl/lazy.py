# SPDX-License-Identifier: BSD-3-Clause
"""Parameters that are not NumPy's, such as Dask arrays: through the gufuncs, by NumPy's protocol.

A bad item is NaN in such results: nothing is computed yet that could be looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from gkl import ufuncs
from gkl._core import DiagNormal

__all__ = ["call", "dim", "is_foreign", "kl_and_grad", "wanted"]


def wanted(p: DiagNormal, q: DiagNormal | None, weight: Any = None) -> bool:
    """Is one of the parameters foreign?"""
    return (
        p.foreign or (q is not None and q.foreign) or (weight is not None and is_foreign(weight))
    )


def is_foreign(x: Any) -> bool:
    """Is this an array of another library that takes part in NumPy's protocol?"""
    return not isinstance(x, np.ndarray) and hasattr(x, "__array_ufunc__")


def dim(p: DiagNormal, q: DiagNormal | None) -> int:
    """d of a pair."""
    return p.dim if q is None or not p.scalar else q.dim


def _name(prefix: str, p: DiagNormal, q: DiagNormal | None) -> str:
    if prefix == "entropy":
        return f"entropy_diag_{p.parameter}"
    if q is None:
        return f"{prefix}_unit_{p.parameter}"
    if p.parameter == q.parameter:
        return f"{prefix}_diag_{p.parameter}"
    return f"{prefix}_diag_{p.parameter}_{q.parameter}"


def _operands(p: DiagNormal, q: DiagNormal | None, scale_only: bool = False) -> list[Any]:
    """The parameters with their core dimension, which does not broadcast: numbers and parameters
    that stand for all dimensions are repeated by a stride of 0. The batch is left alone, so that
    chunks stay what they are."""
    d = dim(p, q)
    pairs = [x for x in (p, q) if x is not None]
    given = [getattr(x, name) for x in pairs for name in ("mean", x.parameter)]
    numbers = [x for x in given if not isinstance(x, float)]
    dtype = np.result_type(*(x.dtype for x in numbers)) if numbers else np.dtype(float)
    if scale_only:  # of the batch's shape, and lazy, though only the mean may be so
        mean, scale = (np.asarray(x, dtype) if isinstance(x, float) else x for x in given)
        given = [np.broadcast_arrays(mean, scale)[1]]
    return [_with_core(np.asarray(x, dtype) if isinstance(x, float) else x, d) for x in given]


def _with_core(x: Any, d: int) -> Any:
    if x.ndim == 0:
        return np.broadcast_to(x, (d,))
    if x.shape[-1] == d:
        return x
    if x.shape[-1] != 1:
        raise ValueError(f"a parameter of shape {x.shape} does not fit d = {d}")
    return np.broadcast_to(x, (*x.shape[:-1], d))


def call(prefix: str, p: DiagNormal, q: DiagNormal | None, suffix: str = "") -> tuple[Any, ...]:
    """Results of the gufunc for this pair, as a tuple."""
    gufunc = getattr(ufuncs, _name(prefix, p, q) + suffix)
    result = gufunc(*_operands(p, q, scale_only=prefix == "entropy"))
    return result if isinstance(result, tuple) else (result,)


def kl_and_grad(
    p: DiagNormal, q: DiagNormal | None, weight: Any, wrt: Collection[str]
) -> tuple[Any, DiagNormal | None, DiagNormal | None]:
    """As gkl.kl_and_grad; the sums over broadcast axes are the foreign array's own."""
    value, *gradients = call("kl", p, q, "_grad")
    if weight is not None:
        if np.broadcast_shapes(weight.shape, value.shape) != value.shape:
            raise ValueError(
                f"weight does not fit the batch: shapes {weight.shape} and {value.shape}"
            )
        weight = weight.astype(value.dtype)
        gradients = [g * weight[..., np.newaxis] for g in gradients]

    def collect(x: DiagNormal, mean: Any, scale: Any) -> DiagNormal:
        return DiagNormal(
            _sum_to(mean, x.mean), **{x.parameter: _sum_to(scale, getattr(x, x.parameter))}
        )

    grad_p = collect(p, *gradients[:2]) if "p" in wrt else None
    grad_q = collect(q, *gradients[2:]) if "q" in wrt and q is not None else None
    return value, grad_p, grad_q


def _sum_to(gradient: Any, parameter: Any) -> Any:
    """Summed over the axes along which the parameter was repeated."""
    shape = () if isinstance(parameter, float) else parameter.shape
    missing = gradient.ndim - len(shape)
    axes = tuple(
        i
        for i, n in enumerate(gradient.shape)
        if i < missing or (shape[i - missing] == 1 and n != 1)
    )
    return gradient.sum(axis=axes, keepdims=True).reshape(shape) if axes else gradient
