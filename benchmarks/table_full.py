# SPDX-License-Identifier: BSD-3-Clause
"""The table of full covariances: gkl, NumPy and torch in turn, beside memory and BLAS.

python benchmarks/table_full.py [--quick] [--rounds N] [--isa ISA] [--no-peers]
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
    Seconds,
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

from gkl.bench import flops


@dataclass(frozen=True)
class Row:
    """A work, its size, and how many times the peers' speed is wanted."""

    work: str
    rows: int
    dim: int
    target: float
    pair: str = "unrelated"
    dtype: str = "f64"


ROWS = (
    Row("pair-cov", 100_000, 4, 25),
    Row("pair-cov", 40_000, 8, 15),
    Row("pair-cov", 4000, 32, 10),
    Row("pair-cov", 400, 128, 10),
    Row("pair-cov", 32, 512, 4),
    Row("pair-cov", 1, 512, 1),
    Row("pair-cov", 4000, 32, 0, "near-equal"),
    Row("pair-cov", 400, 128, 0, "near-equal"),
    Row("pair-cov", 4000, 32, 0, "one q for all"),
    Row("pair-cov", 40_000, 8, 0, dtype="f32"),
    Row("pair-cov", 400, 128, 0, dtype="f32"),
    Row("grad-cov", 100_000, 4, 12),
    Row("grad-cov", 40_000, 8, 12),
    Row("grad-cov", 4000, 32, 10),
    Row("grad-cov", 400, 128, 6),
    Row("grad-cov", 32, 512, 3),
    Row("grad-cov", 1, 512, 0),
)
BLAS_ROWS = (
    Row("pair-cov", 1, 512, 1.2),
    Row("pair-cov", 32, 512, 1.2),
    Row("pair-cov", 4, 1024, 1.2),
    Row("grad-cov", 4, 1024, 1.2),
)
MEMORY_BOUNDS = 32  # up to this d
SHARES = {"stream": 0.5, "gemm": 0.7}  # of values


def main() -> None:
    options = arguments("full covariances: gkl, memory, BLAS and peers side by side")
    report: dict[str, Any] = {"machine": machine(), "rows": [], "blas": []}
    for row in ROWS:
        progress(f"{row.work} {row.rows} x {row.dim} {row.dtype}, {row.pair}")
        report["rows"].append(measured(row, options))
    for row in BLAS_ROWS:
        progress(f"threads of BLAS, {row.work} {row.rows} x {row.dim}")
        report["blas"].append(with_blas_limited(row, options))
    progress("")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(heading(report, report["rows"] + report["blas"], options))
    print("\n" + yardsticks(report["rows"]))
    for table in (speeds(report["rows"]), threads(report["rows"]), blas(report["blas"])):
        print("\n" + table)


