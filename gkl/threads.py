# SPDX-License-Identifier: BSD-3-Clause
"""How many threads a call uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index

from gkl import _core

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]


def checked_threads(n: int) -> int:
    """A number of threads, or an error in words."""
    try:
        n = index(n)
    except TypeError:
        raise TypeError(f"a number of threads is an integer, not {n!r}") from None
    if not 1 <= n <= 4096:
        raise ValueError(f"a number of threads is between 1 and 4096, not {n}")
    return n


def get_num_threads() -> int:
    """Number of threads that a large call from this thread uses.

    Returns
    -------
    int
        What :func:`num_threads` set for the calling thread, else what :func:`set_num_threads` set
        for the process, else what OpenMP says (``OMP_NUM_THREADS``, or the number of CPUs).

    Examples
    --------
    >>> import gkl
    >>> gkl.get_num_threads() >= 1
    True
    """
    return _core.threads()


def set_num_threads(n: int) -> None:
    """Set the number of threads of the whole process.

    Results do not depend on it, not even in their last bit.

    Parameters
    ----------
    n : int
        From 1 to 4096.

    Raises
    ------
    ValueError, TypeError
        `n` is not such a number.

    Examples
    --------
    >>> import gkl
    >>> n = gkl.get_num_threads()
    >>> gkl.set_num_threads(n)
    """
    _core.set_threads(checked_threads(n))


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use `n` threads for the calls of a ``with`` block, in the calling thread alone.

    Parameters
    ----------
    n : int
        From 1 to 4096.

    Raises
    ------
    ValueError, TypeError
        `n` is not such a number.

    Examples
    --------
    >>> import gkl
    >>> with gkl.num_threads(1):
    ...     gkl.get_num_threads()
    1
    """
    before = _core.set_own_threads(checked_threads(n))
    try:
        yield
    finally:
        _core.set_own_threads(before)
