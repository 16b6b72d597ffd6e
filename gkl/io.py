# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians from files, and files that are written whole or not at all.

An npz archive holds ``mean`` and one of ``var``, ``std``, ``logvar``, ``cov``, ``tril``,
``precision``, or ``factor`` and ``var``, and perhaps a prior under the same names with ``prior_``
in front; other members are left alone.  Single npy files are mapped into memory.  Pickles are
never read.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from gkl.stored import SCALES, STRUCTURES, DataError, Gaussians

__all__ = ["atomic_file", "map_npy", "named", "read_npz", "refuse_irregular"]

T = TypeVar("T")


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
    arrays = {name: _map(path) for name, path in files.items()}
    return Gaussians(arrays, ", ".join(files.values()))


@contextmanager
def atomic_file(
    path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None
) -> Iterator[BinaryIO]:
    """Write a file under a temporary name beside it, and rename it once it is safely on disk.

    Whatever goes wrong before leaves nothing behind and a file of that name as it was.

    Parameters
    ----------
    path : path-like
        The final name.  Of a symbolic link the target is replaced.
    folder : path-like, optional
        Where the temporary name is, on the same file system.

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
    folder = os.path.dirname(target) if folder is None else folder
    temporary = os.path.join(folder, f".gkl-{secrets.token_hex(8)}.tmp")
    try:
        refuse_irregular(path)
        with named(path):
            file = open(temporary, "xb")  # noqa: SIM115
        with file:
            if os.path.exists(target):
                shutil.copymode(target, temporary)
            yield file
            with named(path):
                file.flush()
                os.fsync(file.fileno())
        with named(path):
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def refuse_irregular(path: str | os.PathLike[str]) -> None:
    """OSError where something other than a file stands, such as /dev/null: not to be replaced."""
    with named(path):
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(0, "not a regular file")


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
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
    names = tuple(name for name in SCALES if prefix + name in archive.files)
    if f"{prefix}mean" not in archive.files:
        raise DataError(f"{path}: no {prefix}mean in it")
    if names not in STRUCTURES:
        wanted = ", ".join(" with ".join(prefix + name for name in x) for x in STRUCTURES)
        found = " and ".join(prefix + name for name in names) or "none"
        raise DataError(f"{path}: exactly one of {wanted} is wanted, and it has {found}")
    arrays = {}
    for name in ("mean", *names):
        arrays[name] = archive[prefix + name]
        if not isinstance(arrays[name], np.ndarray):
            raise DataError(f"{path}: {prefix}{name} is not an array")
    return Gaussians(arrays, path, prefix)
