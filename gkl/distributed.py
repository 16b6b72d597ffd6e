# SPDX-License-Identifier: BSD-3-Clause
"""Every p against every q where parameters are Dask arrays: blocks of p against blocks of q.

Each pair of blocks is a task; what is nearest in blocks is merged by a tree.  Bad items are NaN,
or never near: nothing is computed yet that could be looked at.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

import gkl
from gkl._core import Gaussian
from gkl.errors import MATRICES, computed_in

__all__ = ["nearest", "pairwise_kl"]

FAN_IN = 8  # lists that are merged at a time


def pairwise_kl(p: Gaussian, q: Gaussian, metric: str, order: float | None) -> Any:
    """The matrix, in blocks of the batches of p and q."""
    da = _dask_array()
    rows, columns = _blocks(p), _blocks(q)
    dtype = computed_in((p, q))
    grid = [
        [da.from_delayed(_pairwise(a, b, metric, order), (n, m), dtype) for b, m, _ in columns]
        for a, n, _ in rows
    ]
    return da.block(grid)


def nearest(
    p: Gaussian,
    q: Gaussian,
    k: int | None,
    radius: float | None,
    metric: str,
    order: float | None,
    exclude_self: bool,
) -> tuple[Any, Any]:
    """(divergence, index), in the blocks of p's batch."""
    da = _dask_array()
    if k is None:
        raise TypeError("radius= wants NumPy arrays: the size of its result is not known before")
    columns, dtype = _blocks(q), computed_in((p, q))
    values, indices = [], []
    for a, n, row in _blocks(p):
        found = [_nearest(a, b, k, column, row if exclude_self else None, metric, order)
                 for b, _, column in columns]  # fmt: skip
        if len(found) == 1:
            found = [_merge(found, k)]
        while len(found) > 1:
            found = [_merge(found[i : i + FAN_IN], k) for i in range(0, len(found), FAN_IN)]
        both = _delayed(found[0], pure=True)
        values.append(da.from_delayed(both[0], (n, k), dtype))
        indices.append(da.from_delayed(both[1], (n, k), np.intp))
    return da.concatenate(values), da.concatenate(indices)


def _dask_array() -> Any:
    """The module, which has no types."""
    return importlib.import_module("dask.array")


def _delayed(x: Any, **options: Any) -> Any:
    return importlib.import_module("dask").delayed(x, **options)


def _blocks(x: Gaussian) -> list[tuple[Any, int, int]]:
    """(delayed Gaussians, how many, the index of the first) for each block of the batch."""
    da = _dask_array()
    names, arrays, chunks = list(x.parameters), list(x.parameters.values()), None
    for name, array in zip(names, arrays, strict=True):
        own = array.ndim > (2 if name in MATRICES else 1) if hasattr(array, "ndim") else False
        if chunks is None and own and isinstance(array, da.Array) and array.shape[0] == len(x):
            chunks = array.chunks[0]
    chunks = chunks or (len(x),)
    starts = np.cumsum((0, *chunks))[:-1].tolist()
    found = []
    for start, n in zip(starts, chunks, strict=True):
        parts = []
        for name, array in zip(names, arrays, strict=True):
            core = 2 if name in MATRICES else 1
            batched = hasattr(array, "ndim") and array.ndim > core and array.shape[0] > 1
            part = array[start : start + n] if batched else array
            if isinstance(part, da.Array):
                part = part.rechunk(-1).to_delayed().item()
            parts.append(part)
        found.append((_delayed(_made, pure=True)(type(x), tuple(names), parts), n, start))
    return found


def _made(structure: Any, names: tuple[str, ...], parts: list[Any]) -> Gaussian:
    made: Gaussian = structure(**dict(zip(names, parts, strict=True)))
    return made


def _pairwise(p: Any, q: Any, metric: str, order: float | None) -> Any:
    call = _delayed(gkl.pairwise_kl, pure=True)
    return call(p, q, metric, order=order, on_error="nan")


def _nearest(
    p: Any, q: Any, k: int, column: int, row: int | None, metric: str, order: float | None
) -> Any:
    return _delayed(_nearest_in_block, pure=True)(p, q, k, column, row, metric, order)


def _nearest_in_block(
    p: Gaussian, q: Gaussian, k: int, column: int, row: int | None, metric: Any, order: Any
) -> tuple[Any, Any]:
    """The k nearest of a block; its own is among one more."""
    more = k if row is None else k + 1
    value, index = gkl.nearest(p, q, more, metric=metric, order=order, on_error="nan")
    index = np.where(index < 0, -1, index + column)
    if row is not None:
        own = index == np.arange(row, row + len(p))[:, np.newaxis]
        value = np.where(own, np.nan, value)
        index = np.where(own, -1, index)
    return value, index


def _merge(parts: list[Any], k: int) -> Any:
    return _delayed(_merged, pure=True)(parts, k)


def _merged(parts: list[tuple[Any, Any]], k: int) -> tuple[Any, Any]:
    from gkl.neighbors import ranked

    value, index = (np.concatenate(x, axis=1) for x in zip(*parts, strict=True))
    return ranked(value, index, k)
