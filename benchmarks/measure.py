# SPDX-License-Identifier: BSD-3-Clause
"""Every table in turn, and what they measure to JSON files: those that the pages are made of.

python benchmarks/measure.py [--folder DIR] [--quick] [--rounds N] [--patience MINUTES] ...

The other options are those of the tables; docs/plots/performance.py draws the figures of a
folder, and tests/test_measured.py names what README.md and benchmarks/README.md have otherwise.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TABLES = {
    "table": None,
    "table_full": None,
    "table_pairwise": None,
    "table_torch": "torch",
    "table_parameters": "ml_dtypes",
    "call_cost": None,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="every table in turn, to a folder of JSON files")
    parser.add_argument("--folder", type=Path, default=HERE / "results")
    options, rest = parser.parse_known_args()
    options.folder.mkdir(exist_ok=True)
    for name, needs in TABLES.items():
        if needs and importlib.util.find_spec(needs) is None:
            print(f"{name}: {needs} is not installed", file=sys.stderr)
            continue
        file = options.folder / f"{name}.json"
        subprocess.run([sys.executable, HERE / f"{name}.py", *rest, "--json", file], check=True)
    with open(options.folder / "flops.json", "w") as file:
        subprocess.run([sys.executable, HERE / "flops.py"], stdout=file, check=True)


if __name__ == "__main__":
    main()
