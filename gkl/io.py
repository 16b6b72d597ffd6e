# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians from files, and files that are written whole or not at all.

An npz archive holds ``mean`` and one of ``var``, ``std``, ``logvar``, and perhaps a prior under
the same names with ``prior_`` in front; other members are left alone.  Single npy files are mapped
into memory.  Pickles are never read.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from gkl._core import DiagNormal

__all__ = ["DataError", "Gaussians", "atomic_file", "batch_shape", "map_npy", "read_npz"]

SCALES = ("var", "std", "logvar")
T = TypeVar("T")


class DataError(ValueError):
    """A file does not hold what it should; the message names the file."""


@dataclass(frozen=True)
class Gaussians:
    """Parameters as they are in a file: a `DiagNormal` that is made a few rows at a time.

    Parameters
    ----------
    mean, scale : numpy.ndarray
        Arrays of any real type, possibly memory maps.
    parameter : {"var", "std", "logvar"}
        What `scale` is.
    source : str
        How to name the file in messages.
    prefix : str
        What stands before the names there.

    Raises
    ------
    DataError
        Not real numbers, or shapes that do not fit.
    """

    mean: NDArray[Any]
    scale: NDArray[Any]
    parameter: str
    source: str
    prefix: str = ""

    def __post_init__(self) -> None:
        for name, x in (("mean", self.mean), (self.parameter, self.scale)):
            if x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
                raise DataError(
                    f"{self.source}: {self.prefix}{name} has dtype {x.dtype}; "
                    "real numbers up to float64 are wanted"
                )
        try:
            np.broadcast_shapes(self.mean.shape, self.scale.shape)
        except ValueError:
            raise DataError(
                f"{self.source}: {self.prefix}mean and {self.prefix}{self.parameter} do not fit: "
                f"shapes {self.mean.shape} and {self.scale.shape}"
            ) from None

    @property
    def parameters(self) -> dict[str, NDArray[Any]]:
        """As a DiagNormal has them: errors.first_reason looks at one row of the file."""
        return {"mean": self.mean, self.parameter: self.scale}

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch shape and d; ``()`` where all parameters are scalars."""
        return np.broadcast_shapes(self.mean.shape, self.scale.shape)

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.shape[-1] if self.shape else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The common type of the parameters."""
        return np.result_type(self.mean, self.scale)

    def rows(self, batch_ndim: int, start: int, stop: int) -> DiagNormal:
        """The part at ``start:stop`` of the first of `batch_ndim` batch axes.

        A parameter that the whole batch shares stays whole.
        """

        def cut(x: NDArray[Any]) -> NDArray[Any]:
            own = batch_ndim > 0 and x.ndim == batch_ndim + 1 and x.shape[0] != 1
            return np.asarray(x[start:stop] if own else x)

        return DiagNormal(cut(self.mean), **{self.parameter: cut(self.scale)})


def batch_shape(p: Gaussians, q: Gaussians | None) -> tuple[int, ...]:
    """The batch shape of KL(p || q), q None being N(0, I); a DataError where they do not fit."""
    if q is None:
        return p.shape[:-1]
    if p.shape and q.shape and p.dim != q.dim:
        raise DataError(
            f"{p.source}: the prior has another dimension: shapes {p.shape} and {q.shape}"
        )
    try:
        return np.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    except ValueError:
        raise DataError(
            f"{p.source}: the prior does not fit the batch: shapes {p.shape} and {q.shape}"
        ) from None


def read_npz(path: str, with_prior: bool = True) -> tuple[Gaussians, Gaussians | None]:
    """Gaussians, and a prior where there is one, from an npz archive, member by member.

    Parameters
    ----------
    path : str
        The archive.
    with_prior : bool
        False leaves the prior unread.

    Returns
    -------
    p : Gaussians
    q : Gaussians or None

    Raises
    ------
    DataError
        It is not an npz archive, is damaged, holds a pickle, or lacks what is wanted.
    OSError
        It cannot be opened.
    """
    if _kind_of(path) != "npz":
        raise DataError(f"{path}: not an .npz archive" + _hint(path))

    def load() -> tuple[Gaussians, Gaussians | None]:
        with np.load(path, allow_pickle=False) as archive:
            p = _from_archive(path, archive, "")
            named = {f"prior_{name}" for name in ("mean", *SCALES)}
            has_prior = with_prior and not named.isdisjoint(archive.files)
            return p, _from_archive(path, archive, "prior_") if has_prior else None

    return _readable(path, load)


