# SPDX-License-Identifier: BSD-3-Clause
"""The yardsticks: how fast this machine reads memory, and how fast it multiplies matrices.

Two streams are read side by side and added up, by as many threads as asked for: the least that a
divergence of two or more arrays can do.  A few lines of C are compiled for this CPU at the first
use (a C compiler with OpenMP is enough); without a compiler numba does the same.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Gemm", "Stream", "backend", "blas_limit"]

SOURCE = """
#include <stddef.h>

typedef unsigned long long lanes __attribute__((vector_size(64), aligned(8), may_alias));

/* All 64-bit words of a and of b, n times 256 bytes each, added up. */
unsigned long long stream(const lanes *a, const lanes *b, ptrdiff_t n, int threads)
{
    unsigned long long total = 0;
    (void)threads;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
#pragma omp for schedule(static)
        for (ptrdiff_t i = 0; i < n; ++i) {
            s0 += a[4 * i] + b[4 * i];
            s1 += a[4 * i + 1] + b[4 * i + 1];
            s2 += a[4 * i + 2] + b[4 * i + 2];
            s3 += a[4 * i + 3] + b[4 * i + 3];
        }
        s0 += s1 + s2 + s3;
        for (int k = 0; k < 8; ++k)
            total += s0[k];
    }
    return total;
}
"""
STEP = 256  # bytes of each stream in one turn of the loop

Reader = Callable[[np.ndarray, np.ndarray, int], int]


class Stream:
    """A call that reads `nbytes` bytes: two streams of half of it.

    Parameters
    ----------
    nbytes : int
        Bytes in all, rounded up to a whole turn of the loop.
    threads : int
    """

    def __init__(self, nbytes: int, threads: int) -> None:
        half = -(-nbytes // (2 * STEP)) * STEP
        self.nbytes = 2 * half
        self.threads = threads
        self._read = _reader()[1]
        self._a = np.ones(half // 8, np.uint64)  # ones, or the pages would not be there
        self._b = np.ones(half // 8, np.uint64)
        if self() != half // 4:
            raise RuntimeError("the yardstick does not read everything")

    def __call__(self) -> int:
        return self._read(self._a, self._b, self.threads)

    def with_threads(self, threads: int) -> Callable[[], int]:
        """The same bytes, read by another number of threads."""
        return lambda: self._read(self._a, self._b, threads)


class Gemm:
    """A call that multiplies two square matrices with NumPy's BLAS: 2 n^3 operations.

    Parameters
    ----------
    dtype : str
        Such as "f8".
    threads : int
    n : int, optional
    """

    def __init__(self, dtype: str, threads: int, n: int = 1024) -> None:
        self.flops = 2 * n**3
        self._limit = blas_limit(threads)
        self._a = np.random.default_rng(0).random((n, n)).astype(dtype)
        self._out = np.empty_like(self._a)

    def __call__(self) -> None:
        with self._limit():
            np.matmul(self._a, self._a, out=self._out)


def blas_limit(threads: int) -> Callable[[], Any]:
    """What makes a context in which every BLAS of this process has so many threads."""
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()  # those that are loaded now
    return lambda: controller.limit(limits=threads, user_api="blas")


def backend() -> str:
    """What reads: "cc" or "numba"."""
    return _reader()[0]


@cache
def _reader() -> tuple[str, Reader]:
    try:
        return "cc", _compiled()
    except (OSError, subprocess.CalledProcessError):
        return "numba", _numba()


def _compiled() -> Reader:
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "stream.c"), Path(folder, "stream.so")
        source.write_text(SOURCE)
        flags = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-w"]
        command = [os.environ.get("CC", "cc"), *flags, str(source), "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True)
        function = ctypes.CDLL(str(library)).stream  # loaded: the file may go
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
    return lambda a, b, threads: function(a.ctypes.data, b.ctypes.data, a.nbytes // STEP, threads)


def _numba() -> Reader:
    numba = import_module("numba")
    prange = numba.prange

    @numba.njit(parallel=True, fastmath=True)
    def stream(a, b):  # type: ignore[no-untyped-def]
        total = np.uint64(0)
        for i in prange(a.size):
            total += a[i] + b[i]
        return total

    def read(a: np.ndarray, b: np.ndarray, threads: int) -> int:
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        total = stream(a, b)
        numba.set_num_threads(before)
        return int(total)

    return read
