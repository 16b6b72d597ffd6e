# SPDX-License-Identifier: BSD-3-Clause
"""Files of Gaussians, each format in a module of its own.

A file has ``mean`` and one of ``var``, ``std``, ``logvar``, ``cov``, ``tril``, ``precision``, or
``factor`` and ``var``, and perhaps a prior under the same names with ``prior_`` in front; what it
has beside them is left alone.  Pickles are never read.

A format is a line of `FORMATS` and a module with ``columns(path, choose)``: what `choose` takes
from the names that are there, as arrays or as :class:`~gkl.formats.column.Column`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gkl.formats import npy
from gkl.formats.column import optional
from gkl.stored import SCALES, STRUCTURES, DataError, Gaussians, is_cut, readable

__all__ = ["FORMATS", "map_npy", "output", "read"]


@dataclass(frozen=True)
class Format:
    """How a format is recognized, and what reads it."""

    words: str
    magic: tuple[bytes, ...] = ()
    suffixes: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()  # files of which a folder has one
    needs: tuple[str, str] | None = None  # a package, and the extra of gkl that installs it


FORMATS = {
    "npz": Format("an .npz archive", (b"PK\x03\x04", b"PK\x05\x06")),
    "parquet": Format("Parquet", (b"PAR1",), (".parquet",), needs=("pyarrow.parquet", "arrow")),
    "arrow": Format("Arrow", (b"ARROW1",), (".arrow", ".feather"), needs=("pyarrow", "arrow")),
    "safetensors": Format("safetensors", (), (".safetensors",)),
    "zarr": Format("zarr", (), (".zarr",), ("zarr.json", ".zgroup"), ("zarr", "zarr")),
    "hdf5": Format("HDF5", (b"\x89HDF\r\n\x1a\n",), (".h5", ".hdf5"), needs=("h5py", "hdf5")),
}


def read(
    path: str, with_prior: bool = True, only: Sequence[str] = tuple(FORMATS)
) -> tuple[Gaussians, Gaussians | None]:
    """Gaussians, and a prior where there is one, from a file of any format.

    Parameters
    ----------
    path : str
        The file, or a folder: a zarr group, or files of Parquet.
    with_prior : bool
        False leaves the prior unread.
    only : sequence of str
        Keys of `FORMATS` that will do.

    Returns
    -------
    p : Gaussians
    q : Gaussians or None

    Raises
    ------
    DataError
        It is of another format, is damaged, holds a pickle, or lacks what is wanted.
    ImportError
        A package is needed that is not installed.
    OSError
        It cannot be opened.
    """
    kind = _kind_of(path)
    if kind not in only:
        *words, last = (FORMATS[name].words for name in only)
        wanted = f"{', '.join(words)} or {last}" if words else last
        raise DataError(f"{path}: not {wanted}" + _hint(kind))
    module = _module(kind, path)
    has_prior = False

    def choose(names: Sequence[str], prefix: str) -> list[str]:
        nonlocal has_prior
        has_prior = not {f"prior_{name}" for name in ("mean", *SCALES)}.isdisjoint(names)
        return _chosen(path, names, prefix)

    def gaussians(prefix: str) -> Gaussians:
        found = readable(path, lambda: module.columns(path, lambda names: choose(names, prefix)))
        return _gaussians({x.removeprefix(prefix): y for x, y in found.items()}, path, prefix)

    p = gaussians("")
    return p, gaussians("prior_") if with_prior and has_prior else None


def map_npy(files: dict[str, str]) -> Gaussians:
    """Gaussians from npy files, mapped into memory and not read yet.

    Parameters
    ----------
    files : dict of str
        The file of each parameter, in the order of `Gaussians`.

    Returns
    -------
    Gaussians

    Raises
    ------
    DataError
        A file is not npy, is truncated, or does not hold real numbers that fit.
    OSError
        It cannot be opened.
    """
    columns = {}
    for name, path in files.items():
        if (kind := _kind_of(path)) != "npy":
            raise DataError(f"{path}: not an .npy array" + _hint(kind))
        columns[name] = readable(path, npy.column, path)
    return _gaussians(columns, ", ".join(files.values()), "")


def output(path: str) -> Any:
    """The module whose ``writer`` writes what has this name: Parquet, or npy."""
    is_parquet = os.path.splitext(path)[1] in FORMATS["parquet"].suffixes
    return _module("parquet", path) if is_parquet else npy


def _module(kind: str, path: str) -> Any:
    if needs := FORMATS[kind].needs:
        optional(needs[0], path, needs[1])
    return importlib.import_module(f"gkl.formats.{kind}")


def _kind_of(path: str) -> str:
    """A key of `FORMATS`, or npy, pickle or other."""
    suffix = os.path.splitext(path.rstrip(os.sep))[1]
    if os.path.isdir(path):
        names = os.listdir(path)
        for kind, x in FORMATS.items():
            if suffix in x.suffixes[:1] or not set(names).isdisjoint(x.markers):
                return kind
        if any(name.endswith(".parquet") for name in names):
            return "parquet"
    with open(path, "rb") as file:
        magic = file.read(9)
    for kind, x in FORMATS.items():
        if magic.startswith(x.magic):
            return kind
    if magic.startswith(npy.MAGIC):
        return "npy"
    for kind, x in FORMATS.items():
        if suffix in x.suffixes:
            return kind
    return "pickle" if magic[:1] == b"\x80" else "other"


def _hint(kind: str) -> str:
    if kind in FORMATS:
        return f" but {FORMATS[kind].words}"
    return {
        "npy": " but a single .npy array (see --mean)",
        "pickle": "; it looks like a pickle, which is never read",
    }.get(kind, "")


def _chosen(path: str, names: Sequence[str], prefix: str) -> list[str]:
    """What makes Gaussians, the mean first."""
    scales = tuple(name for name in SCALES if prefix + name in names)
    if f"{prefix}mean" not in names:
        raise DataError(f"{path}: no {prefix}mean in it")
    if scales not in STRUCTURES:
        wanted = ", ".join(" with ".join(prefix + name for name in x) for x in STRUCTURES)
        found = " and ".join(prefix + name for name in scales) or "none"
        raise DataError(f"{path}: exactly one of {wanted} is wanted, and it has {found}")
    return [prefix + name for name in ("mean", *scales)]


def _gaussians(columns: dict[str, Any], source: str, prefix: str) -> Gaussians:
    """Gaussians of these, of which those that all items share are read now."""
    made = Gaussians(columns, source, prefix)  # so that what is wrong is seen before
    batch_ndim = len(made.shape) - 1
    read = {
        name: x if is_cut(name, x, batch_ndim) else readable(source, np.asarray, x)
        for name, x in columns.items()
    }
    return Gaussians(read, source, prefix)
