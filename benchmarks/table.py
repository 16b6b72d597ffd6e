# SPDX-License-Identifier: BSD-3-Clause
"""The table of the README: every library in turn, in one process, medians and their ratios.

python benchmarks/table.py [--quick] [--rounds N] [--isa ISA] [--no-peers]
                               [--patience MINUTES] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import works
import yardstick
from harness import (
    THREADS,
    against,
    arguments,
    heading,
    in_turn,
    machine,
    markdown,
    on_one_thread,
    progress,
    spread,
)

import gkl


@dataclass(frozen=True)
class Row:
    """A work, its size, and the share of stream that is wanted."""

    work: str
    rows: int
    dim: int
    dtype: str
    target: float
    order: str = "C"


ROWS = (
    Row("pair-var", 131072, 128, "f32", 0.85),
    Row("unit-logvar", 131072, 128, "f32", 0.85),
    Row("unit-logvar", 1_000_000, 8, "f32", 0.6),
    Row("grad-var", 131072, 128, "f32", 0.85),
    Row("pair-logvar", 131072, 64, "f64", 0.8),
    Row("grad-var", 1_000_000, 8, "f32", 0.6),
    Row("pair-var", 131072, 128, "f32", 0.5, "F"),
    Row("unit-logvar", 131072, 128, "f32", 0.5, "F"),
)
TWO_OVER_ONE = 1.6
# of one call: times NumPy, by shape
SMALL_TARGETS = {(32, 64): {"gufunc": 4.5, "facade": 2.5}, (1, 64): {"gufunc": 3.5, "facade": 1.7}}


def main() -> None:
    options = arguments("gkl, memory and peers side by side")
    peers = [] if options.no_peers else list(works.LIBRARIES[1:])
    report: dict[str, Any] = {"machine": machine(), "large": [], "small": []}
    for row in ROWS:
        progress(f"{row.work} {row.rows} x {row.dim} {row.dtype} {row.order}")
        report["large"].append(large(row, peers, options))
    for shape in SMALL_TARGETS:
        progress(f"one call, {shape[0]} x {shape[1]}")
        report["small"].append(small(shape, options))
    progress("")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    rows = report["large"] + report["small"]
    small_rounds = f" (small calls: {4 * options.rounds})"
    print("\n\n".join([heading(report, rows, options, small_rounds), *tables(report)]))


def large(row: Row, peers: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Times of a work that comes from memory."""
    rows = row.rows // (64 if options.quick else 1)
    arrays = works.inputs(row.work, rows, row.dim, row.dtype, row.order)
    nbytes = works.bytes_moved(row.work, arrays)
    stream = yardstick.Stream(nbytes, THREADS)
    calls: dict[str, Callable[[], Any]] = {**works.available(["gkl", *peers], row.work, arrays)}
    calls |= {
        "stream": stream,
        "gkl, one thread": on_one_thread(calls["gkl"]),
        "stream, one thread": stream.with_threads(1),
    }
    seconds, disturbed = in_turn(calls, options)
    sizes = {"rows": rows, "bytes": nbytes}
    return {**vars(row), **sizes, "disturbed": disturbed, "seconds": seconds}


def small(shape: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Times of one call whose data is in the caches."""
    arrays = works.inputs("pair-var", *shape, "f32")
    with gkl.num_threads(1):
        calls = {name: works.make_small(name, arrays) for name in ("NumPy", *works.SMALL)}
        seconds, disturbed = in_turn(calls, options, 50 if options.quick else 2000)
    return {"shape": shape, "disturbed": disturbed, "seconds": seconds}


def tables(report: dict[str, Any]) -> list[str]:
    """Markdown: from memory, two threads over one, one small call."""
    names = [name for name in report["large"][0]["seconds"] if "thread" not in name]
    peers = [name for name in names if name not in ("gkl", "stream")]
    first, second, third = [], [], []
    for row in report["large"]:
        seconds, nbytes = row["seconds"], row["bytes"]
        median = {name: statistics.median(times) for name, times in seconds.items()}
        title = f"{work_name(row)} | {row['rows']:,} x {row['dim']} {row['dtype']}"
        shares = [s / t for s, t in zip(seconds["stream"], seconds["gkl"], strict=True)]
        first.append(
            [
                title,
                f"{nbytes / median['stream'] / 1e9:.1f}",
                f"{nbytes / median['gkl'] / 1e9:.1f}",
                f"{median['gkl'] * 1e3:.2f}",
                against(median["stream"] / median["gkl"], row["target"]) + spread(shares),
                f"{row['target']:.2f}",
                *(
                    f"{median[name] * 1e3:.1f} ({median[name] / median['gkl']:.1f} x)"
                    for name in peers
                ),
            ]
        )
        gains = {
            name: [
                t1 / t2
                for t1, t2 in zip(seconds[f"{name}, one thread"], seconds[name], strict=True)
            ]
            for name in ("gkl", "stream")
        }
        gain = {name: median[f"{name}, one thread"] / median[name] for name in gains}
        second.append(
            [
                title,
                f"{median['gkl, one thread'] * 1e3:.2f}",
                f"{median['gkl'] * 1e3:.2f}",
                against(gain["gkl"], TWO_OVER_ONE) + spread(gains["gkl"]),
                f"{gain['stream']:.2f}{spread(gains['stream'])}",
            ]
        )
    for row in report["small"]:
        seconds = row["seconds"]
        usual = statistics.median(seconds["NumPy"])
        targets = SMALL_TARGETS[tuple(row["shape"])]
        cells = [f"{row['shape'][0]} x {row['shape'][1]} f32", f"{usual * 1e6:.2f}"]
        for name, times in seconds.items():
            if name == "NumPy":
                continue
            median_small = statistics.median(times)
            target = targets[name.partition(",")[0]]
            ratios = [s / t for s, t in zip(seconds["NumPy"], times, strict=True)]
            cells.append(
                f"{median_small * 1e6:.2f}: {against(usual / median_small, target)} x"
                f"{spread(ratios)}, target {target}"
            )
        third.append(cells)
    return [
        markdown(
            ["work", "size", "stream GB/s", "gkl GB/s", "gkl ms", "of stream", "target"]
            + [f"{name} ms" for name in peers],
            first,
        ),
        markdown(["work", "size", "one thread, ms", "two, ms", "gain", "gain of stream"], second),
        markdown(
            ["one call", "NumPy us", "gufunc with `out=`, us", "gufunc, us", "facade, us"], third
        ),
    ]


def work_name(row: dict[str, Any]) -> str:
    return works.WORKS[row["work"]] + (", F-order" if row["order"] == "F" else "")


if __name__ == "__main__":
    main()
