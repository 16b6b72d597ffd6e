# SPDX-License-Identifier: BSD-3-Clause
"""Parameters that are not NumPy's, such as Dask arrays: through the gufuncs, by NumPy's protocol.

A bad item is NaN in such results: nothing is computed yet that could be looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from gkl import ufuncs
from gkl._core import Gaussian
from gkl.errors import MATRICES

__all__ = ["call", "dim", "is_foreign", "kl_and_grad", "wanted"]


def wanted(p: Gaussian, q: Gaussian | None, weight: Any = None) -> bool:
    """Is one of the parameters foreign?"""
    return (
        p.foreign or (q is not None and q.foreign) or (weight is not None and is_foreign(weight))
    )


def is_foreign(x: Any) -> bool:
    """Is this an array of another library that takes part in NumPy's protocol?"""
    return not isinstance(x, np.ndarray) and hasattr(x, "__array_ufunc__")


def dim(p: Gaussian, q: Gaussian | None) -> int:
    """d of a pair."""
    return p.dim if q is None or not p.scalar else q.dim


def _name(prefix: str, p: Gaussian, q: Gaussian | None) -> str:
    """kl_diag_var, kl_diag_full_var_cov, kl_low_rank_full_cov, ...: structures, then parameters,
    p's before q's, once where they are the same."""
    pair = [p] if q is None else [p, q]
    structures = [x.structure for x in pair]
    names = [x.parameter for x in pair if x.structure != "low_rank"]
    if len(set(structures)) == 1:
        structures = structures[:1]
        names = names[:1] if len(set(names)) == 1 else names
    if q is None and prefix != "entropy":
        structures = ["unit", *(structures if not names else [])]
    return "_".join((prefix, *structures, *names))


def _operands(p: Gaussian, q: Gaussian | None, scale_only: bool = False) -> list[Any]:
    """The parameters with their core dimensions, which do not broadcast: numbers and parameters
    that stand for all dimensions are repeated by a stride of 0. The batch is left alone, so that
    chunks stay what they are."""
    d = dim(p, q)
    given = [item for x in (p, q) if x is not None for item in x.parameters.items()]
    numbers = [x for _, x in given if not isinstance(x, float)]
    dtype = np.result_type(*(x.dtype for x in numbers)) if numbers else np.dtype(float)
    operands = []
    for name, x in given:
        array = np.asarray(x, dtype) if isinstance(x, float) else x
        operands.append(array if name in MATRICES else _with_core(array, d))
    if scale_only:  # of the batch's shape, and lazy, though only the mean may be so
        mean, scale = operands[0], operands[-1]
        mean = mean[..., np.newaxis] if p.parameter in MATRICES else mean
        operands = [*operands[1:-1], np.broadcast_arrays(mean, scale)[1]]
    return operands


def _with_core(x: Any, d: int) -> Any:
    if x.ndim == 0:
        return np.broadcast_to(x, (d,))
    if x.shape[-1] == d:
        return x
    if x.shape[-1] != 1:
        raise ValueError(f"a parameter of shape {x.shape} does not fit d = {d}")
    return np.broadcast_to(x, (*x.shape[:-1], d))


def call(prefix: str, p: Gaussian, q: Gaussian | None, suffix: str = "") -> tuple[Any, ...]:
    """Results of the gufunc for this pair, as a tuple."""
    gufunc = getattr(ufuncs, _name(prefix, p, q) + suffix)
    result = gufunc(*_operands(p, q, scale_only=prefix == "entropy"))
    return result if isinstance(result, tuple) else (result,)


def kl_and_grad(
    p: Gaussian, q: Gaussian | None, weight: Any, wrt: Collection[str]
) -> tuple[Any, Any, Any]:
    """As gkl.kl_and_grad; the sums over broadcast axes are the foreign array's own."""
    value, *gradients = call("kl", p, q, "_grad")
    if weight is not None:
        if np.broadcast_shapes(weight.shape, value.shape) != value.shape:
            raise ValueError(
                f"weight does not fit the batch: shapes {weight.shape} and {value.shape}"
            )
        weight = weight.astype(value.dtype)
    left = iter(gradients)

    def collect(x: Gaussian) -> Any:
        found = []
        for name, parameter in x.parameters.items():
            gradient = next(left)
            if weight is not None:
                factor = weight[..., np.newaxis]
                gradient = gradient * (factor[..., np.newaxis] if name in MATRICES else factor)
            found.append(_sum_to(gradient, parameter))
        return x.like(found)

    grad_p = collect(p)
    grad_q = None if q is None else collect(q)
    return value, grad_p if "p" in wrt else None, grad_q if "q" in wrt else None


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
