# SPDX-License-Identifier: BSD-3-Clause
"""safetensors: the length of a header, the header in JSON, the numbers; mapped by that header."""

from __future__ import annotations

import json
import os
from math import prod
from typing import Any

import numpy as np

from gkl.formats.column import Choose, optional
from gkl.formats.raw import Raw
from gkl.stored import DataError

__all__ = ["columns"]

DTYPES = {"BOOL": "?", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
DTYPES |= {f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind in "UI" for n in (1, 2, 4, 8)}


def columns(path: str, choose: Choose) -> dict[str, Raw]:
    """The tensors that are chosen, in place."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin = 8 + length
        if begin > size:
            raise DataError(f"{path}: truncated or damaged: a header of {length} bytes")
        header = json.loads(file.read(length))
    found = {}
    for name in choose([x for x in header if x != "__metadata__"]):
        entry = header[name]
        shape, (start, stop) = tuple(map(int, entry["shape"])), entry["data_offsets"]
        dtype = _dtype(path, name, entry["dtype"])
        if min((*shape, start)) < 0 or stop - start != prod(shape) * dtype.itemsize:
            raise DataError(f"{path}: damaged: {name} has {stop - start} bytes for shape {shape}")
        if begin + stop > size:
            raise DataError(f"{path}: truncated: {name} ends at {begin + stop} of {size} bytes")
        found[name] = Raw(path, begin + start, shape, dtype)
    return found


def _dtype(path: str, name: str, word: str) -> np.dtype[Any]:
    if word == "BF16":
        return np.result_type(optional("ml_dtypes", path, "safetensors").bfloat16)
    if word not in DTYPES:
        raise DataError(f"{path}: {name} has dtype {word}; real numbers up to float64 are wanted")
    return np.dtype(DTYPES[word])
