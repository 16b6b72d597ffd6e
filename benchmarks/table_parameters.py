# SPDX-License-Identifier: BSD-3-Clause
"""What each parameterization costs: the same Gaussians by other parameters.

python benchmarks/table_parameters.py [--quick] [--rounds N] [--isa ISA] [--patience MINUTES]
                                      [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import ml_dtypes
import numpy as np
from harness import arguments, heading, in_turn, machine, markdown

import gkl

# parameters of p and q, and how they are stored
DIAGONAL = [("var", "var", "float32"), ("std", "std", "float32"), ("logvar", "logvar", "float32"),
            ("logvar", "var", "float32"), ("logvar", None, "float32"),
            ("logvar", None, "bfloat16"), ("logvar", None, "float16"),
            ("var", "var", "float64"), ("logvar", "logvar", "float64")]  # fmt: skip
FULL = [(p, q, "float64") for p, q in (
    ("cov", "cov"), ("tril", "tril"), ("precision", "precision"), ("tril", "cov"),
    ("precision", "cov"), ("var", "cov"), ("low rank 4", "low rank 4"))]  # fmt: skip
SIZES = {"diagonal": (131_072, 64), "full": (4_000, 32)}


def main() -> None:
    options = arguments("what each parameterization costs")
    rows = [
        row
        for group, cases in (("diagonal", DIAGONAL), ("full", FULL))
        for row in measured(group, cases, options)
    ]
    report = {"machine": machine(), "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(heading(report, rows, options))
    print("\n" + costs(rows))


def gaussian(kind: str | None, stored: str, n: int, dim: int, seed: int) -> Any:
    """A batch by this parameter: for all kinds of full covariance the same one."""
    if kind is None:
        return None
    rng = np.random.default_rng(seed)
    dtype = getattr(ml_dtypes, stored) if stored == "bfloat16" else np.dtype(stored)
    mean = rng.normal(size=(n, dim))
    if kind in ("var", "std", "logvar"):
        logvar = rng.normal(size=(n, dim))
        scale = {"var": np.exp(logvar), "std": np.exp(logvar / 2), "logvar": logvar}[kind]
        return gkl.DiagNormal(mean.astype(dtype), **{kind: scale.astype(dtype)})
    if kind.startswith("low rank"):
        factor = rng.normal(size=(n, dim, int(kind.split()[-1])))
        return gkl.LowRankNormal(mean, factor=factor, var=np.ones(dim))
    x = rng.normal(size=(n, dim, dim + 4))
    cov = x @ x.swapaxes(1, 2) / dim
    matrix = {"cov": lambda: cov, "tril": lambda: np.linalg.cholesky(cov),
              "precision": lambda: np.linalg.inv(cov)}[kind]()  # fmt: skip
    return gkl.FullNormal(mean, **{kind: matrix})


def measured(
    group: str, cases: list[tuple[str, str | None, str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The group takes turns, so that its ratios are of one run."""
    n, dim = SIZES[group]
    n //= 64 if options.quick else 1
    calls = {}
    for p, q, stored in cases:
        pair = gaussian(p, stored, n, dim, 0), gaussian(q, stored, n, dim, 1)
        name = f"{p}, {q or 'N(0, I)'}, {stored}"
        calls[name] = lambda pair=pair: gkl.kl(*pair)
        calls[f"{name}, gradients"] = lambda pair=pair: gkl.kl_and_grad(*pair)
    seconds, disturbed = in_turn(calls, options)
    return [{"group": group, "n": n, "dim": dim, "parameters": f"{p}, {q or 'N(0, I)'}",
             "stored": stored, "disturbed": disturbed,
             "value": statistics.median(seconds[f"{p}, {q or 'N(0, I)'}, {stored}"]),
             "gradients": statistics.median(
                 seconds[f"{p}, {q or 'N(0, I)'}, {stored}, gradients"])}
            for p, q, stored in cases]  # fmt: skip


def costs(rows: list[dict[str, Any]]) -> str:
    """Times, as multiples of the first of each group."""
    first: dict[str, dict[str, Any]] = {}
    lines = []
    for row in rows:
        unit = first.setdefault(row["group"], row)
        line = [f"{row['n']:,} x {row['dim']}", row["parameters"], row["stored"]]
        lines.append([*line, *(f"{row[x] / unit[x]:.2f}" for x in ("value", "gradients"))])
    return markdown(["batch", "p, q", "stored as", "value", "value and gradients"], lines)


if __name__ == "__main__":
    main()
