# SPDX-License-Identifier: BSD-3-Clause
"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["atomic_file", "named", "refuse_irregular"]


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
        try:
            if os.path.exists(target):
                shutil.copymode(target, temporary)
            yield file
            with named(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with named(path):  # what is left to write may fail once more
                file.close()
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
