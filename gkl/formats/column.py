# SPDX-License-Identifier: BSD-3-Clause
"""A parameter in a file: an array of which some rows are read at a time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Choose", "Column", "Sliced", "one", "optional"]

Choose: TypeAlias = Callable[[Sequence[str]], Sequence[str]]  # of the names that are there


class Column:
    """What is known of an array before it is read.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    again : tuple
        A function and its arguments that make the same column in another process.
    chunk : int
        Rows that the file holds together, so that they are best read together.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, again: tuple[Any, ...], chunk: int = 1
    ) -> None:
        self.shape, self.dtype, self.chunk = tuple(shape), np.dtype(dtype), chunk
        self._again = again

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Some rows, by a slice without a step; () for all of an array without axes."""
        raise NotImplementedError

    def read(self, start: int, stop: int, room: NDArray[Any] | None) -> NDArray[Any]:
        """Rows to be used until `room` is given again: there, or wherever they are already."""
        return self[start:stop]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[: self.shape[0]] if self.shape else self[()], dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again


class Sliced(Column):
    """An array of another library, which reads what is asked for."""

    def __init__(self, array: Any, again: tuple[Any, ...]) -> None:
        chunks = getattr(array, "chunks", None)
        super().__init__(array.shape, array.dtype, again, chunks[0] if chunks else 1)
        self._array = array

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return np.asarray(self._array[rows])


def one(columns: Any, path: str, names: Sequence[str], name: str) -> Any:
    """A column of those that were chosen, made again in another process."""
    return columns(path, lambda _: names)[name]


def optional(module: str, path: str, extra: str) -> Any:
    """A module that gkl does not depend on; the ImportError says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        words = f"{path}: wants {package}, which is not installed: pip install 'gkl[{extra}]'"
        raise ImportError(words) from None
