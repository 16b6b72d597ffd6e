# SPDX-License-Identifier: BSD-3-Clause
"""The command line, run as a program, for its tests; the fixture `run` is in conftest.py."""

import json
import subprocess
import sys

CLI = [sys.executable, "-m", "gkl"]


def prepared(statement):
    """The same program in a process that does something else first."""
    program = f"import sys\n{statement}\nfrom gkl.cli import main\nsys.exit(main())"
    return [sys.executable, "-c", program]


def call(folder, *args, code=0, program=CLI, **options):
    """What gkl prints in a folder; every refusal is one line on stderr, without a traceback."""
    done = subprocess.run(
        [*program, *map(str, args)], cwd=folder, text=True, capture_output=True, **options
    )
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.startswith("gkl: error: ")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
    else:
        assert done.stderr == ""
    assert not list(folder.glob(".gkl-*")), "a temporary file is left"
    return done.stderr if code else done.stdout


def score(run, *args):
    """The report of gkl score."""
    return json.loads(run("score", *args, "--json"))
