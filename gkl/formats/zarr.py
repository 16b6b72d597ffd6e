# SPDX-License-Identifier: BSD-3-Clause
"""A zarr group in a folder, of either version, read by whole chunks."""

from __future__ import annotations

import logging
import os
import warnings

import zarr

from gkl.formats.column import Choose, Sliced, one
from gkl.stored import DataError

__all__ = ["columns"]


def columns(path: str, choose: Choose) -> dict[str, Sliced]:
    """The arrays that are chosen."""
    # where a chunk is damaged, zarr leaves tasks behind, of which asyncio would speak at the end
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    group = zarr.open_group(path, mode="r")
    with warnings.catch_warnings():  # of what lies beside the arrays
        warnings.simplefilter("ignore")
        names = choose(list(group))
    again = columns, os.path.abspath(path), names
    found = {}
    for name in names:
        if not isinstance(group[name], zarr.Array):
            raise DataError(f"{path}: {name} is not an array")
        found[name] = Sliced(group[name], (one, (*again, name)))
    return found
