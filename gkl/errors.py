# SPDX-License-Identifier: BSD-3-Clause
"""What gkl raises when the data, not the call, is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["InvalidGaussianError"]


class InvalidGaussianError(np.linalg.LinAlgError):
    """Some of the Gaussians of a call have no KL divergence.

    Everything else has been computed and stored when this is raised, ``out=`` included.

    Attributes
    ----------
    index : numpy.ndarray of int, shape (bad items, batch dimensions)
        The batch index of each bad item.
    kl : numpy.ndarray
        The value for every item, NaN at the bad ones.
    result : object
        What the call would have returned, NaN at the bad items.
    count, total : int
        How many of how many items are bad.
    reason : str
        What is wrong with the first one, such as ``p.var[17, 3] = -1.0 is not positive``.
    """

    def __init__(
        self,
        reason: str = "",
        index: Any = None,
        total: int = 0,
        kl: Any = None,
        result: Any = None,
    ) -> None:
        self.reason = reason
        self.index = np.empty((0, 0), np.intp) if index is None else index
        self.count = len(self.index)
        self.total = total
        self.kl = kl
        self.result = result
        verb = "is" if self.count == 1 else "are"
        super().__init__(f"{self.count} of {total} Gaussians {verb} invalid; first: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.index, self.total, self.kl, self.result)


def first_reason(p: Any, q: Any, item: tuple[int, ...], scale_only: bool = False) -> str:
    """What makes this item of a batch bad, in terms of the parameter that the caller gave."""
    for owner, x in (("p", p), ("q", q)):
        if x is None:
            continue
        for name in (x.parameter,) if scale_only else ("mean", x.parameter):
            parameter = np.asarray(getattr(x, name))
            row, where = _own_row(parameter, item)
            j, words = _first_wrong(row, name in ("var", "std"))
            if words:
                value = float(row[j])
                if parameter.ndim:
                    where = (*where, j)
                at = f"[{', '.join(map(str, where))}]" if where else ""
                return f"{owner}.{name}{at} = {value!r} {words}"
    return "a parameter that was changed during the call"


def _first_wrong(row: Any, positive: bool) -> tuple[int, str]:
    """Where a row is first wrong, and how; in pieces, since a row may be very long."""
    for start in range(0, len(row), 1 << 16):
        piece = row[start : start + (1 << 16)].astype(float)
        good = np.isfinite(piece)
        if not good.all():
            return start + int(np.argmin(good)), "is not finite"
        if positive and not (piece > 0).all():
            return start + int(np.argmin(piece > 0)), "is not positive"
    return 0, ""


def _own_row(parameter: Any, item: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """The row of a parameter that broadcasts to this item, and its index in the parameter."""
    if parameter.ndim == 0:
        return parameter.reshape(1), ()
    batch = parameter.shape[:-1]
    own = item[len(item) - len(batch) :]
    where = tuple(0 if n == 1 else int(i) for i, n in zip(own, batch, strict=True))
    return parameter[where], where
