# SPDX-License-Identifier: BSD-3-Clause
"""Full covariances: library x work x size x dtype x threads."""

from __future__ import annotations

from typing import Any

import matrices
import numpy as np
import pytest

import gkl

pytestmark = pytest.mark.filterwarnings("default")  # what peers warn of is not ours


@pytest.mark.parametrize("library", matrices.LIBRARIES)
@pytest.mark.parametrize("work", matrices.WORKS)
@pytest.mark.parametrize(
    "size",
    [(100_000, 4), (40_000, 8), (4_000, 32), (400, 128), (32, 512), (1, 512)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
def test_full(
    benchmark: Any, library: str, work: str, size: tuple[int, int], dtype: str, threads: int
) -> None:
    benchmark.group = f"{matrices.WORKS[work]}, {size[0]}x{size[1]} {dtype}, {threads} threads"
    arrays = matrices.inputs(work, *size, np.dtype(dtype))
    with gkl.num_threads(threads):
        try:
            call = matrices.make(library, work, arrays)
        except ImportError as error:
            pytest.skip(f"{library} is not there: {error}")
        benchmark(call)
    if benchmark.stats is not None:
        median = benchmark.stats.stats.median
        benchmark.extra_info["us_an_item"] = median / size[0] * 1e6
        benchmark.extra_info["gb_per_second"] = matrices.bytes_moved(work, arrays) / median / 1e9
