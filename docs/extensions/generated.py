# SPDX-License-Identifier: BSD-3-Clause
"""What pages show that comes from the library itself, written to docs/_generated before a build:
the help of the commands, the names of the gufuncs, figures and tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gkl import ufuncs
from gkl.reference import diag, full
from gkl.reference.pairwise import METRICS
from gkl.reference.parts import KINDS, OUTPUTS

DOCS = Path(__file__).parents[1]
FOLDER = DOCS / "_generated"
COMMANDS = ("", "score", "nearest", "bench", "info")
SCRIPTS = ("accuracy", "performance")


def write(name: str, text: str) -> None:
    """A file of that content; one that has it already keeps its date, and pages stay built."""
    path = FOLDER / name
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def run(*words: str | Path) -> str:
    """What Python prints."""
    environment = {**os.environ, "COLUMNS": "88", "PYTHONSAFEPATH": ""}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=DOCS, env=environment, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def command_line() -> str:
    """The help of every command."""
    parts = []
    for command in COMMANDS:
        words = f"gkl {command}".strip()
        text = run("-m", "gkl", *command.split(), "--help")
        parts.append(f"### {words}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def gufuncs() -> str:
    """Every pair of parameterizations, and what there is of each."""
    pairs: dict[str, tuple[str, str | None]] = {}
    names = {f"pairwise_{m}_{pair}" for m in METRICS for pair, (_, q) in diag.PAIRS.items() if q}
    kinds = {"": "nothing: N(0, I)", **{kind: ", ".join(KINDS[kind]) for kind in KINDS}}
    for family in (diag, full):
        pairs |= family.PAIRS
        names |= {f"entropy_{single}" for single in family.SINGLES}
    for pair, (_, q) in pairs.items():
        names |= {
            f"{x.prefix}_{pair}{x.suffix}"
            for x in OUTPUTS
            if (q or x.unit) and (pair in diag.PAIRS or x.suffix != "_per_dim")
        }
    if names != {*ufuncs.__all__}:
        raise ValueError(f"not in the tables: {names ^ {*ufuncs.__all__}}")

    made = [[f"`{x.prefix}_`pair`{x.suffix}`", x.summary] for x in OUTPUTS]
    made += [["`entropy_`single", "Entropy of one Gaussian: the pair's name for p alone"]]
    made += [[f"`pairwise_{name}_`pair", f"{x.subject}, every p against every q, diagonal"]
             for name, x in METRICS.items()]  # fmt: skip
    listed = [[f"`{pair}`", kinds[p], kinds[q or ""]] for pair, (p, q) in pairs.items()]
    tables = [(["gufunc", "gives"], made), (["pair", "scale of p", "scale of q"], listed)]
    return "\n\n".join(markdown(*table) for table in tables) + "\n"


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, [":--"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


class Drawn(SphinxDirective):
    """Figures of docs/plots side by side, in the page's colors, with a caption."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        caption = " ".join(self.content)
        row = nodes.container(classes=["drawn"])
        for name in self.arguments[0].split():
            for scheme in ("light", "dark"):
                uri = f"/_generated/{name}-{scheme}.svg"
                row += nodes.image(uri=uri, alt=f"{name}: {caption}", classes=[f"only-{scheme}"])
        return [row, nodes.paragraph("", caption, classes=["drawn-caption"])]


def write_all(app: Sphinx) -> None:
    FOLDER.mkdir(exist_ok=True)
    write("command_line.md", command_line())
    write("gufuncs.md", gufuncs())
    for name in SCRIPTS:
        run(DOCS / "plots" / f"{name}.py")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("drawn", Drawn)
    app.connect("builder-inited", write_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
