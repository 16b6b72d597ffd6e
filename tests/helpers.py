# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of gufuncs, facade and reliability share: operands, layouts, bits."""

import os
import re
import subprocess
import sys

import numpy as np

from gkl import reference

FLOATS = (np.float32, np.float64)


def operand_names(name):
    """The operands of a gufunc, such as mean_p, var_p, weight."""
    return re.findall(r"^(\w+) : array_like", reference.docstring(name), re.MULTILINE)


def core_ndims(gufunc):
    """How many core dimensions each operand has, then each result."""
    return [part.count("d") for part in re.findall(r"\(([^)]*)\)", gufunc.signature)]


def operands(name, batch, d, dtype=np.float64, seed=0):
    """Generic operands of a gufunc, all of this batch shape."""
    rng = np.random.default_rng(seed)
    found = []
    for operand in operand_names(name):
        shape = batch if operand == "weight" else (*batch, d)
        x = rng.normal(size=shape)
        found.append(np.asarray(np.exp(x) if operand[:3] in ("var", "std") else x, dtype))
    return found


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


def python(program, *args, timeout=60, **environment):
    """Run a program in a new interpreter; what it prints."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", program, *map(str, args)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert run.returncode == 0, f"exit code {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout
