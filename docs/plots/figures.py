# SPDX-License-Identifier: BSD-3-Clause
"""What the figures share: two color schemes, one file for each, names of the libraries' colors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["COLORS", "FOLDER", "draw", "table"]

FOLDER = Path(__file__).parents[1] / "_generated"
INK = {"light": ("#1f2328", "#d0d7de"), "dark": ("#d8dee4", "#444c56")}  # text, grid
COLORS = {"gkl": "#2f81f7", "usual": "#e0683c", "other": "#3fa35b", "roof": "#8b949e"}


def draw(name: str, paint: Callable[[Figure], Any], size: tuple[float, float]) -> None:
    """Write name-light.svg and name-dark.svg: paint(figure), on a transparent ground."""
    FOLDER.mkdir(exist_ok=True)
    for scheme, (ink, grid) in INK.items():
        colors = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color"), ink)
        colors |= {"ytick.color": ink, "axes.edgecolor": ink, "grid.color": grid}
        style = {"font.size": 9, "svg.hashsalt": name, "axes.grid": True, "grid.linewidth": 0.6}
        style |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
        with mpl.rc_context({**style, **colors, "axes.facecolor": "none"}):
            figure = Figure(figsize=size, layout="constrained")
            paint(figure)
            path = FOLDER / f"{name}-{scheme}.svg"
            figure.savefig(path, transparent=True, metadata={"Date": None})


def table(name: str, columns: list[str], rows: list[list[str]], below: str = "") -> None:
    """Write name.md, a Markdown table to be included, and what stands below it."""
    lines = [columns, [":--", *["--:"] * (len(columns) - 1)], *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.md").write_text(f"{text}\n\n{below}\n" if below else text + "\n")
