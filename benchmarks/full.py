# SPDX-License-Identifier: BSD-3-Clause
"""The table of full covariances: every library in turn, in one process, medians and ratios.

python benchmarks/full.py [--quick] [--rounds N] [--patience MINUTES] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matrices
import numpy as np
import table
import yardstick

import gkl


@dataclass(frozen=True)
class Row:
    """A work, its size, and how many times as fast as the best of NumPy and torch it shall be
    (gradients: as torch)."""

    work: str
    count: int
    dim: int
    target: float
    dtype: str = "float64"


ROWS = (
    Row("cov", 100_000, 4, 25),
    Row("cov", 40_000, 8, 15),
    Row("cov", 4_000, 32, 10),
    Row("cov", 400, 128, 10),
    Row("cov", 32, 512, 4),
    Row("cov", 1, 512, 1),
    Row("near", 4_000, 32, 0),
    Row("near", 400, 128, 0),
    Row("shared", 4_000, 32, 0),
    Row("cov", 40_000, 8, 0, "float32"),
    Row("cov", 400, 128, 0, "float32"),
    Row("grad", 100_000, 4, 12),
    Row("grad", 40_000, 8, 12),
    Row("grad", 4_000, 32, 10),
    Row("grad", 400, 128, 6),
    Row("grad", 32, 512, 3),
)


class Product:
    """dgemm (sgemm) of this machine, by NumPy's BLAS with its own threads."""

    def __init__(self, dtype: str) -> None:
        self.flops = 2 * 1024**3
        self._a = np.ones((1024, 1024), dtype)
        self._out = np.empty_like(self._a)

    def __call__(self) -> None:
        np.matmul(self._a, self._a, out=self._out)


def measure(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    count = max(row.count // (50 if options.quick else 1), 1)
    arrays = matrices.inputs(row.work, count, row.dim, np.dtype(row.dtype))
    calls = {}
    for name in matrices.LIBRARIES:
        try:
            calls[name] = matrices.make(name, row.work, arrays)
        except ImportError:
            continue
    matrices.check(arrays, calls)
    nbytes, product = matrices.bytes_moved(row.work, arrays), Product(row.dtype)
    yardsticks = {"stream": yardstick.Stream(nbytes, table.THREADS), "product": product}
    seconds, disturbed = table.in_turn({**calls, **yardsticks}, options, 1, 0.02)
    sizes = {"count": count, "bytes": nbytes, "flops": product.flops}
    return {**vars(row), **sizes, "disturbed": disturbed, "seconds": seconds}


def line(row: dict[str, Any]) -> list[str]:
    seconds = row["seconds"]
    median = {name: statistics.median(times) for name, times in seconds.items()}
    mine = median["gkl"]
    names = [n for n in matrices.LIBRARIES[1:] if n in median]
    peers = [n for n in names if row["work"] != "grad" or n != "NumPy" or "torch" not in names]
    best = min(peers, key=lambda name: median[name])
    ratios = [s / t for s, t in zip(seconds[best], seconds["gkl"], strict=True)]
    times = table.against(median[best] / mine, row["target"]) + table.spread(ratios)
    speed = row["dim"] ** 3 * row["count"] / mine  # a value, from far matrices
    rate = row["flops"] / median["product"]
    return [
        f"{matrices.WORKS[row['work']]} | {row['count']:,} x {row['dim']} {row['dtype']}",
        f"{mine / row['count'] * 1e6:.3g}",
        *(f"{median[name] / row['count'] * 1e6:.3g}" for name in names),
        times,
        f"{row['target'] or ''}",
        f"{row['bytes'] / mine / 1e9:.1f} ({median['stream'] / mine:.2f})",
        f"{speed / 1e9:.0f} ({speed / rate:.2f})" if row["work"] != "grad" else "",
    ]


def threads_of_blas(options: argparse.Namespace) -> list[list[str]]:
    """gkl with BLAS as it is, over gkl with BLAS limited to one thread by hand."""
    from threadpoolctl import threadpool_limits

    lines = []
    for count, dim in ((1, 512), (3, 512), (400, 128)):
        call = matrices.make("gkl", "cov", matrices.inputs("cov", count, dim))

        def limited(call: matrices.Call = call) -> None:
            with threadpool_limits(1, user_api="blas"):
                call()

        seconds, _ = table.in_turn({"as it is": call, "limited": limited}, options, 1, 0.02)
        ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
        ratio = f"{statistics.median(ratios):.2f}{table.spread(ratios)}"
        lines.append([f"{count} x {dim}", ratio])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="full covariances: gkl, memory, dgemm, peers")
    parser.add_argument("--quick", action="store_true", help="small batches: does it run?")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each row (9)")
    parser.add_argument(
        "--patience", type=float, default=0, metavar="MINUTES",
        help="so long, rounds that other processes disturb are measured anew (0)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="every time measured, too")
    options = parser.parse_args()
    options.deadline = time.monotonic() + 60 * options.patience
    gkl.set_num_threads(table.THREADS)
    report: dict[str, Any] = {"machine": table.machine(), "large": [], "small": []}
    for row in ROWS:
        table.progress(f"{row.work} {row.count} x {row.dim} {row.dtype}")
        report["large"].append(measure(row, options))
    table.progress("")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    names = [n for n in matrices.LIBRARIES[1:] if n in report["large"][0]["seconds"]]
    columns = ["work", "size", "gkl us an item", *(f"{name} us" for name in names)]
    columns += ["times the best", "target", "GB/s (of stream)", "GFLOP/s (of gemm)"]
    print(table.heading(report, options))
    print("\n" + table.markdown(columns, [line(row) for row in report["large"]]))
    print("\n" + table.markdown(["value", "BLAS as it is / limited"], threads_of_blas(options)))


if __name__ == "__main__":
    main()
