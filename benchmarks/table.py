# SPDX-License-Identifier: BSD-3-Clause
"""The table of the README: every library in turn, in one process, medians and their ratios.

python benchmarks/table.py [--quick] [--rounds N] [--isa ISA] [--no-peers]
                               [--patience MINUTES] [--json FILE]
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import works
import yardstick

import gkl

THREADS = 2
PACKAGES = ("gkl", "numpy", "numba", "torch", "jax")


@dataclass(frozen=True)
class Row:
    """A work, its size, and the share of stream that the design wants."""

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

Seconds = dict[str, list[float]]


def main() -> None:
    options = arguments()
    if options.isa and options.isa != os.environ.get("GKL_ISA"):  # read when gkl is imported
        os.environ["GKL_ISA"] = options.isa
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    options.deadline = time.monotonic() + 60 * options.patience
    gkl.set_num_threads(THREADS)
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
    print("\n\n".join([heading(report, options), *tables(report)]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="gkl, memory and peers side by side")
    parser.add_argument("--quick", action="store_true", help="small batches: does it run?")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each row (15)")
    parser.add_argument("--isa", help="instruction set: baseline, avx2, avx512 or neon")
    parser.add_argument("--no-peers", action="store_true", help="gkl and stream alone")
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="MINUTES",
        help="so long, rounds that other processes disturb are measured anew (0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every time measured, too")
    return parser.parse_args()


def large(row: Row, peers: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Times of a work that comes from memory."""
    rows = row.rows // (64 if options.quick else 1)
    arrays = works.inputs(row.work, rows, row.dim, row.dtype, row.order)
    nbytes = works.bytes_moved(row.work, arrays)
    stream = yardstick.Stream(nbytes, THREADS)
    run = works.make("gkl", row.work, arrays)

    def on_one_thread() -> None:
        with gkl.num_threads(1):
            run()

    calls: dict[str, Callable[[], Any]] = {"gkl": run}
    for name in peers:
        try:
            calls[name] = works.make(name, row.work, arrays)
        except (ImportError, OSError):
            continue
    works.check(row.work, arrays, calls.items())
    calls |= {
        "stream": stream,
        "gkl, one thread": on_one_thread,
        "stream, one thread": stream.with_threads(1),
    }
    seconds, disturbed = in_turn(calls, options, 1, 0.02)
    sizes = {"rows": rows, "bytes": nbytes}
    return {**vars(row), **sizes, "disturbed": disturbed, "seconds": seconds}


def small(shape: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Times of one call whose data is in the caches."""
    arrays = works.inputs("pair-var", *shape, "f32")
    with gkl.num_threads(1):
        calls = {name: works.make_small(name, arrays) for name in ("NumPy", *works.SMALL)}
        seconds, disturbed = in_turn(calls, options, 50 if options.quick else 2000, 0)
    return {"shape": shape, "disturbed": disturbed, "seconds": seconds}


def in_turn(
    calls: dict[str, Callable[[], Any]], options: argparse.Namespace, repeat: int, pause: float
) -> tuple[Seconds, int]:
    """Seconds of each call, by round, and how many rounds were disturbed all the same.

    Another call begins every round.  The pause is for the threads of the last library, which spin
    for some milliseconds.  A round in which other processes had the CPUs is measured anew, for as
    long as the user is patient.
    """
    names = list(calls)
    seconds: Seconds = {name: [] for name in names}
    disturbed = 0
    gc.collect()
    gc.disable()
    for call in calls.values():
        call()
    rounds = options.rounds if pause else 4 * options.rounds
    while len(seconds[names[0]]) < rounds:
        first = len(seconds[names[0]]) % len(names)
        taken = {}
        others, start = cpu_of_others(), time.perf_counter()
        for name in names[first:] + names[:first]:
            call = calls[name]
            time.sleep(pause)
            begin = time.perf_counter()
            for _ in range(repeat):
                call()
            taken[name] = (time.perf_counter() - begin) / repeat
        passed = time.perf_counter() - start
        if cpu_of_others() - others > 0.03 + 0.1 * passed:  # which is counted in ticks
            if time.monotonic() < options.deadline:
                time.sleep(0.5)
                continue
            disturbed += 1
        for name in names:
            seconds[name].append(taken[name])
    gc.enable()
    return seconds, disturbed


def cpu_of_others() -> float:
    """Seconds that the CPUs of this machine have worked for other processes, or for other
    machines; 0 where it is not known."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, fields)
    own = os.times()
    busy = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
    return busy - own.user - own.system


def machine() -> dict[str, Any]:
    """What the numbers belong to."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    config = gkl.show_config(mode="dicts") or {}
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "caches": caches(),
        "kernel": f"{platform.system()} {platform.release()}",
        "isa": config["ISA"]["chosen"],
        "threads": THREADS,
        "yardstick": yardstick.backend(),
        "versions": versions,
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    if "model name" not in found:
        return platform.processor() or platform.machine()
    return f"{found['model name']} (family {found['cpu family']}, model {found['model']})"


def caches() -> str:
    names = []
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((cache / x).read_text().strip() for x in ("level", "type", "size"))
        if kind != "Instruction":
            names.append(f"L{level} {size}")
    return ", ".join(names)


def heading(report: dict[str, Any], options: argparse.Namespace) -> str:
    about = report["machine"]
    disturbed = [row["disturbed"] for row in report["large"] + report["small"]]
    versions = ", ".join(f"{name} {x}" for name, x in about["versions"].items())
    return (
        f"{about['date']}. {about['cpu']}, {about['cpus']} CPUs, {about['caches']}; "
        f"{about['kernel']}.  {about['isa']}, {about['threads']} threads; {versions}; "
        f"yardstick by {about['yardstick']}.  Medians of {options.rounds} rounds "
        f"(small calls: {4 * options.rounds}).  "
        f"Rounds that other processes disturbed: {sum(disturbed)}; by row: {disturbed}."
    )


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


def against(ratio: float, target: float) -> str:
    """A ratio, marked when it falls short."""
    return f"{ratio:.2f}" if ratio >= target else f"**{ratio:.2f}**"


def spread(ratios: list[float]) -> str:
    low, _, high = statistics.quantiles(ratios, n=4)
    return f" ({low:.2f}–{high:.2f})"


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, [":--" if i == 0 else "--:" for i in range(len(columns))], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
