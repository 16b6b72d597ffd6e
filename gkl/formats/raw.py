# SPDX-License-Identifier: BSD-3-Clause
"""Numbers that lie in a file as they do in memory."""

from __future__ import annotations

import mmap
import os
import weakref
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkl.formats.column import Column
from gkl.stored import DataError

__all__ = ["Map", "Raw"]

FORGET = 1 << 26  # bytes of a map that are read before their pages are given back


class Map:
    """A file in memory.  Pages that were read count as the process's own until given back.

    Attributes
    ----------
    memory : mmap.mmap
    path : str
        Absolute.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        with open(path, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._read = 0

    def fetch(self, part: NDArray[Any]) -> None:
        """Make the pages of a contiguous part present, in this thread; give back older ones."""
        self._read += part.nbytes
        if self._read > FORGET:
            self.memory.madvise(mmap.MADV_DONTNEED)
            self._read = part.nbytes
        part.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max(initial=0)


class Raw(Column):
    """An array at an offset of a file: mapped, and read in passing without the map.

    Parameters
    ----------
    path : str
    offset : int
        Of its first byte.
    shape, dtype
        As NumPy has them.
    order : {"C", "F"}

    Raises
    ------
    DataError
        The file is too short.
    """

    def __init__(
        self, path: str, offset: int, shape: tuple[int, ...], dtype: Any, order: Any = "C"
    ) -> None:
        self._map = Map(path)
        again = (type(self), (self._map.path, offset, shape, dtype, order))
        super().__init__(shape, dtype, again)
        try:
            self._array: NDArray[Any] = np.ndarray(
                shape, dtype, self._map.memory, offset, order=order
            )
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: truncated or damaged: {error}") from None
        self._path, self._offset = path, offset
        self._file = os.open(self._map.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return np.asarray(self._array[rows])

    def read(self, start: int, stop: int, room: NDArray[Any] | None) -> NDArray[Any]:
        """Read into `room`: no page of the map is touched that would have to be given back."""
        if room is None or start == stop:
            return self[start:stop]
        core = self.shape[1:]
        flat = room.reshape(-1)[: (stop - start) * prod(core)]
        if self._array.flags.c_contiguous:
            self._fill(flat, start * prod(core))
            return flat.reshape(stop - start, *core)
        for i, run in enumerate(flat.reshape(-1, stop - start)):  # a number of all these rows
            self._fill(run, i * self.shape[0] + start)
        return flat.reshape(*core[::-1], stop - start).T

    def _fill(self, part: NDArray[Any], first: int) -> None:
        """The numbers of the file from this one on."""
        left, at = part.view(np.uint8).data, self._offset + first * self.dtype.itemsize
        while left:
            n = os.preadv(self._file, [left], at)
            if n == 0:
                raise DataError(f"{self._path}: truncated while it was read")
            left, at = left[n:], at + n
