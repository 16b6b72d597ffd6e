# SPDX-License-Identifier: BSD-3-Clause
"""Rooflines and tables of what benchmarks/measure.py has measured.

python docs/plots/performance.py [FOLDER]    of FOLDER, benchmarks/results if not given; writes
                                             roofline-*.svg and performance-*.md to docs/_generated
"""

from __future__ import annotations

import json
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import figures
import numpy as np

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import readme  # noqa: E402

# rows of table.json: the kernel and the output in flops.json
KERNELS = {"pair-var": ("diag_var", "value"), "pair-logvar": ("diag_logvar", "value"),
           "unit-logvar": ("unit_logvar", "value"), "grad-var": ("diag_var", "grad")}  # fmt: skip
COLOR = {"value": figures.COLORS["gkl"], "grad": figures.COLORS["usual"]}
MARK = {"f32": "o", "f64": "s"}


class Point(NamedTuple):
    """A work: operations for each byte, 10^9 operations a second, and how it is drawn."""

    intensity: float
    gflops: float
    label: str
    output: str
    dtype: str


class Roofs(NamedTuple):
    """10^9 bytes, and operations of each type, a second."""

    stream: float
    gemm: dict[str, float]


def seconds(row: dict[str, Any], name: str = "gkl") -> float:
    return statistics.median(row["seconds"][name])


def diagonal(report: dict[str, Any], flops: dict[str, Any]) -> tuple[list[Point], float]:
    """The rows in C order, and what stream reached in them."""
    rows = [row for row in report["large"] if row["order"] == "C"]
    points = []
    for row in rows:
        kernel, output = KERNELS[row["work"]]
        each = flops[kernel][row["dtype"]][output] * row["rows"] * row["dim"]
        label = f"{row['work'].replace('grad', 'pair')}, d = {row['dim']}"
        rate = each / seconds(row) / 1e9
        points.append(Point(each / row["bytes"], rate, label, output, row["dtype"]))
    return points, statistics.median(row["bytes"] / seconds(row, "stream") / 1e9 for row in rows)


def full(report: dict[str, Any]) -> tuple[list[Point], Roofs]:
    """Batches of unrelated pairs, and both yardsticks."""
    points, gemm, stream = [], dict[str, list[float]](), []
    for row in report["rows"]:
        yardstick = row["amount"] / seconds(row, "yardstick") / 1e9
        if row["yardstick"] == "gemm":
            gemm.setdefault(row["dtype"], []).append(yardstick)
        else:
            stream.append(yardstick)
        if row["pair"] == "unrelated" and row["rows"] > 1:
            output = "grad" if row["work"].startswith("grad") else "value"
            rate = row["flops"] / seconds(row) / 1e9
            intensity, label = row["flops"] / row["bytes"], f"d = {row['dim']}"
            points.append(Point(intensity, rate, label, output, row["dtype"]))
    roofs = Roofs(statistics.median(stream), {k: statistics.median(x) for k, x in gemm.items()})
    return points, roofs


def paint(figure: Any, points: list[Point], roofs: Roofs) -> None:
    """Points under the roof of memory and those of arithmetic."""
    axes = figure.subplots()
    x = np.geomspace(min(p.intensity for p in points) / 2, max(p.intensity for p in points) * 4)
    gray = figures.COLORS["roof"]
    top = max(roofs.gemm.values())
    axes.loglog(x, np.minimum(x * roofs.stream, top), color=gray)
    axes.text(
        x[0],
        1.15 * x[0] * roofs.stream,
        f"stream {roofs.stream:.0f} GB/s",
        rotation_mode="anchor",
        rotation=np.degrees(np.arctan(roofs.stream)),
        transform_rotates_text=True,
    )
    for dtype, peak in roofs.gemm.items():
        axes.axhline(peak, color=gray, linestyle="-" if dtype == "f64" else "--")
        axes.text(x[0], peak * 1.08, f"gemm {dtype} {peak:.0f} GFLOP/s")
    for output, word in (("value", "value"), ("grad", "value and gradients")):
        for dtype, mark in MARK.items():
            chosen = [p for p in points if (p.output, p.dtype) == (output, dtype)]
            label = f"{word}, {dtype}" if chosen else None
            x, y = ([p[i] for p in chosen] for i in (0, 1))
            axes.plot(x, y, mark, color=COLOR[output], label=label)
    for p in points:  # pairs' values on the left of their points, all else on the right
        left = p.output == "value" and not p.label.startswith("unit")
        place: dict[str, Any] = {"xytext": (-6, 3) if left else (6, -8)}
        place |= {"ha": "right" if left else "left", "textcoords": "offset points"}
        axes.annotate(p.label, (p.intensity, p.gflops), **place, fontsize=8, color=COLOR[p.output])
    axes.set(xlabel="operations for each byte", ylabel="GFLOP/s")
    axes.set_ylim(min(10, 0.6 * min(p.gflops for p in points)), 2 * top)
    axes.legend(loc="lower right")


def circumstances(machine: dict[str, Any]) -> str:
    """What a table belongs to."""
    versions = ", ".join(f"{name} {x}" for name, x in machine["versions"].items())
    return (
        f"`{machine['command']}` on {machine['date']}: {machine['cpu']}, {machine['cpus']} CPUs, "
        f"{machine['caches']}; {machine['kernel']}; {machine['isa']}, {machine['threads']} "
        f"threads; {versions}."
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else readme.RESULTS
    reports = readme.reports(folder)
    flops = json.loads((folder / "flops.json").read_text())
    figures.FOLDER.mkdir(exist_ok=True)
    for name, tables in readme.TABLES.items():
        parts = ["No measurement of this machine is kept."]
        if name in reports:
            parts = [circumstances(reports[name]["machine"]), *tables(reports[name])]
        (figures.FOLDER / f"performance-{name}.md").write_text("\n\n".join(parts) + "\n")
    points, stream = diagonal(reports["table"], flops)
    of_full, roofs = full(reports["table_full"])
    with_gemm = Roofs(stream, roofs.gemm)
    figures.draw("roofline-diag", partial(paint, points=points, roofs=with_gemm), (6.4, 3.6))
    figures.draw("roofline-full", partial(paint, points=of_full, roofs=roofs), (6.4, 3.6))
    counts = [[f"`{name}`", *(f"{x[dtype][output]}" for dtype in MARK for output in COLOR)]
              for name, x in flops.items()]  # fmt: skip
    columns = ["kernel", "value f32", "and gradients", "value f64", "and gradients"]
    figures.table("flops", columns, counts)


if __name__ == "__main__":
    main()
