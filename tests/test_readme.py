# SPDX-License-Identifier: BSD-3-Clause
"""The README's Python runs and prints what the README shows."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```\s*```text\n(.*?)```", TEXT, re.S)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


@pytest.mark.parametrize(("code", "shown"), BLOCKS)
def test_a_block_prints_what_is_shown(code, shown):
    for library in ("torch", "jax"):
        if f"import {library}" in code:
            pytest.importorskip(library)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    found = printed.getvalue()
    assert NUMBER.sub("#", found).split() == NUMBER.sub("#", shown).split()
    numbers = [np.array(NUMBER.findall(x), float) for x in (found, shown)]
    # rounding differs between instruction sets, and with it the errors of the accuracy example
    tolerance = 0.9 if "error" in shown and "median" in shown else 1e-6
    np.testing.assert_allclose(*numbers, rtol=tolerance)


def test_there_are_such_blocks():
    assert len(BLOCKS) >= 3


def test_quick_start_is_two_lines():
    start = re.search(r"^## Quick start.*?^```sh\n(.*?)^```", TEXT, re.S | re.M)
    assert start
    assert len(start[1].splitlines()) == 2
