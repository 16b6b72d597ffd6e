# SPDX-License-Identifier: BSD-3-Clause
"""Options and fixtures of the benchmarks."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for works and yardstick

import harness
import works
import yardstick

import gkl
from gkl.bench import flops

ROUNDS = 9


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="1/256 of each batch, to see that everything runs"
    )


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Measure a library at a work that is far larger than the caches.

    Before every round the yardstick reads as many bytes as the work moves: that gives the ratio
    to stream in `extra_info`, and leaves nothing of the inputs in the caches.
    """
    quick = request.config.getoption("--quick")

    def run(
        library: str, work: str, size: tuple[int, int], dtype: str, threads: int, order: str = "C"
    ) -> None:
        rows, dim = max(1, size[0] // (256 if quick else 1)), size[1]
        arrays = works.inputs(work, rows, dim, dtype, order)
        nbytes = works.bytes_moved(work, arrays)
        stream = yardstick.Stream(nbytes, threads)
        stream_seconds: list[float] = []

        def read_stream() -> None:
            begin = time.perf_counter()
            stream()
            stream_seconds.append(time.perf_counter() - begin)
            harness.settle()

        benchmark.group = f"{work} {rows}x{dim} {dtype} {order} threads={threads}"
        with gkl.num_threads(threads):
            try:
                call = works.make(library, work, arrays)
            except (ImportError, OSError) as error:
                pytest.skip(f"{library} is not there: {error}")
            works.check(work, arrays, [(library, call)])
            benchmark.pedantic(call, setup=read_stream, rounds=ROUNDS, warmup_rounds=1)
        if benchmark.stats is None:  # --benchmark-disable
            return
        seconds = benchmark.stats.stats.median
        benchmark.extra_info.update(
            isa=gkl.show_config(mode="dicts")["ISA"]["chosen"],
            bytes=nbytes,
            gb_per_second=nbytes / seconds / 1e9,
            stream_gb_per_second=stream.nbytes / statistics.median(stream_seconds) / 1e9,
            of_stream=statistics.median(stream_seconds) / seconds,
            gflop_per_second=flops(work, rows, dim) / seconds / 1e9,
        )

    return run
