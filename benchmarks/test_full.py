# SPDX-License-Identifier: BSD-3-Clause
"""Full covariances: library x size x dtype x threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import works

pytestmark = pytest.mark.filterwarnings("default")  # what peers warn of is not ours

Measure = Callable[..., None]

library = pytest.mark.parametrize("library", works.LIBRARIES_FULL)
dtype = pytest.mark.parametrize("dtype", works.DTYPES)
threads = pytest.mark.parametrize("threads", [1, 2])
size = pytest.mark.parametrize(
    "size",
    [(100_000, 4), (40_000, 8), (4000, 32), (400, 128), (32, 512), (1, 512)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)


@library
@size
@dtype
@threads
def test_pair(measure: Measure, library: str, size: Any, dtype: str, threads: int) -> None:
    measure(library, "pair-cov", size, dtype, threads)


@library
@size
@dtype
@threads
def test_gradients(measure: Measure, library: str, size: Any, dtype: str, threads: int) -> None:
    measure(library, "grad-cov", size, dtype, threads)
