# SPDX-License-Identifier: BSD-3-Clause
"""What the tables share: calls in turn, the machine they ran on, Markdown."""

from __future__ import annotations

import argparse
import datetime
import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yardstick

import gkl

__all__ = [
    "THREADS",
    "Seconds",
    "against",
    "arguments",
    "heading",
    "in_turn",
    "machine",
    "markdown",
    "on_one_thread",
    "progress",
    "settle",
    "spread",
]

THREADS = 2
PACKAGES = ("gkl", "numpy", "scipy", "numba", "torch", "jax")

Seconds = dict[str, list[float]]


def arguments(description: str) -> argparse.Namespace:
    """The command line; the process starts anew where it asks for another instruction set."""
    parser = argparse.ArgumentParser(description=description)
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
    options = parser.parse_args()
    if options.isa and options.isa != os.environ.get("GKL_ISA"):  # read when gkl is imported
        os.environ["GKL_ISA"] = options.isa
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    options.deadline = time.monotonic() + 60 * options.patience
    gkl.set_num_threads(THREADS)
    return options


def in_turn(
    calls: dict[str, Callable[[], Any]], options: argparse.Namespace, repeat: int = 1
) -> tuple[Seconds, int]:
    """Seconds of each call, by round, and how many rounds were disturbed all the same.

    Another call begins every round.  A single call waits for the threads of the last one to
    settle, and is made once untimed, so that its own are awake, each on its CPU; where it is too
    short for that, it is repeated, and measured in more rounds.  A round in which other processes
    had the CPUs is measured anew, for as long as the user is patient.
    """
    names = list(calls)
    seconds: Seconds = {name: [] for name in names}
    disturbed = 0
    gc.collect()
    gc.disable()
    for call in calls.values():
        call()
    rounds = options.rounds if repeat == 1 else 4 * options.rounds
    while len(seconds[names[0]]) < rounds:
        first = len(seconds[names[0]]) % len(names)
        taken = {}
        others, start = cpu_of_others(), time.perf_counter()
        for name in names[first:] + names[:first]:
            call = calls[name]
            if repeat == 1:
                settle()
                call()
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


def settle() -> None:
    """Wait until no thread of this process spins: OpenBLAS's do for a tenth of a second after a
    product, on a CPU that the next library counts on."""
    busy = 1.0
    while busy > 0.1:
        begin, cpu = time.perf_counter(), time.process_time()
        time.sleep(0.01)
        busy = (time.process_time() - cpu) / (time.perf_counter() - begin)


def on_one_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    def limited() -> Any:
        with gkl.num_threads(1):
            return call()

    return limited


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
        "command": command(),
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "caches": caches(),
        "kernel": f"{platform.system()} {platform.release()}",
        "isa": config["ISA"]["chosen"],
        "threads": THREADS,
        "yardstick": yardstick.backend(),
        "versions": versions,
    }


def command() -> str:
    """What was called, but for where it writes to."""
    script, *words = sys.argv
    if "--json" in words:
        at = words.index("--json")
        del words[at : at + 2]
    return " ".join(["python", f"benchmarks/{Path(script).name}", *words])


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


def heading(
    report: dict[str, Any],
    rows: list[dict[str, Any]],
    options: argparse.Namespace,
    small: str = "",
) -> str:
    """The machine, the versions, and whether anything disturbed the measuring."""
    about = report["machine"]
    disturbed = [row["disturbed"] for row in rows]
    versions = ", ".join(f"{name} {x}" for name, x in about["versions"].items())
    return (
        f"{about['date']}. {about['cpu']}, {about['cpus']} CPUs, {about['caches']}; "
        f"{about['kernel']}.  {about['isa']}, {about['threads']} threads; {versions}; "
        f"yardstick by {about['yardstick']}.  Medians of {options.rounds} rounds{small}.  "
        f"Rounds that other processes disturbed: {sum(disturbed)}; by row: {disturbed}."
    )


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
