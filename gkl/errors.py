# SPDX-License-Identifier: BSD-3-Clause
"""What gkl raises when the data, not the call, is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

__all__ = ["InvalidGaussianError"]

SYMMETRIC = ("cov", "precision")
MATRICES = (*SYMMETRIC, "tril", "factor")


class InvalidGaussianError(np.linalg.LinAlgError):
    """Some of the Gaussians of a call have no KL divergence.

    Everything else has been computed and stored when this is raised, ``out=`` included.

    Attributes
    ----------
    index : numpy.ndarray of int, shape (bad items, batch dimensions)
        The batch index of each bad item.
    kl : numpy.ndarray
        The value for every item, NaN at the bad ones; None where there are no values.
    result : object
        What the call would have returned, NaN at the bad items.
    count, total : int
        How many of how many items are bad.
    reason : str
        What is wrong with the first one, such as ``p.var[17, 3] = -1.0 is not positive`` or
        ``p.cov[7] is not positive definite (leading minor 3)``.
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


def raises(on_error: str) -> bool:
    """Whether bad items are an error, of the argument `on_error`."""
    if on_error not in ("raise", "nan"):
        raise ValueError(f"on_error= takes 'raise' or 'nan', not {on_error!r}")
    return on_error == "raise"


def by_name(p: Any, q: Any) -> dict[str, Any]:
    """The Gaussians of a call by the names that they have there."""
    return {"p": p} if q is None else {"p": p, "q": q}


def refuse_correlated(p: Any, q: Any) -> None:
    """TypeError for a Gaussian of which dimensions have no shares of their own."""
    for name, x in (("p", p), ("q", q)):
        if getattr(x, "structure", "diag") != "diag":
            raise TypeError(
                f"{name} is a {type(x).__name__}: a divergence of correlated dimensions is not a "
                "sum over them, so kl_per_dim wants a DiagNormal"
            )


def refuse(
    owners: dict[str, Any], bad: Any, kl: Any, result: Any, scale_only: bool = False
) -> NoReturn:
    """Say how many items are bad, which, and why the first; `owners` are Gaussians by name."""
    index = np.argwhere(bad)
    reason = first_reason(owners, tuple(index[0]), scale_only)
    raise InvalidGaussianError(reason, index, bad.size, kl, result)


def first_reason(owners: dict[str, Any], item: tuple[int, ...], scale_only: bool = False) -> str:
    """What makes this item of a batch bad, in terms of the parameter that the caller gave."""
    dtype = computed_in(owners.values())
    for owner, x in owners.items():
        for name, parameter in x.parameters.items():
            if scale_only and name == "mean":
                continue
            at = _At(owner, name, parameter, item)
            words = at.wrong_number() or at.rounded(dtype)
            words = words or (at.not_definite(dtype) if name in SYMMETRIC else "")
            if words:
                return words
    return _not_found(owners, item, dtype)


class _At:
    """One item's own part of a parameter: a vector or a matrix, and where it is."""

    def __init__(self, owner: str, name: str, parameter: Any, item: tuple[int, ...]) -> None:
        self.name = name
        self.title = f"{owner}.{name}" if owner else name
        array = np.asarray(parameter)
        self.is_number = array.ndim == 0
        if self.is_number:
            array = array.reshape(1)
        batch = array.shape[: -2 if name in MATRICES else -1]
        own = item[len(item) - len(batch) :]
        self.where = tuple(0 if n == 1 else int(i) for i, n in zip(own, batch, strict=True))
        self.values = array[self.where]

    def at(self, *index: int) -> str:
        """The name with an index, as the caller would write it."""
        index = () if self.is_number else (*self.where, *index)
        return self.title + (f"[{', '.join(map(str, index))}]" if index else "")

    def wrong_number(self) -> str:
        """The first number that no Gaussian has, among those that are read."""
        if self.name not in MATRICES:
            j, words = _first_wrong(self.values, self.name in ("var", "std"))
            return f"{self.at(j)} = {float(self.values[j])!r} {words}" if words else ""
        for i, row in enumerate(self.values):
            read = row if self.name == "factor" else row[: i + 1]
            j, words = _first_wrong(read, False)
            if not words and self.name == "tril":
                j, words = i, _first_wrong(row[i : i + 1], True)[1]
            if words:
                return f"{self.at(i, j)} = {float(row[j])!r} {words}"
        return ""

    def rounded(self, dtype: Any) -> str:
        """A number that the type of the computation does not have."""
        if not self.is_number:
            return ""
        with np.errstate(over="ignore", under="ignore"):
            value = self.values.astype(dtype)
        words = _first_wrong(value, self.name in ("var", "std"))[1]
        return f"{self.at()} = {float(self.values[0])!r} {words} as {dtype}" if words else ""

    def beyond(self) -> str:
        """A scale that is no number as a variance."""
        if self.name not in ("std", "logvar"):
            return ""
        x = np.asarray(self.values, float)
        with np.errstate(all="ignore"):
            variance = x * x if self.name == "std" else np.exp(x)
        normal = (variance >= np.finfo(float).tiny) & (variance <= np.finfo(float).max)
        if normal.all():
            return ""
        j = int(np.argmin(normal))
        return f"{self.at(j)} = {float(x[j])!r} is beyond float64 as a variance"

    def not_definite(self, dtype: Any) -> str:
        """Where LAPACK's Cholesky factorization of a symmetric matrix ends too early."""
        from scipy.linalg import lapack

        potrf = lapack.dpotrf if dtype == np.float64 else lapack.spotrf
        _, minor = potrf(np.tril(self.values.astype(dtype)), lower=1)
        return f"{self.at()} is not positive definite (leading minor {minor})" if minor else ""


