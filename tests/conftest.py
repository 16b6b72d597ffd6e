# SPDX-License-Identifier: BSD-3-Clause
"""Makes sure that the tests see the installed gkl, whichever way pytest was started."""

import functools
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# `python -m pytest` puts the current folder first on sys.path, and there the source folder gkl/
# shadows the installed package without having its compiled core; programs that tests start in
# this folder are kept from doing the same.
if not any(path.suffix in (".so", ".pyd") for path in (ROOT / "gkl").glob("_core*")):
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT]
    os.environ["PYTHONSAFEPATH"] = "1"

try:
    from gkl import _core
except ImportError as error:
    pytest.exit(
        f"cannot import gkl in {sys.executable}: {error}\n"
        f"install it there first: {sys.executable} -m pip install '.[test]'",
        returncode=4,
    )


@pytest.fixture
def run(tmp_path):
    """Run gkl in an empty folder: run(*args, code=0, program=..., **options of the process)."""
    import program

    return functools.partial(program.call, tmp_path)


@pytest.fixture(params=_core.isas())
def isa(request):
    """Every instruction set of this machine, one after the other."""
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)
