# SPDX-License-Identifier: BSD-3-Clause
"""The programs of README and docs, and the commands of README, run and print what they show."""

import contextlib
import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import in_checkout

ROOT = in_checkout("README.md").parent
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md"]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("derivations/*.md"))]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```python\n([^`]*)```\s*```text\n(.*?)```", page.read_text(), re.S)
]
# of the first two, in one block, the first prints what stands below it, the other is the tests
COMMANDS = re.findall(
    r"```sh\n([^`]*)```(?:\s*|\n\nThe first prints\n\n)```text\n(.*?)```", TEXT, re.S
)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def compare(found, shown, tolerance):
    """The same words, and the same numbers but for rounding."""
    assert NUMBER.sub("#", found).split() == NUMBER.sub("#", shown).split()
    numbers = [np.array(NUMBER.findall(x), float) for x in (found, shown)]
    np.testing.assert_allclose(*numbers, rtol=tolerance)


@pytest.mark.parametrize(("code", "shown"), BLOCKS)
def test_a_block_prints_what_is_shown(code, shown, monkeypatch):
    for library in ("torch", "jax"):
        if f"import {library}" in code:
            pytest.importorskip(library)
    monkeypatch.chdir(ROOT)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "the block", "exec"), {})
    # rounding differs between instruction sets, and with it the errors of the accuracy example
    tolerance = 0.9 if "error" in shown and "median" in shown else 1e-6
    compare(printed.getvalue(), shown, tolerance)


@pytest.mark.parametrize(("commands", "shown"), COMMANDS)
def test_commands_print_what_is_shown(commands, shown, tmp_path):
    """In a folder that has what a clone has; what is installed already is not installed."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name in ("examples", "gkl"):
        (tmp_path / name).symlink_to(ROOT / name)
    commands = "".join(x for x in commands.splitlines(True) if "/pytest" not in x)
    commands = re.sub(r"\.venv/bin/pip install .*?(&&|\n)", "", commands)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, "PYTHONSAFEPATH": ""},  # an example imports what stands beside it
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = re.compile(r"(?m)^elapsed .*$")  # of that machine
    compare(own.sub("", done.stdout), own.sub("", shown), 1e-2)


def test_there_are_such_blocks():
    assert len(BLOCKS) >= 6
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    for name in re.findall(r'src="([^"]*)"|\]\(((?!http)[^)#]*)\)', page.read_text()):
        assert (page.parent / "".join(name)).exists(), name


def test_the_page_of_vaes_has_the_losses_that_are_shown():
    losses = re.findall(r"(?m)^  150 +(\S+) +(\S+)", TEXT)
    assert len(losses) == 2
    page = (ROOT / "docs" / "vae.md").read_text()
    for number in sum(losses, ()):
        assert f"{float(number):.1f}" in page


def test_quick_start_is_two_lines():
    start = re.search(r"^## Quick start.*?^```sh\n(.*?)^```", TEXT, re.S | re.M)
    assert start
    assert len(start[1].splitlines()) == 2