def _not_found(owners: dict[str, Any], item: tuple[int, ...], dtype: Any) -> str:
    """LAPACK factors what the core could not: rounding decides. Otherwise nothing is wrong now."""
    doubtful: list[str] = []
    for owner, x in owners.items():
        if x.parameter in SYMMETRIC:
            at = _At(owner, x.parameter, x.parameters[x.parameter], item)
            one = x.like((0.0, at.values.astype(dtype)))
            is_bad = np.isnan(one.prepare(on_error="nan").cholesky).any()
            doubtful.insert(0 if is_bad else len(doubtful), at.at())
        elif "factor" in x.parameters:
            doubtful.append(owner)
    for owner, x in owners.items():
        if words := _At(owner, x.parameter, x.parameters[x.parameter], item).beyond():
            return words
    if doubtful:
        return f"{doubtful[0]} is not positive definite to working precision"
    return "a parameter that was changed during the call"


def computed_in(gaussians: Iterable[Any]) -> np.dtype[Any]:
    """The type that the core computes these in, and gives results in."""
    given = [a for x in gaussians for a in x.parameters.values()]
    types = [a.dtype for a in given if not isinstance(a, float)]
    small = types and all(t.kind not in "iub" and t.itemsize <= 4 for t in types)
    return np.dtype(np.float32 if small else np.float64)


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


def refuse_asymmetric(name: str, parameter: Any) -> None:
    """ValueError for a matrix that is not symmetric to rounding: beyond 8 eps sqrt(a_ii a_jj)."""
    eps = 2.0**-7 if parameter.dtype.name == "bfloat16" else float(np.finfo(parameter.dtype).eps)
    stack = parameter if parameter.ndim > 2 else parameter[np.newaxis]
    step = max((1 << 16) // max(parameter.shape[-1] ** 2, 1), 1)  # matrices at a time
    for outer in np.ndindex(stack.shape[:-3]):
        for start in range(0, stack.shape[-3], step):
            a = stack[(*outer, slice(start, start + step))].astype(float)
            b = a.swapaxes(-1, -2)
            root = np.sqrt(np.abs(np.diagonal(a, axis1=-2, axis2=-1)))
            with np.errstate(invalid="ignore"):
                apart = np.abs(a - b) > 8 * eps * root[:, :, np.newaxis] * root[:, np.newaxis]
            apart |= np.isnan(a) != np.isnan(b)
            if not apart.any():
                continue
            n, i, j = (int(k) for k in np.argwhere(np.tril(apart))[0])
            where = (*outer, start + n) if parameter.ndim > 2 else ()
            item = f"{name}[{', '.join(map(str, where))}]" if where else name
            below, above = (", ".join(map(str, (*where, *x))) for x in ((i, j), (j, i)))
            raise ValueError(
                f"{item} is not symmetric: {name}[{below}] = {float(a[n, i, j])!r} and "
                f"{name}[{above}] = {float(a[n, j, i])!r}"
            )
