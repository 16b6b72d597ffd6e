# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of gufuncs, facade and reliability share: operands, layouts, bits."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gkl import reference

try:
    from ml_dtypes import bfloat16
except ImportError:  # it has no wheels for musl
    bfloat16 = None

FLOATS = (np.float32, np.float64)
HALVES = (np.float16,) if bfloat16 is None else (np.float16, bfloat16)

# those that go through a batch; of every p against every q: test_pairwise.py
BATCH_NAMES = [name for name in reference.names() if not name.startswith("pairwise_")]


# One of each family of outputs, for what need not be tested of every gufunc.
SOME = ["kl_diag_var", "kl_diag_std_logvar_grad", "kl_unit_logvar_vjp", "kl_diag_logvar_parts"]
SOME += ["kl_unit_std_per_dim", "jeffreys_diag_logvar_var", "entropy_diag_std"]
SOME_MATRICES = ["kl_full_cov", "kl_full_tril_precision_grad", "kl_unit_cov_vjp"]
SOME_MATRICES += ["kl_diag_full_std_cov_parts", "jeffreys_full_precision", "entropy_full_cov"]
SOME_MATRICES += ["kl_low_rank_grad", "kl_full_low_rank_cov", "kl_low_rank_diag_var_terms"]

MATRICES = ("cov", "tril", "precision")


def in_checkout(name):
    """The path of a file or folder that is not installed; a module of tests that were copied
    without it is skipped."""
    path = Path(__file__).resolve().parent.parent / name
    if not path.exists():
        pytest.skip(f"{name} is not here: the tests are alone", allow_module_level=True)
    return path


@functools.cache
def operand_names(name):
    """The operands of a gufunc, such as mean_p, var_p, weight."""
    return re.findall(r"^(\w+) : array_like", reference.docstring(name), re.MULTILINE)


def kind_of(operand):
    """What an operand is, such as mean, var or weight."""
    return operand.removesuffix("_p").removesuffix("_q")


def core_ndims(gufunc):
    """How many core dimensions each operand has, then each result."""
    parts = re.findall(r"\(([^)]*)\)", gufunc.signature)
    return [len(part.split(",")) if part else 0 for part in parts]


def through_matrices(name):
    """Is this not a gufunc of diagonal Gaussians?"""
    return any(kind_of(operand) in (*MATRICES, "factor") for operand in operand_names(name))


def sizes(name, vectors, matrices):
    """Batches and d for a gufunc: a matrix of d is as much as a row of d^2."""
    return matrices if through_matrices(name) else vectors


def lower_factors(rng, batch, d):
    """Lower triangular, of positive diagonal, well-conditioned."""
    below = np.tril(rng.normal(size=(*batch, d, d)), -1) / (2 * np.sqrt(max(d, 1)))
    return below + np.eye(d) * np.exp(rng.normal(size=(*batch, 1, d)) / 3)


def parameter(rng, kind, batch, d, rank):
    if kind == "weight":
        return rng.normal(size=batch)
    if kind in MATRICES:
        x = lower_factors(rng, batch, d)
        return x if kind == "tril" else x @ np.swapaxes(x, -1, -2)
    if kind == "factor":
        return rng.normal(size=(*batch, d, rank)) / 2
    x = rng.normal(size=(*batch, d))
    return np.exp(x) if kind in ("var", "std") else x


def operands(name, batch, d, dtype=np.float64, seed=0, ranks=(2, 3)):
    """Generic operands of a gufunc, all of this batch shape; ranks of the factors of p and q."""
    rng = np.random.default_rng(seed)
    return [
        np.asarray(parameter(rng, kind_of(x), batch, d, ranks[x.endswith("_q")]), dtype)
        for x in operand_names(name)
    ]


def spoil_upper(name, arrays, wrong=np.nan):
    """The same operands with something else above the diagonals, which is not read."""
    return [
        np.where(np.tri(x.shape[-1], dtype=bool), x, x.dtype.type(wrong))
        if kind_of(operand) in MATRICES else x
        for operand, x in zip(operand_names(name), arrays, strict=True)
    ]  # fmt: skip


def twin(name, *arrays):
    return reference.twin(name)(*arrays)


def several(found):
    return found if isinstance(found, tuple) else (found,)


def same_bits(found, expected, message=""):
    """Arrays or tuples of them: the same types, shapes and bytes."""
    for i, (x, y) in enumerate(zip(several(found), several(expected), strict=True)):
        where = f"{message}: result {i}"
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape), where
        if x.tobytes() != y.tobytes():
            np.testing.assert_array_equal(x, y, where)
            np.testing.assert_array_equal(np.signbit(x), np.signbit(y), where)


def close(found, expected, dtype, message=""):
    """Results near those of a twin, which loses digits where p is near q."""
    tolerance = 1e-11 if dtype == np.float64 else 1e-3
    for x, y in zip(several(found), several(expected), strict=True):
        np.testing.assert_allclose(x, y, tolerance, tolerance, err_msg=message)


def in_layout(x, how):
    """The same numbers in another place: at other strides, or at an odd address."""
    if how in ("C", "F"):
        return np.array(x, order=how)
    if how == "unaligned":
        room = np.empty(x.nbytes + 1, np.uint8)
        y = np.ndarray(x.shape, x.dtype, room.data, offset=1)
    else:
        step = {"every third": 3, "backwards": -1, "every second backwards": -2}[how]
        room = np.empty([n * abs(step) for n in x.shape], x.dtype)
        y = room[(*(slice(None, None, step) for _ in x.shape), ...)]
    y[...] = x
    return y


LAYOUTS = ("C", "F", "unaligned", "every third", "backwards", "every second backwards")


def python(program, *args, timeout=60, cwd=None, **environment):
    """Run a program in a new interpreter, in another folder if one is given; what it prints."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", program, *map(str, args)],
        env=os.environ | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert run.returncode == 0, f"exit code {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout
