# SPDX-License-Identifier: BSD-3-Clause
"""The table of gkl.torch: the KL term of a VAE, as a step of training takes it.

python benchmarks/table_torch.py [--quick] [--rounds N] [--isa ISA] [--patience MINUTES]
                                 [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness import THREADS, arguments, heading, in_turn, machine, markdown, spread

import gkl

if TYPE_CHECKING:
    import torch

SIZES = ((4096, 128, 3.0), (32, 64, 1.0))  # and how many times faster gkl is to be


def main() -> None:
    options = arguments("the KL term of a VAE: gkl.torch and torch side by side")
    rows = [
        measured(n, dim, target, backward, options)
        for n, dim, target in SIZES
        for backward in (False, True)
    ]
    report = {"machine": machine(), "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(heading(report, rows, options))
    print("\n" + speeds(rows))


def ways(n: int, dim: int) -> tuple[list[torch.Tensor], dict[str, Callable[[], torch.Tensor]]]:
    """KL(q(z|x) || N(0, I)) of a batch, from the mean and log-variance that an encoder gives."""
    import torch
    from torch import distributions as td

    import gkl.torch

    mean, logvar = (torch.randn(n, dim, requires_grad=True) for _ in range(2))
    prior = td.Independent(td.Normal(torch.zeros(dim), torch.ones(dim)), 1)

    def posterior() -> td.Independent:
        normal = td.Normal(mean, torch.exp(logvar / 2), validate_args=False)
        return td.Independent(normal, 1, validate_args=False)

    def formula() -> torch.Tensor:
        return -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum(-1)

    return [mean, logvar], {
        "gkl.torch.kl": lambda: gkl.torch.kl(gkl.torch.DiagNormal(mean, logvar=logvar)),
        "gkl.torch.kl_divergence": lambda: gkl.torch.kl_divergence(posterior(), prior),
        "torch.distributions": lambda: td.kl_divergence(posterior(), prior),
        "formula": formula,
        "formula, torch.compile": torch.compile(formula),
    }


def measured(
    n: int, dim: int, target: float, backward: bool, options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of each way, all on the same threads."""
    import torch

    threads = THREADS if n * dim > 1 << 16 else 1
    torch.set_num_threads(threads)
    n //= 8 if options.quick else 1
    values, functions = ways(n, dim)

    def step(function: Callable[[], torch.Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(function().sum(), values)

    calls = {name: step(f) if backward else f for name, f in functions.items()}
    with gkl.num_threads(threads):
        seconds, disturbed = in_turn(calls, options, 1 if threads > 1 else 200)
    return {"n": n, "dim": dim, "backward": backward, "target": target, "threads": threads,
            "disturbed": disturbed, "seconds": seconds}  # fmt: skip


def speeds(rows: list[dict[str, Any]]) -> str:
    """Medians in microseconds, and how many times faster gkl is than torch.distributions."""
    names = list(rows[0]["seconds"])
    lines = []
    for row in rows:
        seconds = row["seconds"]
        median = {name: statistics.median(times) for name, times in seconds.items()}
        line = [f"{row['n']:,} x {row['dim']} f32, {row['threads']} threads"]
        line += ["value and gradients" if row["backward"] else "value"]
        line += [f"{median[name] * 1e6:.4g}" for name in names]
        for name in names[:2]:
            ratios = [s / t for s, t in zip(seconds[names[2]], seconds[name], strict=True)]
            line.append(f"{median[names[2]] / median[name]:.2f}" + spread(ratios))
        lines.append([*line, f"{row['target']:g}" if row["backward"] else ""])
    columns = ["batch", "what", *(f"{name}, us" for name in names)]
    columns += [f"{name} over torch.distributions" for name in names[:2]]
    return markdown([*columns, "target"], lines)


if __name__ == "__main__":
    main()
