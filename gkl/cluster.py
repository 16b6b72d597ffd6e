# SPDX-License-Identifier: BSD-3-Clause
"""``gkl score --dask``: blocks of rows are read and computed by the workers of a Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl import score
from gkl._core import Gaussian
from gkl.formats.column import optional
from gkl.stored import DataError, Gaussians, batch_shape, is_cut, readable

__all__ = ["divergences"]


def divergences(
    p: Gaussians, q: Gaussians | None, address: str, write: score.Write | None = None
) -> NDArray[Any]:
    """As :func:`gkl.score.divergences`, on the cluster at `address`.

    Raises
    ------
    DataError
        A file is damaged, or the cluster cannot be reached or does not see the files.
    ImportError
        Dask is not installed.
    """
    shape = batch_shape(p, q)
    if all(x is None or x.is_shared(len(shape)) for x in (p, q)):
        return score.divergences(p, q, None, write)
    rows = score.rows_at_a_time(p, q, shape)
    other = None if q is None else _lazy(q, len(shape), rows)
    lazy = gkl.kl(_lazy(p, len(shape), rows), other)
    values = np.empty(shape, lazy.dtype)
    with _client(address) as client, score.progress(shape[0]) as bar:
        start = 0
        for future in client.compute(list(lazy.to_delayed().reshape(-1))):
            block = _result(future, address)
            part = values[start : start + len(block)]
            part[...] = block
            start += len(block)
            future.release()
            if write:
                write(part)
            if bar is not None:
                bar.update(len(block))
    return values


@dataclass(frozen=True)
class _Source:
    """A parameter that says which file is damaged; pickled, it is a path and a name."""

    column: Any
    source: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.column.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.column.dtype
        return dtype

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        return readable(self.source, lambda: np.asarray(self.column[index[0]]))  # of whole rows


def _lazy(x: Gaussians, batch_ndim: int, rows: int) -> Gaussian:
    """Dask arrays, of blocks of so many rows that whoever computes with them reads."""
    da = optional("dask.array", "--dask", "dask")

    def array(name: str, column: Any) -> Any:
        if not is_cut(name, column, batch_ndim):
            return np.asarray(column)
        chunks = (rows, *column.shape[1:])
        if isinstance(column, np.ndarray):
            return da.from_array(column, chunks, name=False)
        # in each task the column itself, which is small: reading is one task with computing
        column = _Source(column, x.source)
        like = np.empty(0, column.dtype)
        return da.from_array(column, chunks, name=False, inline_array=True, meta=like)

    return x.like([array(name, column) for name, column in x.parameters.items()])


@contextmanager
def _client(address: str) -> Iterator[Any]:
    distributed = optional("distributed", "--dask", "dask")
    if address:
        try:
            client = distributed.Client(address, set_as_default=False)
        except Exception as error:
            raise DataError(f"--dask {address}: {error}") from None
        with client:
            yield client
        return
    quiet: Any = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    with (
        distributed.LocalCluster(**quiet) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _result(future: Any, address: str) -> NDArray[Any]:
    try:
        return np.asarray(future.result())
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"--dask {address}".strip() + f": {error}") from None
