# SPDX-License-Identifier: BSD-3-Clause
"""From tensors to the core and back, without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gkl
from gkl import _core
from gkl.divergence import refuse_nan
from gkl.tensors import CORES, cores

__all__ = ["evaluate"]

# where the core puts the gradients
PLACES_P = dict.fromkeys(CORES, (1, 2)) | {"low_rank": (1, 5, 2)}
PLACES_Q = dict.fromkeys(CORES, (3, 4)) | {"low_rank": (3, 6, 4), "": ()}


def evaluate(
    parameters: Sequence[Tensor], p: str, q: str, wanted: Sequence[bool], raises: bool
) -> tuple[list[Tensor], int]:
    """The value, and item by item its gradients in some of the parameters, from the core; and how
    many items are bad."""
    arrays = [_array(x) for x in parameters]
    pair = _pair(arrays, p, q)
    if any(wanted):
        pair = _spread(arrays, wanted, pair, p, q)
        places = (0, *compress(PLACES_P[p] + PLACES_Q[q], wanted))
        found, bad, _ = _core.evaluate("grad", *pair, places, None, None, 0)
    else:
        found, bad, _ = _core.evaluate("value", *pair, (0,), None, None, 0)
    if bad and raises:
        refuse_nan(*pair, found[0], found[0])
    return [torch.from_numpy(x) for x in found], bad


def _spread(
    arrays: list[Any], wanted: Sequence[bool], pair: tuple[Any, Any], p: str, q: str
) -> tuple[Any, Any]:
    """The pair with the whole batch in what it shares: this has a gradient of each item, too."""
    batch = _common_batch(*pair)
    is_new = False
    for i, n in enumerate(cores(p, q)):
        x = arrays[i]
        if wanted[i] and x.shape[:-n] != batch:
            arrays[i] = np.broadcast_to(x, (*batch, *x.shape[-n:]))
            is_new = True
    return _pair(arrays, p, q) if is_new else pair


def _common_batch(p: Any, q: Any) -> tuple[int, ...]:
    if q is None or p.batch_shape == q.batch_shape:
        return tuple(p.batch_shape)
    try:
        return np.broadcast_shapes(p.batch_shape, q.batch_shape)
    except ValueError:
        raise ValueError(
            f"the batches of p and q do not fit: shapes {p.batch_shape} and {q.batch_shape}"
        ) from None


def _array(x: Tensor) -> Any:
    """The tensor's own memory."""
    if x.dtype == torch.bfloat16:  # which NumPy knows by another library only
        from ml_dtypes import bfloat16

        return x.detach().view(torch.int16).numpy().view(bfloat16)
    return x.numpy(force=True)


def _pair(arrays: list[Any], p: str, q: str) -> tuple[Any, Any]:
    n = 3 if p == "low_rank" else 2
    return _gaussian(p, arrays[:n]), _gaussian(q, arrays[n:])


def _gaussian(kind: str, arrays: list[Any]) -> Any:
    if not kind:
        return None
    if kind == "low_rank":
        return gkl.LowRankNormal(arrays[0], factor=arrays[1], var=arrays[2])
    structure: Any = gkl.FullNormal if 2 in CORES[kind] else gkl.DiagNormal
    return structure(arrays[0], **{kind: arrays[1]})
