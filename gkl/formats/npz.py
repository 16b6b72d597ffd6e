# SPDX-License-Identifier: BSD-3-Clause
"""An npz archive, of which the members that are wanted are loaded whole and checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkl.formats.column import Choose
from gkl.stored import DataError

__all__ = ["columns"]


def columns(path: str, choose: Choose) -> dict[str, NDArray[Any]]:
    """The members that are chosen."""
    arrays = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in choose(archive.files):
            arrays[name] = archive[name]
            if not isinstance(arrays[name], np.ndarray):
                raise DataError(f"{path}: {name} is not an array")
    return arrays
