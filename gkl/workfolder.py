# SPDX-License-Identifier: BSD-3-Clause
"""Work that takes long, kept in a folder from which it goes on after a kill."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkl.io import atomic_file, named
from gkl.stored import DataError

__all__ = ["WorkFolder"]


class WorkFolder:
    """Arrays that are filled row by row, and survive the process that does it.

    In a ``with`` statement the folder is this process's alone: it holds ``lock``, which a killed
    process does not keep.  ``job.json`` says what is computed, the arrays are npy files of their
    full size, and ``done.json``, replaced when rows are on disk, says how many are.  A folder in
    which no row is done does not outlive the ``with``.

    Parameters
    ----------
    path : str
        The folder, which may be there.

    Raises
    ------
    DataError
        Another process is at work in it.
    OSError
        It cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.anew = f"; removing {path} starts anew"
        self.arrays: dict[str, NDArray[Any]] = {}
        self._names: list[str] = []
        self._lock = -1

    def __enter__(self) -> WorkFolder:
        while not self._locked():  # a process that has finished took the folder away
            pass
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock >= 0:
            if os.path.exists(self._file("done.json")):
                self._unlock()
            else:
                self.remove()

    def open(
        self, job: dict[str, Any], arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    ) -> int:
        """Open the arrays, of these shapes and types, and give the number of rows that are done.

        Raises
        ------
        DataError
            Rows are done, and of another job or of damaged files.
        OSError
            There is no room.
        """
        self._names = [f"{name}.npy" for name in arrays]
        job = job | {name: [list(shape), dtype.str] for name, (shape, dtype) in arrays.items()}
        done = 0
        if os.path.exists(self._file("done.json")):
            done = self._load("done.json").get("rows", 0)
            if differences := _differences(self._load("job.json"), job):
                named = [x for name, x in differences.items() if name not in arrays]
                words = ", ".join(named or differences.values())
                raise DataError(f"{self.path}: begun by another run: {words}{self.anew}")
            if type(done) is not int or not 0 < done <= min(x[0][0] for x in arrays.values()):
                raise DataError(f"{self._file('done.json')}: damaged{self.anew}")
        else:
            self._clear()
            with atomic_file(self._file("job.json")) as file:
                file.write(json.dumps(job, indent=1).encode())
        for name, (shape, dtype) in arrays.items():
            self.arrays[name] = self._array(f"{name}.npy", shape, dtype, done > 0)
        return done

    def record(self, done: int) -> None:
        """So many rows are done: put them on disk, then say so there."""
        for name, array in self.arrays.items():
            assert isinstance(array, np.memmap)
            array.flush()
            with open(self._file(f"{name}.npy"), "rb") as file:
                os.fsync(file.fileno())
        with atomic_file(self._file("done.json")) as file:
            file.write(json.dumps({"rows": done}).encode())

    def remove(self) -> None:
        """Remove the folder, unless it holds what is not its own."""
        self.arrays.clear()
        with suppress(OSError):
            self._clear()
            os.unlink(self._file("lock"))
            os.rmdir(self.path)
        self._unlock()

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _unlock(self) -> None:
        os.close(self._lock)
        self._lock = -1

    def _locked(self) -> bool:
        """Make and lock the folder; False if it vanished meanwhile."""
        import fcntl  # where there is such: not needed to import the rest

        with suppress(FileExistsError):
            os.mkdir(self.path)
        path = self._file("lock")
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if os.path.islink(self.path):  # to nowhere
                raise
            return False
        try:
            with named(path):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(self._lock), os.stat(path)):
                return True
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(self._lock)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise DataError(f"{self.path}: another process is at work in it") from None
        os.close(self._lock)
        return False

    def _clear(self) -> None:
        """Remove all but the lock, first what makes the rest count."""
        left = [x for x in os.listdir(self.path) if x.startswith(".gkl-") and x.endswith(".tmp")]
        for name in ("done.json", "job.json", *self._names, *left):
            with suppress(FileNotFoundError):
                os.unlink(self._file(name))

    def _load(self, name: str) -> dict[str, Any]:
        try:
            with open(self._file(name), "rb") as file:
                found = json.load(file)
            if isinstance(found, dict):
                return found
        except (OSError, ValueError):
            pass
        raise DataError(f"{self._file(name)}: damaged{self.anew}")

    def _array(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], is_there: bool
    ) -> NDArray[Any]:
        path = self._file(name)
        if not is_there:
            with suppress(FileNotFoundError):
                os.unlink(path)
            with named(path):
                array = np.lib.format.open_memmap(path, "w+", dtype, shape)
                with open(path, "rb+") as file:  # or a full disk would be a signal, not an error
                    os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
            return array
        try:  # what is too short must be seen before NumPy makes it longer
            array = np.lib.format.open_memmap(path, "r")
            whole = os.path.getsize(path) == array.offset + array.nbytes
            if whole and (array.shape, array.dtype) == (shape, dtype):
                return np.lib.format.open_memmap(path, "r+")
        except Exception:  # whatever a damaged header makes NumPy raise
            pass
        raise DataError(f"{path}: truncated or damaged{self.anew}")


def _differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """In what two jobs differ, in words; inner objects are states of files."""
    words = {}
    for name in dict.fromkeys((*new, *old)):
        states = [x.get(name, "not given") for x in (old, new)]
        was, now = (x.get("path") if isinstance(x, dict) else x for x in states)
        if was != now:
            words[name] = f"{name} was {was} and is {now}"
        elif states[0] != states[1]:
            words[name] = f"{now} has changed since"
    return words
