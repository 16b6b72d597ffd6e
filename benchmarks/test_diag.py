# SPDX-License-Identifier: BSD-3-Clause
"""Diagonal Gaussians: one function a family, library x size x dtype x threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import works

import gkl

pytestmark = pytest.mark.filterwarnings("default")  # what peers warn of is not ours

Measure = Callable[..., None]

library = pytest.mark.parametrize("library", works.LIBRARIES)
dtype = pytest.mark.parametrize("dtype", works.DTYPES)
threads = pytest.mark.parametrize("threads", [1, 2])
size = pytest.mark.parametrize(
    "size", [(131072, 128), (1_000_000, 8)], ids=lambda size: f"{size[0]}x{size[1]}"
)


@library
@size
@dtype
@threads
@pytest.mark.parametrize("parameter", ["var", "std", "logvar"])
def test_pair(
    measure: Measure, library: str, size: Any, dtype: str, threads: int, parameter: str
) -> None:
    measure(library, f"pair-{parameter}", size, dtype, threads)


@library
@size
@dtype
@threads
def test_unit(measure: Measure, library: str, size: Any, dtype: str, threads: int) -> None:
    measure(library, "unit-logvar", size, dtype, threads)


@library
@size
@dtype
@threads
def test_gradients(measure: Measure, library: str, size: Any, dtype: str, threads: int) -> None:
    measure(library, "grad-var", size, dtype, threads)


@library
@dtype
@threads
@pytest.mark.parametrize("work", ["pair-var", "unit-logvar"])
def test_fortran_order(
    measure: Measure, library: str, work: str, dtype: str, threads: int
) -> None:
    """The batch is contiguous, not the row."""
    measure(library, work, (131072, 128), dtype, threads, order="F")


@pytest.mark.parametrize("call", [*works.SMALL, *works.LIBRARIES[1:]])
@pytest.mark.parametrize("size", [(1, 64), (32, 64)], ids=lambda size: f"{size[0]}x{size[1]}")
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
