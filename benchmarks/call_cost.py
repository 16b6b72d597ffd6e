# SPDX-License-Identifier: BSD-3-Clause
"""What a call from C costs beside the kernel itself: one pair of 64 dimensions.

python benchmarks/call_cost.py [--isa ISA] [--json FILE]

Builds libgkl.a and call_cost.c with the compiler of the system.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness import arguments, machine, markdown

import gkl

__all__ = ["costs"]

ROOT = Path(__file__).parents[1]
DIM = 64
LIBRARIES = ["-lm", "-ldl", "-pthread"]
WAYS = ("kernel", "table", "job")


def main() -> None:
    options = arguments("what a call from C costs beside the kernel itself")
    config = gkl.show_config(mode="dicts") or {}
    rows = measured(config["ISA"]["chosen"])
    report = {"machine": machine(), "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(costs(rows))


def measured(isa: str) -> list[dict[str, Any]]:
    """Medians in nanoseconds, of each work by WAYS."""
    with tempfile.TemporaryDirectory() as folder:
        build = ["make", "-s", "-C", str(ROOT / "src_c"), f"BUILD={folder}", "OPENMP=0"]
        subprocess.run([*build, f"{folder}/libgkl.a"], check=True)
        program = f"{folder}/call_cost"
        compiler = os.environ.get("CC", "cc")
        source = [f"-I{ROOT / 'src_c'}", str(ROOT / "benchmarks" / "call_cost.c")]
        command = [compiler, "-O2", *source, f"{folder}/libgkl.a", "-o", program, *LIBRARIES]
        subprocess.run(command, check=True)
        rows: list[dict[str, Any]] = json.loads(subprocess.check_output([program, str(DIM), isa]))
    return rows


def costs(rows: list[dict[str, Any]]) -> str:
    """The table."""
    columns = [f"ns, one pair, d = {DIM}", *(f"alone: {x}" for x in WAYS)]
    lines = [
        [row["work"], *(f"{x:.0f}" for x in (*row["alone"], *row["in a row"]))] for row in rows
    ]
    return markdown([*columns, *(f"in a row: {x}" for x in WAYS)], lines)


if __name__ == "__main__":
    main()
