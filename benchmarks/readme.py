# SPDX-License-Identifier: BSD-3-Clause
"""The measured tables of the README files and of docs/parameterization.md, from the results.

python benchmarks/readme.py    writes them where a table of the same heading stands
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import call_cost
import table
import table_full
import table_pairwise
import table_torch

__all__ = ["RESULTS", "TABLES", "pages", "reports", "written"]

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

# what README.md leaves out, and what it has of every p against every q
SKIPPED = [("grad-var", 1_000_000), ("grad-cov", 1)]
PAIRWISE = [
    ("kl", "generic"),
    ("kl", "all equal"),
    ("jeffreys", "generic"),
    ("nearest", "generic"),
]

Report = dict[str, Any]
Row = dict[str, Any]


def _full(report: Report) -> list[str]:
    rows = report["rows"]
    return [table_full.speeds(rows), table_full.threads(rows), table_full.blas(report["blas"])]


# all that a report has, as benchmarks/README.md and the page on performance show it
TABLES: dict[str, Callable[[Report], list[str]]] = {
    "table": table.tables,
    "table_full": _full,
    "table_pairwise": lambda report: [table_pairwise.speeds(report["rows"])],
    "table_torch": lambda report: [table_torch.speeds(report["rows"])],
    "call_cost": lambda report: [call_cost.costs(report["rows"])],
}


def reports(folder: Path = RESULTS) -> dict[str, Report]:
    """What measure.py has left in a folder, by table."""
    paths = [folder / f"{name}.json" for name in TABLES]
    return {path.stem: json.loads(path.read_text()) for path in paths if path.exists()}


def _median(row: Row, name: str) -> float:
    return statistics.median(row["seconds"][name])


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _diagonal(report: Report) -> str:
    names = {"pair-var": "KL(p‖q), var", "unit-logvar": "KL(p‖N(0,I)), logvar",
             "grad-var": "value and four gradients, var"}  # fmt: skip
    peers, lines = ("NumPy", "numba", "torch", "torch.compile"), []
    for row in report["large"]:
        skipped = row["order"] == "F" or (row["work"], row["rows"]) in SKIPPED
        if skipped or row["work"] not in names:
            continue
        gkl, stream = _median(row, "gkl"), _median(row, "stream")
        line = [f"{names[row['work']]}, {row['rows']:,} x {row['dim']}", _time(gkl)]
        line += [_time(_median(row, name)) for name in peers]
        lines.append([*line, f"{stream / gkl:.2f}"])
    call = report["small"][0]
    times = [_time(_median(call, name)) for name in ("gufunc, out=", "NumPy")]
    lines.append([f"one call, {call['shape'][0]} x {call['shape'][1]}", *times, *[""] * 4])
    return _table(["work", "gkl", *peers, "gkl of stream"], lines)


def _matrices(report: Report) -> str:
    lines = []
    for row in report["rows"]:
        skipped = row["dtype"] != "f64" or (row["work"], row["rows"]) in SKIPPED
        if skipped or row["pair"] != "unrelated":
            continue
        name, size = table_full.title(row)
        share = table_full.rate(row, "gkl") / table_full.rate(row, "yardstick")
        times = [_time(_median(row, x) / row["rows"]) for x in ("gkl", "NumPy", "torch")]
        line = [f"{name}, {size.removesuffix(' f64')}", *times]
        lines.append([*line, f"{share:.2f} of {row['yardstick']}"])
    return _table(["float64, a pair", "gkl", "NumPy", "torch", "gkl of the yardstick"], lines)


def _pairwise(report: Report) -> str:
    lines = []
    for row in report["rows"]:
        work = row["work"] if row["work"] != "nearest" else "nearest, k = 10"
        size = f"{row['n']:,} x {row['m']:,} x {row['dim']} {row['dtype']}"
        if row["dim"] == 64 and (row["work"], row["data"]) in PAIRWISE:
            known = row["seconds"]
            peers = [_time(_median(row, x)) if x in known else "" for x in table_pairwise.PEERS]
            lines.append([f"{work}, {row['data']}, {size}", _time(_median(row, "gkl")), *peers])
    heading = ["every p against every q, two threads", "gkl", "NumPy", "NumPy, in place"]
    return _table(heading, lines)


def _table(columns: list[str], lines: list[list[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return re.sub(r"\|  (?=\|)", "| ", text).replace("| --- ", "|---").replace("--- |", "---|")


# the less that README.md shows
SHORT = {"table": _diagonal, "table_full": _matrices, "table_pairwise": _pairwise}


def written(text: str, tables: list[str], folder: Path = RESULTS) -> str:
    """The text with each table in the place of the one that has its heading, and with the date and
    the command of each measurement."""
    for new in tables:
        heading = re.escape(new.splitlines()[0])
        text = re.sub(heading + r"\n(\|.*\n)*", lambda _, new=new: new + "\n", text)
    for path in (*(folder / f"{name}.json" for name in TABLES), folder / "table_parameters.json"):
        about = json.loads(path.read_text())["machine"]
        old = rf"\d{{4}}-\d\d-\d\d, `python benchmarks/{path.stem}\.py[^`]*`"
        text = re.sub(old, f"{about['date']}, `{about['command']}`", text)
    return text


def pages() -> dict[Path, list[str]]:
    """The files, and the tables that they have."""
    import table_parameters  # here, for it needs ml_dtypes

    found = reports()
    parameters = json.loads((RESULTS / "table_parameters.json").read_text())["rows"]
    short = [make(found[name]) for name, make in SHORT.items() if name in found]
    long = [x for name, report in found.items() for x in TABLES[name](report)]
    return {
        ROOT / "README.md": short,
        ROOT / "benchmarks" / "README.md": long,
        ROOT / "docs" / "parameterization.md": [table_parameters.costs(parameters)],
    }


if __name__ == "__main__":
    for path, tables in pages().items():
        path.write_text(written(path.read_text(), tables))
