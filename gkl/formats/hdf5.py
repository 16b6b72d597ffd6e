# SPDX-License-Identifier: BSD-3-Clause
"""The datasets at the root of an HDF5 file, read by whole chunks."""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gkl.formats.column import Choose, Sliced, one
from gkl.stored import DataError

__all__ = ["columns"]


class Dataset(Sliced):
    """A dataset, read without a copy in between."""

    def read(self, start: int, stop: int, room: NDArray[Any] | None) -> NDArray[Any]:
        """Read into `room`."""
        if room is None or start == stop:
            return self[start:stop]
        part = room[: stop - start]
        self._array.read_direct(part, np.s_[start:stop])
        return part


def columns(path: str, choose: Choose) -> dict[str, Dataset]:
    """The datasets that are chosen."""
    file = h5py.File(path, "r")
    names = choose(list(file))
    again = columns, os.path.abspath(path), names
    found = {}
    for name in names:
        if not isinstance(file[name], h5py.Dataset):
            raise DataError(f"{path}: {name} is not a dataset")
        if file[name].shape is None:
            raise DataError(f"{path}: {name} is empty")
        for source in file[name].virtual_sources() if file[name].is_virtual else ():
            where = os.path.join(os.path.dirname(os.path.abspath(path)), source.file_name)
            if source.file_name != "." and not os.path.exists(where):
                raise DataError(f"{path}: {name} is of {source.file_name}, which is not there")
        found[name] = Dataset(file[name], (one, (*again, name)))
    return found