def prepared(row: Row, options: argparse.Namespace) -> tuple[int, works.Arrays]:
    """The batch's size and the inputs."""
    rows = max(1, row.rows // (64 if options.quick else 1))
    arrays = works.inputs(row.work, rows, row.dim, row.dtype)
    return rows, works.PAIRS[row.pair](arrays)


def measured(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """Times of a work, and of the yardstick that bounds it."""
    rows, arrays = prepared(row, options)
    nbytes = works.bytes_moved(row.work, arrays)
    libraries = ["gkl"] if options.no_peers else works.LIBRARIES_FULL
    calls: dict[str, Callable[[], Any]] = {**works.available(libraries, row.work, arrays)}
    sizes = {"rows": rows, "bytes": nbytes, "flops": flops(row.work, rows, row.dim)}
    if row.dim <= MEMORY_BOUNDS:
        stream = yardstick.Stream(nbytes, THREADS)
        sizes |= {"yardstick": "stream", "amount": stream.nbytes}
        calls |= {"yardstick": stream, "yardstick, one thread": stream.with_threads(1)}
    else:
        both = [yardstick.Gemm(arrays[0].dtype, n) for n in (THREADS, 1)]
        sizes |= {"yardstick": "gemm", "amount": both[0].flops}
        calls |= {"yardstick": both[0], "yardstick, one thread": both[1]}
    calls["gkl, one thread"] = on_one_thread(calls["gkl"])
    seconds, disturbed = in_turn(calls, options)
    return {**vars(row), **sizes, "disturbed": disturbed, "seconds": seconds}


def with_blas_limited(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """Times of gkl, and of gkl with every BLAS limited by hand to one thread."""
    rows, arrays = prepared(row, options)
    run = works.make("gkl", row.work, arrays)
    limit = yardstick.blas_limit(1)

    def limited() -> None:
        with limit():
            run()

    seconds, disturbed = in_turn({"gkl": run, "limited": limited}, options)
    return {**vars(row), "rows": rows, "disturbed": disturbed, "seconds": seconds}


def yardsticks(rows: list[dict[str, Any]]) -> str:
    """What the machine does, over all rows."""
    words = []
    for name, unit in (("stream", "GB/s"), ("gemm", "GFLOP/s")):
        own = [row for row in rows if row["yardstick"] == name and row["dtype"] == "f64"]
        one, all_ = (
            statistics.median(rate(row, f"yardstick{which}") for row in own)
            for which in (", one thread", "")
        )
        words.append(f"{name} {one:.1f} {unit} on one thread, {all_:.1f} on {THREADS}")
    return f"Medians of the rows in float64: {'; '.join(words)}."


def rate(row: dict[str, Any], name: str) -> float:
    """10^9 bytes or operations a second, whichever the row's yardstick counts."""
    own = row["bytes" if row["yardstick"] == "stream" else "flops"]
    amount = row["amount"] if name.startswith("yardstick") else own
    return float(amount / statistics.median(row["seconds"][name]) / 1e9)


def title(row: dict[str, Any]) -> list[str]:
    pair = f", {row['pair']}" if row["pair"] != "unrelated" else ""
    return [works.WORKS[row["work"]] + pair, f"{row['rows']:,} x {row['dim']} {row['dtype']}"]


def speeds(rows: list[dict[str, Any]]) -> str:
    """Time an item, times the peers, and the share of what the machine can do."""
    peers = [name for name in works.LIBRARIES_FULL[1:] if name in rows[0]["seconds"]]
    lines = []
    for row in rows:
        seconds: Seconds = row["seconds"]
        median = {name: statistics.median(times) for name, times in seconds.items()}
        each = [f"{median[name] / row['rows'] * 1e6:.3g}" for name in ("gkl", *peers)]
        against_whom = ["torch"] if row["work"].startswith("grad") else peers
        ratio = ""
        if {*against_whom} <= {*peers} and peers:
            best = min(against_whom, key=median.__getitem__)
            ratios = [s / t for s, t in zip(seconds[best], seconds["gkl"], strict=True)]
            ratio = against(median[best] / median["gkl"], row["target"]) + spread(ratios)
        share = rate(row, "gkl") / rate(row, "yardstick")
        wanted = SHARES[row["yardstick"]]
        has_target = row["work"].startswith("pair") and row["pair"] == "unrelated"
        shares = {
            "stream": f"{row['bytes'] / median['gkl'] / 1e9:.3g}",
            "gemm": f"{row['flops'] / median['gkl'] / 1e9:.3g}",
        }
        of = against(share, wanted) if has_target else f"{share:.2f}"
        lines.append(
            [*title(row), *each, ratio, f"{row['target'] or ''}", *shares.values()]
            + [of if row["yardstick"] == name else "" for name in SHARES]
        )
    columns = ["work", "size", *(f"{name} us" for name in ("gkl", *peers))]
    columns += ["times the better (gradients: torch)", "target", "GB/s", "GFLOP/s"]
    columns += [f"of {name}" for name in SHARES]
    return markdown(columns, lines)


def threads(rows: list[dict[str, Any]]) -> str:
    """One thread and two, and the share of one thread's yardstick."""
    lines = []
    for row in rows:
        one, two = (statistics.median(row["seconds"][x]) for x in ("gkl, one thread", "gkl"))
        share = rate(row, "gkl, one thread") / rate(row, "yardstick, one thread")
        times = [f"{x / row['rows'] * 1e6:.3g}" for x in (one, two)]
        lines.append(
            [*title(row), *times, f"{one / two:.2f}", f"{share:.2f} of {row['yardstick']}"]
        )
    return markdown(["work", "size", "one thread, us", "two, us", "gain", "one thread"], lines)


def blas(rows: list[dict[str, Any]]) -> str:
    """BLAS as it comes against BLAS limited by hand: bold beyond the target."""
    lines = []
    for row in rows:
        own, limited = (statistics.median(row["seconds"][x]) for x in ("gkl", "limited"))
        ratio = f"{own / limited:.2f}"
        ratios = [s / t for s, t in zip(*row["seconds"].values(), strict=True)]
        ratio = (ratio if own <= row["target"] * limited else f"**{ratio}**") + spread(ratios)
        times = [f"{x / row['rows'] * 1e6:.4g}" for x in (own, limited)]
        lines.append([*title(row), *times, ratio, f"{row['target']:g}"])
    columns = ["BLAS's default threads, us", "limited to one, us", "ratio", "target"]
    return markdown(["work", "size", *columns], lines)


if __name__ == "__main__":
    main()
