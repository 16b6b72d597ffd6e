# SPDX-License-Identifier: BSD-3-Clause
"""One array in an npy file: mapped, and written block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gkl.formats.raw import Raw
from gkl.stored import DataError

__all__ = ["column", "writer"]

MAGIC = b"\x93NUMPY"


def column(path: str) -> Raw:
    """The array of an npy file, not read yet."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        # of version 3 the names of fields are UTF-8: nothing else is new
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read_header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise DataError(f"{path}: holds a pickle, which is never read")
    return Raw(path, offset, shape, dtype, "F" if is_fortran and len(shape) > 1 else "C")


@contextmanager
def writer(
    file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[Callable[[NDArray[Any]], object]]:
    """What writes the blocks of an array, one after the other."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    yield lambda block: file.write(block.tobytes())
