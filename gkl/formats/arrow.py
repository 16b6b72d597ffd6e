# SPDX-License-Identifier: BSD-3-Clause
"""An Arrow IPC file (Feather, version 2), mapped: what it holds uncompressed is not copied."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from gkl.formats.column import Choose
from gkl.formats.lists import Parted
from gkl.formats.lists import columns as list_columns
from gkl.formats.raw import Map

__all__ = ["columns"]


def columns(path: str, choose: Choose) -> dict[str, Parted]:
    """The columns that are chosen."""
    source = Map(path)
    whole = pa.py_buffer(source.memory)

    def opened(*columns: str) -> pa.RecordBatchFileReader:
        which = [schema.get_field_index(name) for name in columns] or None
        options = pa.ipc.IpcReadOptions(included_fields=which)
        return pa.ipc.open_file(pa.BufferReader(whole), options=options)

    everything = opened()
    schema = everything.schema
    parts = range(everything.num_record_batches)

    def batches(name: str, part: int) -> Iterator[pa.Array]:
        yield opened(name).get_batch(part).column(0)

    counts = [everything.get_batch(part).num_rows for part in parts]
    return list_columns(
        path, choose, schema, counts, batches, (columns, source.path), source.fetch
    )
