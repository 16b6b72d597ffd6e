# SPDX-License-Identifier: BSD-3-Clause
"""What must come first: the extension, and the instruction set that ``GKL_ISA`` asks for."""

from __future__ import annotations

import os

try:
    from gkl import _core
except ImportError as error:
    if os.path.exists(os.path.join(os.path.dirname(__file__), "_core.pyx")):
        raise ImportError(
            "this is gkl's source folder, and its extension is not built here: "
            "start Python elsewhere, or install with pip install -e ."
        ) from error
    raise

try:
    _core.use_isa(os.environ.get("GKL_ISA") or None)
except ValueError as error:
    raise ImportError(f"GKL_ISA: {error}") from None
