# SPDX-License-Identifier: BSD-3-Clause
"""The table of every p against every q: gkl and NumPy's matrix-product formula in turn.

python benchmarks/table_pairwise.py [--quick] [--rounds N] [--isa ISA] [--no-peers]
                                    [--patience MINUTES] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
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

NEIGHBORS = 10


@dataclass(frozen=True)
class Row:
    """What is done with n and m Gaussians of d dimensions; the data may be made to hurt."""

    work: str
    dtype: str = "f32"
    data: str = "generic"
    n: int = 2000
    m: int = 2000
    dim: int = 64
    target: float = 0  # times NumPy


ROWS = (
    Row("kl", target=3),
    Row("kl", "f64"),
    Row("kl", dim=16),
    Row("kl", dim=512),
    Row("kl", data="all equal"),
    Row("kl", data="two clusters"),
    Row("kl", data="ten decades"),
    Row("kl", "f64", "all equal"),
    Row("kl", "f64", "two clusters"),
    Row("kl", "f64", "ten decades"),
    Row("jeffreys"),
    Row("wasserstein2"),
    Row("hellinger"),
    Row("nearest", target=3),
    Row("nearest", "f64"),
    Row("nearest", n=20_000, m=200_000),
)
PEERS = ("NumPy", "NumPy, in place")
FUSED = {"kl": 2, "nearest": 2}  # multiply-adds of a pair and dimension, as in the formula


def main() -> None:
    options = arguments("every p against every q: gkl and NumPy side by side")
    report: dict[str, Any] = {"machine": machine(), "rows": []}
    for row in ROWS:
        progress(f"{row.work} {row.n} x {row.m} x {row.dim} {row.dtype}, {row.data}")
        report["rows"].append(measured(row, options))
    progress("")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(heading(report, report["rows"], options))
    print("\n" + speeds(report["rows"]))


def made(row: Row, n: int, rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], ...]:
    """Means and variances."""
    mean, var = rng.normal(size=(n, row.dim)), np.exp(rng.normal(size=(n, row.dim)))
    if row.data == "all equal":
        mean[:], var[:] = np.linspace(-1, 1, row.dim), np.linspace(0.5, 2, row.dim)
    elif row.data == "two clusters":
        mean = 100 + 3 * rng.integers(0, 2, size=(n, 1)) + 1e-3 * mean
        var = 1 + 1e-4 * rng.normal(size=var.shape)
    elif row.data == "ten decades":
        var = 10 ** rng.uniform(-5, 5, size=var.shape)
    return tuple(x.astype(f"f{int(row.dtype[1:]) // 8}") for x in (mean, var))


def formula(mean_p: Any, var_p: Any, mean_q: Any, var_q: Any) -> Any:
    """By two matrix products, as one writes it."""
    over_q = 1 / var_q
    return 0.5 * (
        (var_p + mean_p**2) @ over_q.T
        - 2 * mean_p @ (mean_q * over_q).T
        + (mean_q**2 * over_q + np.log(var_q)).sum(1)
        - np.log(var_p).sum(1)[:, np.newaxis]
        - mean_p.shape[1]
    )


def formula_in_place(mean_p: Any, var_p: Any, mean_q: Any, var_q: Any) -> Any:
    """The same with as few temporaries as NumPy needs."""
    over_q = 1 / var_q
    found = (var_p + mean_p * mean_p) @ over_q.T
    found -= 2 * (mean_p @ (mean_q * over_q).T)
    found += (mean_q * mean_q * over_q + np.log(var_q)).sum(1)
    found -= (np.log(var_p).sum(1) + mean_p.shape[1])[:, np.newaxis]
    found *= 0.5
    return found


def nearest_by(formula: Callable[..., Any], *arrays: Any) -> Any:
    """The least of each row, sorted."""
    values = formula(*arrays)
    index = np.argpartition(values, NEIGHBORS, axis=1)[:, :NEIGHBORS]
    found = np.take_along_axis(values, index, 1)
    order = np.argsort(found, axis=1)
    return np.take_along_axis(found, order, 1), np.take_along_axis(index, order, 1)


def measured(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """Times of gkl, NumPy and the matrix product that is the yardstick."""
    rng = np.random.default_rng(0)
    small = 8 if options.quick else 1
    n, m = row.n // small, row.m // small
    p, q = made(row, n, rng), made(row, m, rng)
    a, b = (gkl.DiagNormal(x[0], var=x[1]) for x in (p, q))
    calls: dict[str, Callable[[], Any]] = {}
    if row.work == "nearest":
        calls["gkl"] = lambda: gkl.nearest(a, b, NEIGHBORS)
    else:
        metric: Any = row.work
        out = np.empty((n, m), p[0].dtype)
        calls["gkl"] = lambda: gkl.pairwise_kl(a, b, metric, out=out)
    large = row.n * row.m > 10**8
    if row.work in FUSED and not options.no_peers and not large:
        for name, by in (("NumPy", formula), ("NumPy, in place", formula_in_place)):
            peer = partial(nearest_by, by) if row.work == "nearest" else by
            calls[name] = partial(peer, *p, *q)
    if not large:
        calls["gkl, one thread"] = on_one_thread(calls["gkl"])
    gemm = yardstick.Gemm(p[0].dtype, THREADS)
    calls["gemm"] = gemm
    if large:
        options = argparse.Namespace(**{**vars(options), "rounds": 2})
    seconds, disturbed = in_turn(calls, options)
    return {**vars(row), "n": n, "m": m, "flops": gemm.flops, "disturbed": disturbed,
            "seconds": seconds}  # fmt: skip


def speeds(rows: list[dict[str, Any]]) -> str:
    """Times, the ratio to NumPy, and the share of the multiply-adds of a matrix product."""
    lines, generic = [], {}
    for row in rows:
        seconds = row["seconds"]
        median = {name: statistics.median(times) for name, times in seconds.items()}
        work = row["work"] if row["work"] != "nearest" else f"nearest, k = {NEIGHBORS}"
        size = f"{row['n']:,} x {row['m']:,} x {row['dim']} {row['dtype']}"
        line = [f"{work}, {row['data']}", size, f"{median['gkl'] * 1e3:.4g}"]
        line += [f"{median[x] * 1e3:.4g}" if x in median else "" for x in PEERS]
        ratio = ""
        if "NumPy" in median:
            ratios = [s / t for s, t in zip(seconds["NumPy"], seconds["gkl"], strict=True)]
            ratio = against(median["NumPy"] / median["gkl"], row["target"]) + spread(ratios)
        line += [ratio, f"{row['target'] or ''}"]
        if row["data"] == "generic":
            generic.setdefault((row["work"], row["dtype"]), median["gkl"])
        times = median["gkl"] / generic[row["work"], row["dtype"]]
        line += [f"{times:.2f}" if row["data"] != "generic" else ""]
        share = ""
        if row["work"] in FUSED:
            done = FUSED[row["work"]] * row["n"] * row["m"] * row["dim"] / median["gkl"]
            share = f"{2 * done / (row['flops'] / median['gemm']):.2f}"
        one = median.get("gkl, one thread")
        line += [share, f"{one / median['gkl']:.2f}" if one else ""]
        lines.append(line)
    columns = ["work", "size", "gkl ms", "NumPy ms", "in place ms", "times NumPy", "target"]
    columns += ["of generic data"]
    return markdown([*columns, "of gemm's multiply-adds", "two threads over one"], lines)


if __name__ == "__main__":
    main()
