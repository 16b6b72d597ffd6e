# SPDX-License-Identifier: BSD-3-Clause
"""The Python of README and docs runs and prints what they show."""

import contextlib
import io
import re

import numpy as np
import pytest
from helpers import in_checkout

ROOT = in_checkout("README.md").parent
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "docs" / "vae.md"]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```python\n(.*?)```\s*```text\n(.*?)```", page.read_text(), re.S)
]
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


@pytest.mark.parametrize(("code", "shown"), BLOCKS)
def test_a_block_prints_what_is_shown(code, shown, monkeypatch):
    for library in ("torch", "jax"):
        if f"import {library}" in code:
            pytest.importorskip(library)
    monkeypatch.chdir(ROOT)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "the block", "exec"), {})
    found = printed.getvalue()
    assert NUMBER.sub("#", found).split() == NUMBER.sub("#", shown).split()
    numbers = [np.array(NUMBER.findall(x), float) for x in (found, shown)]
    # rounding differs between instruction sets, and with it the errors of the accuracy example
    tolerance = 0.9 if "error" in shown and "median" in shown else 1e-6
    np.testing.assert_allclose(*numbers, rtol=tolerance)


def test_there_are_such_blocks():
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    for name in re.findall(r'src="([^"]*)"|\]\(((?!http)[^)#]*)\)', page.read_text()):
        assert (page.parent / "".join(name)).exists(), name


def test_quick_start_is_two_lines():
    start = re.search(r"^## Quick start.*?^```sh\n(.*?)^```", TEXT, re.S | re.M)
    assert start
    assert len(start[1].splitlines()) == 2
