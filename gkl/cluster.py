# SPDX-License-Identifier: BSD-3-Clause
"""``gkl score --dask``: blocks of rows are read and computed by the workers of a Dask cluster."""

from __future__ import annotations

import logging
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkl import score
from gkl.errors import by_name, computed_in
from gkl.formats.column import optional
from gkl.stored import DataError, Gaussians, batch_shape, readable

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
        with _in_words(address):
            # pickled here: where a worker cannot open a file, its task says so
            both = client.scatter(pickle.dumps((p, q)), hash=False)
            futures = client.map(_block, starts, stops, both=both, source=p.source, pure=False)
        for start, stop in zip(starts, stops, strict=True):
            with _in_words(address):
                values[start:stop] = futures.pop(0).result()
            if write:
                write(values[start:stop])
            if bar is not None:
                bar.update(stop - start)
    return values


def _block(start: int, stop: int, both: bytes, source: str) -> NDArray[Any]:
    """The divergences of some rows."""
    p, q = readable(source, _opened, both)
    return score.divergences(p, q, None, within=slice(start, stop))


@lru_cache(1)
def _opened(both: bytes) -> Any:
    return pickle.loads(both)


@contextmanager
def _in_words(address: str) -> Iterator[None]:
    """What goes wrong on the cluster, of which errors of data tell themselves."""
    try:
        yield
    except (DataError, ImportError):
        raise
    except Exception as error:
        raise _refused(address, error) from None


@contextmanager
def _client(address: str) -> Iterator[Any]:
    distributed = optional("distributed", "--dask", "dask")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are raised as well
    if not address:
        with _started(distributed) as cluster, _client(cluster) as client:
            yield client
        return
    with _in_words(address):
        if isinstance(address, str):  # a client of a wrong one would wait for it at the end
            distributed.comm.addressing.get_address_host_port(address)
        client = distributed.Client(address, set_as_default=False)
    with client:
        yield client


@contextmanager
def _started(distributed: Any) -> Iterator[Any]:
    """A cluster of this machine, whose workers leave a Ctrl-C to this process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        options: Any = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        cluster = distributed.LocalCluster(**options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with cluster:
        yield cluster


def _refused(address: str, error: Exception) -> DataError:
    return DataError(f"{f'--dask {address}'.strip()}: {str(error) or type(error).__name__}")
