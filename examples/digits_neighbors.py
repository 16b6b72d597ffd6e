# SPDX-License-Identifier: BSD-3-Clause
"""Retrieval: for each handwritten digit the ones that a VAE believes to be alike.

The posteriors in ``data/digits_posteriors.npz``, which ``vae_digits.py`` made, are Gaussians, not
points: the divergence of one from another counts how far apart two means are in units of how sure
the encoder is.  Each digit's label is guessed by a vote of its nearest neighbors, once by KL, once
by the usual Euclidean distance of the means:

    python examples/digits_neighbors.py [-k 10]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import gkl

DATA = Path(__file__).resolve().parent / "data" / "digits_posteriors.npz"
Array = np.ndarray[Any, np.dtype[Any]]


def vote(index: Array, labels: Array) -> Array:
    """The most frequent label among the neighbors of each, of equals the smallest."""
    counts = np.zeros((len(index), labels.max() + 1), int)
    np.add.at(counts, (np.arange(len(index))[:, np.newaxis], labels[index]), 1)
    return counts.argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Nearest neighbors of digits by KL divergence.")
    parser.add_argument("-k", type=int, default=10, help="neighbors that vote (10)")
    options = parser.parse_args()
    with np.load(DATA) as data:
        posteriors = gkl.DiagNormal(data["mean"], logvar=data["logvar"])
        labels = data["labels"].astype(int)
    means = gkl.DiagNormal(posteriors.mean, var=1.0)  # half the squared Euclidean distance

    ways = {
        "KL(digit || neighbor)": (posteriors, "kl"),
        "KL(neighbor || digit)": (posteriors, "reverse_kl"),
        "Jeffreys": (posteriors, "jeffreys"),
        "squared Wasserstein": (posteriors, "wasserstein2"),
        "Euclidean, of the means": (means, "kl"),
    }
    print(f"{len(labels)} digits, labels by a vote of the {options.k} nearest others")
    for name, (gaussians, metric) in ways.items():
        _, index = gkl.nearest(gaussians, gaussians, options.k, metric=metric, exclude_self=True)
        right = float(np.mean(vote(index, labels) == labels))
        precision = float(np.mean(labels[index] == labels[:, np.newaxis]))
        print(f"{name:24} {100 * right:5.1f} % right, {100 * precision:5.1f} % of neighbors alike")


if __name__ == "__main__":
    main()
