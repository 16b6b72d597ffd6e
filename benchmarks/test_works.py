# SPDX-License-Identifier: BSD-3-Clause
"""Diagonal and full covariances: library x work x size x dtype x threads; and one small call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import works

import gkl

pytestmark = pytest.mark.filterwarnings("default")  # what peers warn of is not ours

Measure = Callable[..., None]

DIAG = ("pair-var", "pair-std", "pair-logvar", "unit-logvar", "grad-var")
FULL = ("pair-cov", "grad-cov")
LARGE = (131072, 128)

dtype = pytest.mark.parametrize("dtype", works.DTYPES)
threads = pytest.mark.parametrize("threads", [1, 2])


def sizes(*pairs: tuple[int, int]) -> Any:
    return pytest.mark.parametrize("size", pairs, ids=lambda size: f"{size[0]}x{size[1]}")


@pytest.mark.parametrize("library", works.LIBRARIES)
@pytest.mark.parametrize("work", DIAG)
@sizes(LARGE, (1_000_000, 8))
@dtype
@threads
def test_diag(
    measure: Measure, library: str, work: str, size: Any, dtype: str, threads: int
) -> None:
    measure(library, work, size, dtype, threads)


@pytest.mark.parametrize("library", works.LIBRARIES)
@pytest.mark.parametrize("work", ["pair-var", "unit-logvar"])
@dtype
@threads
def test_fortran_order(
    measure: Measure, library: str, work: str, dtype: str, threads: int
) -> None:
    """The batch is contiguous, not the row."""
    measure(library, work, LARGE, dtype, threads, order="F")


@pytest.mark.parametrize("library", works.LIBRARIES_FULL)
@pytest.mark.parametrize("work", FULL)
@sizes((100_000, 4), (40_000, 8), (4000, 32), (400, 128), (32, 512), (1, 512))
@dtype
@threads
def test_full(
    measure: Measure, library: str, work: str, size: Any, dtype: str, threads: int
) -> None:
    measure(library, work, size, dtype, threads)


@pytest.mark.parametrize("call", [*works.SMALL, *works.LIBRARIES[1:]])
@sizes((1, 64), (32, 64))
@dtype
def test_small(benchmark: Any, call: str, size: tuple[int, int], dtype: str) -> None:
    """What one call costs: everything is in the caches, one thread is enough."""
    benchmark.group = f"one call, {size[0]}x{size[1]} {dtype}"
    arrays = works.inputs("pair-var", *size, dtype)
    nbytes = works.bytes_moved("pair-var", arrays)
    with gkl.num_threads(1):
        try:
            benchmark(works.make_small(call, arrays))
        except (ImportError, OSError) as error:
            pytest.skip(f"{call} is not there: {error}")
    if benchmark.stats is not None:
        benchmark.extra_info["gb_per_second"] = nbytes / benchmark.stats.stats.median / 1e9
