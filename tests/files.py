# SPDX-License-Identifier: BSD-3-Clause
"""Files of Gaussians in every format, for the tests that read them."""

import importlib

import numpy as np
import pytest

SUFFIXES = {"npz": ".npz", "parquet": ".parquet", "arrow": ".arrow", "feather": ".feather",
            "safetensors": ".safetensors", "zarr2": ".zarr", "zarr3": ".zarr",
            "hdf5": ".h5"}  # fmt: skip
NEEDS = {"parquet": "pyarrow", "arrow": "pyarrow", "feather": "pyarrow", "zarr2": "zarr",
         "zarr3": "zarr", "hdf5": "h5py"}  # fmt: skip
TABLES = ("parquet", "arrow", "feather")  # of rows, one for each Gaussian
MAPPED = ("arrow", "safetensors")  # nothing is copied


def fixed_lists(x):
    """Rows as lists of fixed sizes in each other."""
    import pyarrow as pa

    array = pa.array(np.ascontiguousarray(x).reshape(-1))
    for n in x.shape[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, n)
    return array


def table(arrays, convert=fixed_lists):
    import pyarrow as pa

    return pa.table({name: convert(x) for name, x in arrays.items()})


def save(folder, kind, arrays, name="x", rows=7):
    """A file of this kind in which some rows belong together; its name."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    path = folder / f"{name}{SUFFIXES[kind]}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "parquet":
        importlib.import_module("pyarrow.parquet").write_table(
            table(arrays), path, row_group_size=rows
        )
    elif kind == "feather":
        feather = importlib.import_module("pyarrow.feather")
        feather.write_feather(table(arrays), str(path), compression="zstd", chunksize=rows)
    elif kind == "arrow":
        save_table(path, table(arrays), rows)
    elif kind == "safetensors":
        save_safetensors(path, arrays)
    elif kind == "hdf5":
        import h5py

        with h5py.File(path, "w") as file:
            for key, x in arrays.items():
                chunks = (rows, *x.shape[1:]) if x.ndim > 1 and len(x) > rows else None
                file.create_dataset(key, data=x, chunks=chunks)
    else:
        import zarr

        group = zarr.open_group(path, mode="w", zarr_format=int(kind[-1]))
        for key, x in arrays.items():
            chunks = (rows, *x.shape[1:]) if x.ndim > 1 else x.shape
            group.create_array(key, shape=x.shape, dtype=x.dtype, chunks=chunks)[...] = x
    return path.name


def save_table(path, table, rows=None):
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, rows)


def save_safetensors(path, arrays):
    """By the format's description, which has not much more in it; checked against its library."""
    words = {"f": "F", "i": "I", "u": "U", "b": "BOOL", "V": "BF"}
    header, data = {"__metadata__": {"by": "gkl"}}, b""
    for name, x in arrays.items():
        word = words[x.dtype.kind] + (f"{8 * x.itemsize}" if x.dtype.kind != "b" else "")
        offsets = [len(data), len(data) + x.nbytes]
        header[name] = {"dtype": word, "shape": x.shape, "data_offsets": offsets}
        data += np.ascontiguousarray(x).tobytes()
    text = importlib.import_module("json").dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
