# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians as files have them, of which the library's own are made a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gkl._core import DiagNormal, FullNormal, Gaussian, LowRankNormal
from gkl.errors import MATRICES

__all__ = [
    "SCALES",
    "STRUCTURES",
    "DataError",
    "Gaussians",
    "Rooms",
    "batch_shape",
    "is_cut",
    "readable",
]

T = TypeVar("T")
Rooms = dict[str, NDArray[Any]]  # by parameter, where rows are read to again and again

# what stands beside the mean, and what both make
STRUCTURES: dict[tuple[str, ...], Any] = {
    ("var",): DiagNormal,
    ("std",): DiagNormal,
    ("logvar",): DiagNormal,
    ("cov",): FullNormal,
    ("tril",): FullNormal,
    ("precision",): FullNormal,
    ("factor", "var"): LowRankNormal,
}
SCALES = ("factor", "var", "std", "logvar", "cov", "tril", "precision")


class DataError(ValueError):
    """A file does not hold what it should; the message names the file."""


def readable(path: str, load: Callable[..., T], *args: Any) -> T:
    """What load(*args) gives; whatever a damaged file makes a library raise, in words."""
    try:
        return load(*args)
    except (DataError, ImportError):
        raise
    except MemoryError:
        raise DataError(f"{path}: not enough memory for what its header announces") from None
    except Exception as error:
        words = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.errno and error.strerror:
            raise DataError(f"{path}: {error.strerror}") from None
        if "Object arrays" in words or "Python objects" in words:
            raise DataError(f"{path}: holds a pickle, which is never read") from None
        raise DataError(f"{path}: truncated or damaged: {words}") from None


@dataclass(frozen=True)
class Gaussians:
    """Parameters as they are in a file.

    Parameters
    ----------
    parameters : dict
        The mean, then what a key of `STRUCTURES` names: arrays of any real type, or
        :class:`~gkl.formats.column.Column`.
    source : str
        How to name the file in messages.
    prefix : str
        What stands before the names there.

    Attributes
    ----------
    structure : str
        ``diag``, ``full`` or ``low_rank``.
    shape : tuple of int
        The batch shape and d; ``()`` where all parameters are scalars.
    dim : int
        The dimension d.

    Raises
    ------
    DataError
        Not real numbers, or shapes that do not fit.
    """

    parameters: dict[str, Any]
    source: str
    prefix: str = ""
    structure: str = field(init=False)
    shape: tuple[int, ...] = field(init=False)
    dim: int = field(init=False)

    def __post_init__(self) -> None:
        for name, x in self.parameters.items():
            is_real = x.dtype.kind in "fiub" or x.dtype.name == "bfloat16"
            if not is_real or x.dtype.itemsize > 8:
                raise DataError(
                    f"{self.source}: {self.prefix}{name} has dtype {x.dtype}; "
                    "real numbers up to float64 are wanted"
                )
        shapes = [x.shape for x in self.parameters.values()]
        try:  # the library knows what fits; it sees shapes alone
            made = self.like([np.broadcast_to(np.float32(0), shape) for shape in shapes])
        except ValueError as error:
            whose = "the prior: " if self.prefix else ""
            raise DataError(f"{self.source}: {whose}{error}") from None
        shape = () if made.scalar else (*made.batch_shape, made.dim)
        for name, value in (("structure", made.structure), ("shape", shape), ("dim", made.dim)):
            object.__setattr__(self, name, value)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters beside the mean."""
        return tuple(self.parameters)[1:]

    @property
    def parameter(self) -> str:
        """The same in one string, such as ``cov`` or ``factor, var``."""
        return ", ".join(self.names)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The common type of the parameters."""
        return np.result_type(*(x.dtype for x in self.parameters.values()))

    @property
    def in_memory(self) -> bool:
        """Whether nothing is left to be read."""
        return all(isinstance(x, np.ndarray) for x in self.parameters.values())

    @property
    def chunk(self) -> int:
        """Rows that are best read together."""
        return max(getattr(x, "chunk", 1) for x in self.parameters.values())

    def like(self, values: Sequence[Any]) -> Gaussian:
        """The library's Gaussians with these values of the same parameters, in order."""
        structure = STRUCTURES[self.names]
        made: Gaussian = structure(values[0], **dict(zip(self.names, values[1:], strict=True)))
        return made

    def is_shared(self, batch_ndim: int) -> bool:
        """Whether all steps along the first of `batch_ndim` batch axes have the same Gaussians."""
        return not any(is_cut(name, x, batch_ndim) for name, x in self.parameters.items())

    def rows(self, batch_ndim: int, start: int, stop: int, rooms: Rooms | None = None) -> Gaussian:
        """The part at ``start:stop`` of the first of `batch_ndim` batch axes.

        A parameter that the whole batch shares stays whole.  With `rooms`, the same for several
        parts of at most the first one's size, the last part is no longer valid.
        """

        def part(name: str, x: Any) -> NDArray[Any]:
            if not is_cut(name, x, batch_ndim):
                return np.asarray(x)
            if rooms is None or isinstance(x, np.ndarray):
                return np.asarray(x[start:stop])
            if name not in rooms:
                rooms[name] = np.empty((stop - start, *x.shape[1:]), x.dtype)
            found: NDArray[Any] = x.read(start, stop, rooms[name])
            return found

        parts = [readable(self.source, part, name, x) for name, x in self.parameters.items()]
        return self.like(parts)

    def only(self, batch_ndim: int, row: int) -> Gaussian:
        """The batch with one row of its first axis everywhere: to look at that one there."""
        own = self.rows(batch_ndim, row, row + 1).parameters.values()
        return self.like(
            [
                np.broadcast_to(one, x.shape) if is_cut(name, x, batch_ndim) else one
                for one, (name, x) in zip(own, self.parameters.items(), strict=True)
            ]
        )

    def numbers(self) -> int:
        """How many numbers an item has, apart from those that it shares with all others."""
        cores = [
            x.shape[x.ndim - _axes(name) :]
            for name, x in self.parameters.items()
            if x.ndim > _axes(name)
        ]
        return max(self.dim, sum(map(prod, cores)))


def _axes(name: str) -> int:
    return 2 if name in MATRICES else 1


def is_cut(name: str, x: Any, batch_ndim: int) -> bool:
    """Whether this parameter has rows of its own along the first of `batch_ndim` batch axes."""
    return batch_ndim > 0 and x.ndim == batch_ndim + _axes(name) and x.shape[0] != 1


def batch_shape(p: Gaussians, q: Gaussians | None) -> tuple[int, ...]:
    """The batch shape of KL(p || q), q None being N(0, I); a DataError where they do not fit."""
    if q is None:
        return p.shape[:-1]
    if p.shape and q.shape and p.dim != q.dim:
        raise DataError(
            f"{p.source}: the prior has another dimension: shapes {p.shape} and {q.shape}"
        )
    try:
        return np.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    except ValueError:
        raise DataError(
            f"{p.source}: the prior does not fit the batch: shapes {p.shape} and {q.shape}"
        ) from None
