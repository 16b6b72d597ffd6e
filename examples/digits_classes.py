# SPDX-License-Identifier: BSD-3-Clause
"""Which handwritten digits look alike? A Gaussian with full covariance for each, and the KL
divergence of every one from every other.

Each class of scikit-learn's digits (8 x 8 pixels, about 180 images) becomes a Gaussian over its 64
pixels. So few images do not determine 64 x 64 covariances: they are shrunk toward a multiple of
the identity (Ledoit and Wolf, 2004), which also keeps pixels that are always blank from having no
variance.  KL(p || q) is then how many nats a drawing of p loses when it is described as one of q:
where it is small, the two are easily taken for one another.

Run it with scikit-learn installed; with matplotlib, --plot draws the table as a picture, too:

    python examples/digits_classes.py [--plot FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits

import gkl

Array = np.ndarray[Any, np.dtype[np.float64]]
SHADES = "@%#*+=-:. "  # dark: close


def fit(images: Array, labels: Array) -> gkl.FullNormal:
    """A Gaussian for each of the ten digits, prepared: each is used many times."""
    estimates = [LedoitWolf().fit(images[labels == digit]) for digit in range(10)]
    mean = np.stack([estimate.location_ for estimate in estimates])
    cov = np.stack([estimate.covariance_ for estimate in estimates])
    return gkl.FullNormal(mean, cov=cov).prepare()


def divergences(digits: gkl.FullNormal) -> Array:
    """KL(row || column), in nats, of every pair."""
    return np.asarray(gkl.kl(digits[:, np.newaxis], digits[np.newaxis, :]))


def classify(digits: gkl.FullNormal, images: Array) -> Array:
    """The digit whose Gaussian makes each image most likely."""
    delta = images - digits.mean[:, np.newaxis]
    distance = (delta @ np.linalg.inv(digits.cov) * delta).sum(-1)
    return (distance + np.linalg.slogdet(digits.cov)[1][:, np.newaxis]).argmin(0)


def table(kl: Array) -> list[str]:
    """The numbers, and beside them the same as a drawing."""
    levels = np.log(kl + np.diag(np.full(len(kl), kl.max())))  # equal pairs: drawn blank
    steps = (levels - levels.min()) / (levels.max() - levels.min()) * (len(SHADES) - 1)
    head = "".join(f"{digit:6d}" for digit in range(len(kl)))
    lines = ["KL(row || column), nats", f"     {head}"]
    for digit, (row, shade) in enumerate(zip(kl, steps.round().astype(int), strict=True)):
        drawn = "".join(2 * SHADES[i] for i in shade)
        lines.append(f"{digit:4d} " + "".join(f"{x:6.0f}" for x in row) + f"   {drawn}")
    return lines


def closest(distance: Array, count: int) -> list[tuple[int, int]]:
    """The pairs with the least distance, a symmetric matrix."""
    first, second = np.triu_indices(len(distance), 1)
    order = np.argsort(distance[first, second], kind="stable")[:count]
    return [(int(i), int(j)) for i, j in zip(first[order], second[order], strict=True)]


def plot(kl: Array, path: Path) -> None:
    """The table as a picture; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="described as", ylabel="digit", title="KL, nats")
    image = axes.imshow(np.where(kl > 0, kl, np.nan), cmap="viridis_r", norm="log")
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    figure.colorbar(image)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Which handwritten digits look alike?")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the table (matplotlib)")
    options = parser.parse_args()
    images, labels = load_digits(return_X_y=True)
    digits = fit(images, labels)
    kl = divergences(digits)
    print("\n".join(table(kl)))
    if options.plot:
        plot(kl, options.plot)

    jeffreys = np.asarray(gkl.jeffreys(digits[:, np.newaxis], digits[np.newaxis, :]))
    pairs = closest(jeffreys, 3)
    names = ", ".join(f"{i} and {j} ({jeffreys[i, j]:.0f} nats)" for i, j in pairs)
    print(f"\nClosest by Jeffreys divergence, so most easily confused: {names}.")

    half = np.arange(len(images)) % 2 == 0  # fitted to one half, tried on the other
    given = labels[~half]
    taken = classify(fit(images[half], labels[half]), images[~half])
    wrong = taken != given
    mistakes = np.zeros((10, 10), int)
    np.add.at(mistakes, (given[wrong], taken[wrong]), 1)
    i, j = np.unravel_index(mistakes.argmax(), mistakes.shape)
    rank = closest(jeffreys, 45).index((min(i, j), max(i, j))) + 1
    print(
        f"Fitted to every other image, they misread {wrong.sum()} of the {len(given)} others, "
        f"most often {i} as {j} ({mistakes[i, j]} times), by Jeffreys number {rank} of the 45 "
        "pairs: single images are another matter than whole classes."
    )


if __name__ == "__main__":
    main()
