# SPDX-License-Identifier: BSD-3-Clause
"""``gkl score --dask``: blocks of rows are read and computed by the workers of a Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl import score
from gkl.errors import by_name, computed_in
from gkl.formats.column import optional
from gkl.stored import DataError, Gaussians, batch_shape

__all__ = ["divergences"]

CHUNKS = 8  # of those of gkl score in a task: what Dask does for one takes milliseconds


def divergences(
    p: Gaussians, q: Gaussians | None, address: str, write: score.Write | None = None
) -> NDArray[Any]:
    """As :func:`gkl.score.divergences`, on the cluster at `address`, "" being one of its own.

    What was not loaded travels as the name of its file; a task reads rows and computes with them,
    so that nothing comes back but divergences.

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
    step = CHUNKS * score.rows_at_a_time(p, q, shape)
    starts = range(0, shape[0], step)
    stops = [min(start + step, shape[0]) for start in starts]
    values = np.empty(shape, computed_in(by_name(p, q).values()))
    with _client(address) as client, score.progress(shape[0]) as bar:
        try:
            both = client.scatter([p, q], hash=False)
            futures = client.map(_block, starts, stops, p=both[0], q=both[1], pure=False)
            for start, stop in zip(starts, stops, strict=True):
                values[start:stop] = futures.pop(0).result()
                if write:
                    write(values[start:stop])
                if bar is not None:
                    bar.update(stop - start)
        except (DataError, ImportError):
            raise
        except Exception as error:
            raise _refused(address, error) from None
    return values


def _block(start: int, stop: int, p: Gaussians, q: Gaussians | None) -> NDArray[Any]:
    """The divergences of some rows."""
    ndim = len(batch_shape(p, q))
    pair: Any = [None if x is None else x.rows(ndim, start, stop) for x in (p, q)]
    return np.asarray(gkl.kl(*pair, on_error="nan"))


@contextmanager
def _client(address: str) -> Iterator[Any]:
    distributed = optional("distributed", "--dask", "dask")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are raised as well
    if not address:
        options: Any = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        with distributed.LocalCluster(**options) as cluster, _client(cluster) as client:
            yield client
        return
    try:
        client = distributed.Client(address, set_as_default=False)
    except Exception as error:  # OSError, TimeoutError, ValueError of a strange address
        raise _refused(address, error) from None
    with client:
        yield client


def _refused(address: str, error: Exception) -> DataError:
    return DataError(f"{f'--dask {address}'.strip()}: {str(error) or type(error).__name__}")
