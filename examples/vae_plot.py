# SPDX-License-Identifier: BSD-3-Clause
"""The figures of docs/vae.md, from what ``vae_digits.py --plot`` has recorded; with matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gkl
from gkl.io import atomic_file

try:
    import matplotlib

    matplotlib.use("Agg")  # files alone, no screen
    import matplotlib.pyplot as plt
    from PIL import Image  # comes with matplotlib
except ImportError as error:
    raise ImportError("matplotlib draws the figures: pip install 'gkl[plot]'") from error

BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"  # of Okabe and Ito
COLLAPSED = 0.01  # nats
SIZE = (7.2, 4.5)  # inches: legible at half the width of a page
STYLE = {"font.size": 14, "axes.spines.top": False, "axes.spines.right": False}


def draw(kl: list[gkl.KLTerms], free: list[gkl.KLTerms], nats: float, folder: Path) -> None:
    """The terms of every dimension, epoch by epoch: with the KL as it is, and with so many nats
    free to each dimension."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = {"the KL as it is": kl, f"{nats} nats free to each": free}
    with plt.rc_context(STYLE):
        save(terms(kl), folder / "vae_terms.png")
        save(dimensions(runs), folder / "vae_dimensions.png")
        save(collapse(runs, nats), folder / "vae_collapse.png")


def terms(history: list[gkl.KLTerms]) -> Any:
    """What each term adds to the KL."""
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    lines = {
        "KL, their sum": ([x.kl.sum() for x in history], BLACK, 1.5),
        "log-determinant": ([x.logdet.sum() / 2 for x in history], GREEN, 3),
        "Mahalanobis": ([x.mahalanobis.sum() / 2 for x in history], BLUE, 3),
        "trace": ([(x.trace - x.dim).sum() / 2 for x in history], ORANGE, 3),
    }
    ends = np.array([y[-1] for y, _, _ in lines.values()])
    heights = apart(ends, np.ptp(ends) / 12)
    for height, (name, (y, color, width)) in zip(heights, lines.items(), strict=True):
        axes.plot(epochs(history), y, color=color, lw=width, zorder=2 + (color == BLACK))
        axes.annotate(name, (len(history), height), xytext=(6, 0), textcoords="offset points",
                      color=color, va="center", annotation_clip=False)  # fmt: skip
    axes.axhline(0, color="0.6", lw=1, zorder=0)
    label(axes, history, "part of the KL (nats)")
    return figure


def dimensions(runs: dict[str, list[gkl.KLTerms]]) -> Any:
    """The share of each dimension in the KL, the largest at the bottom."""
    figure, both = plt.subplots(1, 2, figsize=SIZE, sharey=True, layout="constrained")
    for axes, (title, history) in zip(both, runs.items(), strict=True):
        share = by_size(history)
        shades = plt.get_cmap("cividis")(np.linspace(0, 1, len(share)))
        axes.stackplot(epochs(history), share, colors=shades, edgecolor="white", linewidth=0.6)
        axes.set_title(title, fontsize=14)
        label(axes, history, "KL, by dimension (nats)" if axes is both[0] else "")
    return figure


def collapse(runs: dict[str, list[gkl.KLTerms]], nats: float) -> Any:
    """The KL of each dimension; those that have collapsed stand out."""
    figure, both = plt.subplots(1, 2, figsize=SIZE, sharey=True, layout="constrained")
    for axes, (title, history) in zip(both, runs.items(), strict=True):
        kl = by_size(history)
        collapsed = kl[:, -1] < COLLAPSED
        for y, is_collapsed in zip(kl, collapsed, strict=True):
            axes.plot(epochs(history), y, color=ORANGE if is_collapsed else BLUE, lw=1.5)
        axes.set(title=title, yscale="log")
        axes.title.set_fontsize(14)
        label(axes, history, "KL of each dimension (nats)" if axes is both[0] else "")
        if collapsed.any():
            axes.text(0.05, 0.05, f"{collapsed.sum()} collapsed", color=ORANGE,
                      transform=axes.transAxes)  # fmt: skip
        if not collapsed.all():
            axes.text(len(history), kl[~collapsed, -1].min() / 1.5, f"{(~collapsed).sum()} active",
                      color=BLUE, ha="right", va="top")  # fmt: skip
    both[1].axhline(nats, color=BLACK, lw=1.5, ls="--")
    both[1].text(len(history) / 20, nats / 1.5, "free below", ha="left", va="top")
    both[0].yaxis.set_major_formatter("{x:g}")
    return figure


def apart(heights: Any, gap: float) -> Any:
    """The same heights, moved to be at least a gap apart."""
    order = np.argsort(heights)
    moved = heights[order].astype(float)
    for _ in range(100):
        close = np.maximum(gap - np.diff(moved), 0) / 2
        moved[:-1] -= close
        moved[1:] += close
    return moved[np.argsort(order)]


def by_size(history: list[gkl.KLTerms]) -> Any:
    """The KL of dimensions by epochs, the largest at the end first."""
    kl = np.array([x.kl for x in history]).T
    return kl[np.argsort(-kl[:, -1])]


def epochs(history: list[gkl.KLTerms]) -> Any:
    return np.arange(1, len(history) + 1)


def label(axes: Any, history: list[gkl.KLTerms], text: str) -> None:
    axes.set(xlabel="epoch", ylabel=text, xlim=(1, max(len(history), 2)))


def save(figure: Any, path: Path) -> None:
    """A PNG of few colors, which is small."""
    figure.set_dpi(120)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).quantize(64)
    plt.close(figure)
    with atomic_file(path) as file:
        picture.save(file, format="png", optimize=True)
    print(path)
