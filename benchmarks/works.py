# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: the works and peers of ``gkl bench``, with torch.compile beside them, and the
ways into gkl for small calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import numpy as np

import gkl
from gkl import bench, ufuncs
from gkl.bench import DTYPES, WORKS, bytes_moved
from gkl.peers import DIAG, Arrays, Call, formula
from gkl.peers_full import FULL

__all__ = [
    "DTYPES",
    "LIBRARIES",
    "LIBRARIES_FULL",
    "PAIRS",
    "SMALL",
    "WORKS",
    "Arrays",
    "available",
    "bytes_moved",
    "check",
    "inputs",
    "make",
    "make_small",
]

SMALL = ("gufunc, out=", "gufunc", "facade")  # the ways into gkl, for small calls
LIBRARIES = (*DIAG, "torch.compile")
LIBRARIES_FULL = tuple(FULL)


def inputs(work: str, rows: int, dim: int, dtype: str, order: str = "C") -> Arrays:
    """Means and scales of p, and of q if the work has one, as matrices of that order."""
    arrays = bench.inputs(work, rows, dim, dtype)
    return arrays if order == "C" else [np.asfortranarray(x) for x in arrays]


def _near_equal(arrays: Arrays) -> Arrays:
    mean_p, cov_p, mean_q, cov_q = arrays
    small = mean_q.dtype.type(1e-3)
    return [mean_q + small * mean_p, cov_q + small * cov_p, mean_q, cov_q]


# how p and q are related, made of unrelated ones
PAIRS: dict[str, Callable[[Arrays], Arrays]] = {
    "unrelated": lambda arrays: arrays,
    "near-equal": _near_equal,
    "one q for all": lambda arrays: [*arrays[:2], *(x[:1] for x in arrays[2:])],
}


def make(library: str, work: str, arrays: Arrays) -> Call:
    """The call of a library, with as many threads as gkl has; its outputs exist already where
    the library can take them.

    Raises
    ------
    ImportError, OSError
        The library is not there.
    """
    if library == "torch.compile":
        return _torch_compile(work, arrays)
    return bench.peers(work)[library](work, arrays)


def available(libraries: Iterable[str], work: str, arrays: Arrays) -> dict[str, Call]:
    """The calls of the libraries that are there, which have run once and agree with gkl."""
    calls: dict[str, Call] = {}
    for name in libraries:
        try:
            calls[name] = make(name, work, arrays)
        except (ImportError, OSError):
            continue
    check(work, arrays, calls.items())
    return calls


def check(work: str, arrays: Arrays, calls: Iterable[tuple[str, Call]]) -> None:
    """See that libraries agree with gkl; every call has run once after that."""
    dtype = "f32" if arrays[0].itemsize == 4 else "f64"
    bench.agree({"gkl": make("gkl", work, arrays), **dict(calls)}, dtype)


def make_small(name: str, arrays: Arrays) -> Call:
    """One call of the gufunc, of the facade, views and all, or of a peer."""
    mean_p, var_p, mean_q, var_q = arrays
    out, kl, view = np.empty(len(mean_p), mean_p.dtype), gkl.kl, gkl.DiagNormal
    if name == "gufunc, out=":
        return lambda: ufuncs.kl_diag_var(mean_p, var_p, mean_q, var_q, out=out)
    if name == "gufunc":
        return lambda: ufuncs.kl_diag_var(mean_p, var_p, mean_q, var_q)
    if name == "facade":
        return lambda: kl(view(mean_p, var=var_p), view(mean_q, var=var_q))
    call = make(name, "pair-var", arrays)
    call()  # compiles
    return call


def _torch_compile(work: str, arrays: Arrays) -> Call:
    """The formula, of gradients, too: nothing is left for autograd to do."""
    torch = import_module("torch")

    torch.set_num_threads(gkl.get_num_threads())
    torch.compiler.reset()  # or the second size would be compiled for all sizes
    tensors: list[Any] = [torch.from_numpy(x) for x in arrays]
    compiled = torch.compile(lambda *tensors: formula(work, tensors, torch), dynamic=False)
    return lambda: compiled(*tensors)
