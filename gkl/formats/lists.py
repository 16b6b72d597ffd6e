# SPDX-License-Identifier: BSD-3-Clause
"""Columns of Arrow lists, which come in parts: row groups, record batches, files.

A vector is a list, of a fixed size or of any type whose lists have one length; a matrix is a list
of d d numbers row by row, or of lists; a number is a vector of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import isqrt, prod
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gkl.errors import MATRICES
from gkl.formats.column import Choose, Column, one
from gkl.stored import DataError

__all__ = ["Batches", "Parted", "columns"]

Batches = Callable[[str, int], Iterator[pa.Array]]  # of a column in a part
Rows = Callable[[NDArray[Any]], None]  # what is told of rows that are read


class Parted(Column):
    """A column of parts, read forward without a step back where the rows asked for follow.

    Parameters
    ----------
    counts : sequence of int
        Rows of each part.
    batches : callable
        Of a part the rows, some at a time.
    core : tuple of int
        The shape of a row.
    dtype, again
        As in `Column`.
    fetch : callable, optional
        What :meth:`read` does to rows beforehand.
    """

    def __init__(
        self,
        counts: Sequence[int],
        batches: Callable[[int], Iterator[NDArray[Any]]],
        core: tuple[int, ...],
        dtype: Any,
        again: tuple[Any, ...],
        fetch: Rows | None = None,
    ) -> None:
        super().__init__((sum(counts), *core), dtype, again)
        self._starts = np.cumsum((0, *counts))
        self._batches, self._fetch = batches, fetch
        self._lock = Lock()  # of threads of which each wants rows of its own
        self._seek(0)

    def _seek(self, row: int) -> None:
        """Make the part that holds this row the next."""
        parts = len(self._starts) - 1
        part = max(0, min(int(np.searchsorted(self._starts, row, "right")), parts) - 1)
        self._stream = chain.from_iterable(map(self._batches, range(part, parts)))
        self._row, self._left = int(self._starts[part]), np.empty((0, *self.shape[1:]), self.dtype)

    def _next(self, limit: int) -> NDArray[Any]:
        """Rows that follow, up to `limit`."""
        while not len(self._left):
            self._left = next(self._stream)
        part, self._left = self._left[: limit - self._row], self._left[limit - self._row :]
        self._row += len(part)
        return part

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, _ = rows.indices(self.shape[0])
        found = []
        with self._lock:
            if start != self._row:
                self._seek(start)
            while self._row < start:
                self._next(start)
            while self._row < stop:
                found.append(self._next(stop))
        if len(found) == 1:
            return found[0]
        return np.concatenate(found or [np.empty((0, *self.shape[1:]), self.dtype)])

    def read(self, start: int, stop: int, room: NDArray[Any] | None) -> NDArray[Any]:
        """Rows where they are, or joined."""
        rows = self[start:stop]
        if self._fetch:
            self._fetch(rows)
        return rows


def columns(
    path: str,
    choose: Choose,
    schema: pa.Schema,
    counts: Sequence[int],
    batches: Batches,
    again: tuple[Any, ...],
    fetch: Rows | None = None,
) -> dict[str, Parted]:
    """The columns that are chosen, the mean first; `again` makes them in another process."""
    names = choose(schema.names)
    starts = np.cumsum((0, *counts)).tolist()
    found: dict[str, Parted] = {}
    for name in names:
        if schema.names.count(name) > 1:
            raise DataError(f"{path}: has more than one column {name}")
        kind = schema.field(name).type
        sizes, dtype = _sizes(f"{path}: {name}", kind, _first(name, kind, counts, batches))
        d = found[names[0]].shape[-1] if found else 0
        core = _core(f"{path}: {name}", name.removeprefix("prior_"), sizes, d)

        def numbers(
            part: int, name: str = name, sizes: Any = sizes, core: Any = core
        ) -> Iterator[NDArray[Any]]:
            row = starts[part]
            for batch in batches(name, part):
                yield _numbers(f"{path}: {name}", batch, sizes, row).reshape(-1, *core)
                row += len(batch)

        call = one, (*again, tuple(names), name)
        found[name] = Parted(counts, numbers, core, dtype, call, fetch)
    return found


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(_is_fixed(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _first(name: str, kind: pa.DataType, counts: Sequence[int], batches: Batches) -> Any:
    """Rows to see the length of lists in, where the type does not tell."""
    while _is_fixed(kind):
        kind = kind.value_type
    if not _is_list(kind):
        return None
    every = chain.from_iterable(batches(name, part) for part in range(len(counts)))
    return next((batch for batch in every if len(batch)), None)


def _sizes(title: str, kind: pa.DataType, first: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The sizes of the lists in each other, and the type of their numbers."""
    sizes: list[int] = []
    while _is_list(kind):
        if _is_fixed(kind):
            sizes.append(kind.list_size)
        else:
            lengths = [] if first is None else first.value_lengths().drop_null().to_pylist()
            sizes.append(lengths[0] if lengths else 0)
        first = None if first is None else first.flatten()
        kind = kind.value_type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{title} has type {kind}; real numbers or lists of them are wanted")
    return tuple(sizes), np.dtype(kind.to_pandas_dtype())


def _core(title: str, name: str, sizes: tuple[int, ...], d: int) -> tuple[int, ...]:
    """The shape of a row, in which a matrix has two axes."""
    if name not in MATRICES or len(sizes) > 1:
        return sizes or (1,)
    n = prod(sizes)
    rows = d if name == "factor" else isqrt(n)
    if rows * (n // max(rows, 1)) != n or (name != "factor" and rows * rows != n):
        shape = f"{d} rows" if name == "factor" else "a square matrix"
        raise DataError(f"{title} has lists of {n} numbers, which do not make {shape}")
    return rows, n // max(rows, 1)


def _numbers(title: str, array: Any, sizes: tuple[int, ...], row: int) -> NDArray[Any]:
    """The numbers of rows, of which the first has this number; no copy but of bools."""
    n, per = len(array), 1
    for size in sizes:
        _refuse_nulls(title, array, per, row)
        if not _is_fixed(array.type):
            lengths = array.value_lengths().to_numpy(zero_copy_only=False)
            for i in np.flatnonzero(lengths != size)[:1]:
                where = f"{lengths[i]} in row {row + int(i) // per}"
                raise DataError(f"{title} has lists of different lengths: {size} and {where}")
        array, per = array.flatten(), per * size
    _refuse_nulls(title, array, per, row)
    numbers: NDArray[Any] = array.to_numpy(zero_copy_only=False).reshape(n, *sizes)
    return numbers


def _refuse_nulls(title: str, array: Any, per: int, row: int) -> None:
    if array.null_count:
        first = int(np.argmin(array.is_valid().to_numpy(zero_copy_only=False)))
        raise DataError(f"{title} is null in row {row + first // per}")
