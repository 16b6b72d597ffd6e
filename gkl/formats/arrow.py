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

    def opened(*names: str) -> pa.RecordBatchFileReader:
        which = [schema.get_field_index(name) for name in names] or None
        options = pa.ipc.IpcReadOptions(included_fields=which)
        return pa.ipc.open_file(pa.BufferReader(whole), options=options)

    everything = opened()
    schema = everything.schema
    parts = range(everything.num_record_batches)
    in_place = not parts or all(
        whole.address <= buffer.address <= whole.address + whole.size
        for column in everything.get_batch(0).columns
        for buffer in column.buffers()
        if buffer is not None and buffer.size
    )

    def batches(name: str, part: int) -> Iterator[pa.Array]:
        # a reader of some columns copies them; of all, it would decompress those, too
        reader = everything if in_place else opened(name)
        yield reader.get_batch(part).column(name)

    counting = everything if in_place else opened(choose(schema.names)[0])
    counts = [counting.get_batch(part).num_rows for part in parts]
    return list_columns(
        path, choose, schema, counts, batches, (columns, source.path), source.fetch
    )
