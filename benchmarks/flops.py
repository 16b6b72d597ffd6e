# SPDX-License-Identifier: BSD-3-Clause
"""Operations of a dimension of each diagonal kernel, counted in its own source (flops.cpp).

python benchmarks/flops.py    prints benchmarks/results/flops.json
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["counted"]

HERE = Path(__file__).parent


def counted() -> dict[str, Any]:
    """By pair of parameterizations, type and output; needs a C++ compiler."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "flops")
        command = [os.environ.get("CXX", "c++"), "-std=gnu++17", "-w", "-fpermissive"]
        command += [f"-I{HERE.parent / 'src_c'}", str(HERE / "flops.cpp"), "-o", str(program)]
        subprocess.run(command, check=True, capture_output=True)
        found: dict[str, Any] = json.loads(subprocess.check_output([program]))
    return found


if __name__ == "__main__":
    print(json.dumps(counted(), indent=1))