def map_npy(mean: str, scale: str, parameter: str) -> Gaussians:
    """Gaussians from two npy files, mapped into memory and not read yet.

    Parameters
    ----------
    mean, scale : str
        The files.
    parameter : {"var", "std", "logvar"}
        What the second one holds.

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
    return Gaussians(_map(mean), _map(scale), parameter, f"{mean}, {scale}")


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file under a temporary name beside it, and rename it once it is safely on disk.

    Whatever goes wrong before leaves nothing behind and a file of that name as it was.

    Parameters
    ----------
    path : path-like
        The final name.  Of a symbolic link the target is replaced.

    Yields
    ------
    file object
        Open for writing bytes.

    Raises
    ------
    OSError
        The place cannot be written, or there is something other than a file.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from gkl.io import atomic_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(os.path.join(folder, "kl.npy")) as file:
    ...         np.save(file, np.zeros(3))
    ...     os.listdir(folder)
    ['kl.npy']
    """
    target = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".gkl-{secrets.token_hex(8)}.tmp")
    try:
        with _named(path):
            if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
                raise OSError(0, "not a regular file")  # such as /dev/null: not to be replaced
            file = open(temporary, "xb")  # noqa: SIM115
        with file:
            if os.path.exists(target):
                shutil.copymode(target, temporary)
            yield file
            with _named(path):
                file.flush()
                os.fsync(file.fileno())
        with _named(path):
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make an error speak of the file that was asked for, not of the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _kind_of(path: str) -> str:
    with open(path, "rb") as file:
        magic = file.read(6)
    kinds = {b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz"}
    return kinds.get(magic, kinds.get(magic[:4], "pickle" if magic[:1] == b"\x80" else "other"))


def _hint(path: str) -> str:
    return {
        "npy": " but a single .npy array (see --mean)",
        "npz": " but an .npz archive",
        "pickle": "; it looks like a pickle, which is never read",
    }.get(_kind_of(path), "")


def _readable(path: str, load: Callable[[], T]) -> T:
    """What `load` gives; whatever a damaged file makes zipfile, zlib and NumPy raise, in words."""
    try:
        return load()
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{path}: not enough memory for what its header announces") from None
    except Exception as error:
        words = str(error) or type(error).__name__
        if "Object arrays" in words or "Python objects" in words:
            raise DataError(f"{path}: holds a pickle, which is never read") from None
        raise DataError(f"{path}: truncated or damaged: {words}") from None


def _map(path: str) -> NDArray[Any]:
    if _kind_of(path) != "npy":
        raise DataError(f"{path}: not an .npy array" + _hint(path))
    return _readable(path, lambda: np.lib.format.open_memmap(path, mode="r"))


def _from_archive(path: str, archive: Any, prefix: str) -> Gaussians:
    names = [prefix + scale for scale in SCALES if prefix + scale in archive.files]
    if f"{prefix}mean" not in archive.files:
        raise DataError(f"{path}: no {prefix}mean in it")
    if len(names) != 1:
        wanted = ", ".join(prefix + scale for scale in SCALES)
        found = " and ".join(names) or "none"
        raise DataError(f"{path}: exactly one of {wanted} is wanted, and it has {found}")
    arrays = []
    for name in (f"{prefix}mean", names[0]):
        x = archive[name]
        if not isinstance(x, np.ndarray):
            raise DataError(f"{path}: {name} is not an array")
        arrays.append(x)
    return Gaussians(arrays[0], arrays[1], names[0].removeprefix(prefix), path, prefix)
