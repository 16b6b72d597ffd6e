# SPDX-License-Identifier: BSD-3-Clause
"""Parquet: one file, or the files in a folder by their names; read and written by row groups."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape, glob
from math import prod
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gkl.formats.column import Choose
from gkl.formats.lists import Parted
from gkl.formats.lists import columns as list_columns
from gkl.stored import DataError, readable

__all__ = ["columns", "writer"]

BATCH_BYTES = 1 << 23  # of what a batch takes in memory
ROW_GROUP = 1 << 20  # divergences in a row group that is written


def columns(path: str, choose: Choose) -> dict[str, Parted]:
    """The columns that are chosen."""
    path = os.path.abspath(path) if os.path.isdir(path) else path
    files = sorted(glob(f"{escape(path)}/*.parquet")) if os.path.isdir(path) else [path]
    if not files:
        raise DataError(f"{path}: a folder without files of Parquet")
    found = {file: _identity(file) for file in files}
    metadata = {file: readable(file, pq.read_metadata, file) for file in files}
    schema = metadata[files[0]].schema.to_arrow_schema()
    for file in files:
        if not metadata[file].schema.to_arrow_schema().equals(schema):
            raise DataError(f"{file}: has another schema than {files[0]}")
    parts = [(file, group) for file in files for group in range(metadata[file].num_row_groups)]
    counts = [metadata[file].row_group(group).num_rows for file, group in parts]

    def batches(name: str, part: int) -> Iterator[pa.Array]:
        path, group = parts[part]
        if _identity(path) != found[path]:
            raise DataError(f"{path}: has changed while it was read")
        file = pq.ParquetFile(path, metadata=metadata[path], pre_buffer=False, buffer_size=1 << 20)
        with file:
            stream = file.iter_batches(
                _rows(metadata[path].row_group(group), name), row_groups=[group], columns=[name]
            )
            while (batch := readable(path, next, stream, None)) is not None:
                yield batch.column(0)

    return list_columns(path, choose, schema, counts, batches, (columns, os.path.abspath(path)))


def _identity(file: str) -> tuple[int, ...]:
    state = os.stat(file)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _rows(group: Any, name: str) -> int:
    """Rows of a batch."""
    leaves = (group.column(i) for i in range(group.num_columns))
    numbers = sum(x.num_values for x in leaves if x.path_in_schema.split(".")[0] == name)
    return max(1, BATCH_BYTES // 8 * int(group.num_rows) // max(1, int(numbers)))


@contextmanager
def writer(
    file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[Callable[[NDArray[Any]], object]]:
    """What writes blocks of divergences, as a column ``kl``; deeper batches are nested lists."""
    if 0 in shape[1:]:
        raise DataError(f"a batch of shape {shape} cannot be written as Parquet")
    kind = pa.from_numpy_dtype(dtype)
    for n in shape[:0:-1]:
        kind = pa.list_(kind, n)
    waiting: list[NDArray[Any]] = []
    with pq.ParquetWriter(file, pa.schema([("kl", kind)])) as parquet:

        def flush() -> None:
            array = pa.array(np.concatenate(waiting).reshape(-1))
            for n in shape[:0:-1]:
                array = pa.FixedSizeListArray.from_arrays(array, n)
            parquet.write_table(pa.table({"kl": array}))
            waiting.clear()

        def write(block: NDArray[Any]) -> None:
            waiting.append(np.array(block, ndmin=1))
            if sum(map(len, waiting)) * prod(shape[1:]) >= ROW_GROUP:
                flush()

        yield write
        if waiting:
            flush()
