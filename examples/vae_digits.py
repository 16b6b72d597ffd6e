# SPDX-License-Identifier: BSD-3-Clause
"""A variational autoencoder of handwritten digits, in NumPy alone, its KL term from gkl.

The encoder looks at an image x (8 x 8 pixels) and gives a Gaussian q(z | x) over a few latent
numbers z, by its mean and log-variance; the decoder takes a sample z and gives, for every pixel,
the probability that it is ink.  Training minimizes, over encoder and decoder together,

    loss(x) = E_q(z|x)[ -log p(x | z) ]  +  KL( q(z | x) || N(0, I) )
              reconstruction                what z may tell about x

Back-propagation is written out by hand, so that one sees what the two terms send back.  gkl gives
the second term and its gradients in the mean and log-variance in one call.

Run it with scikit-learn installed, which holds the digits:

    python examples/vae_digits.py
    python examples/vae_digits.py --plot docs/figures       the figures of docs/vae.md
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import gkl
from gkl import vae
from gkl.io import atomic_file

Array = np.ndarray[Any, np.dtype[np.float32]]
DATA = Path(__file__).parent / "data" / "digits_posteriors.npz"
HIDDEN, BATCH, RATE = 64, 100, 3e-3
KL = vae.Beta(1.0)  # the second term as it is; other schemes change what is minimized
FREE = 0.5  # nats of each dimension, in the figures


def initial(rng: np.random.Generator, pixels: int, latent: int) -> dict[str, Array]:
    """Weights of encoder (1, 2) and decoder (3, 4), and biases, which start at zero."""
    sizes = {"1": (pixels, HIDDEN), "2": (HIDDEN, 2 * latent)}
    sizes |= {"3": (latent, HIDDEN), "4": (HIDDEN, pixels)}
    net = {}
    for layer, (n, m) in sizes.items():
        net["w" + layer] = (rng.standard_normal((n, m)) / np.sqrt(n)).astype(np.float32)
        net["b" + layer] = np.zeros(m, np.float32)
    return net


def encode(net: dict[str, Array], x: Array) -> tuple[Array, Array]:
    """The hidden layer, and the posterior's parameters side by side: (n, [mean | logvar])."""
    hidden = np.tanh(x @ net["w1"] + net["b1"])
    return hidden, hidden @ net["w2"] + net["b2"]


def posterior(parameters: Array) -> gkl.DiagNormal:
    """q(z | x) of every image; two views, for gkl reads them where they are."""
    mean, logvar = np.split(parameters, 2, axis=1)
    return gkl.DiagNormal(mean, logvar=logvar)


def loss_and_grad(
    net: dict[str, Array], x: Array, noise: Array, scheme: vae.Scheme = KL
) -> tuple[float, float, dict[str, Array]]:
    """Both terms of the loss, means over the images, and the loss's gradient in every weight."""
    n = len(x)
    # forward
    h1, parameters = encode(net, x)
    q = posterior(parameters)
    std = np.exp(q.logvar / 2)
    z = q.mean + std * noise  # a sample of q that one can differentiate in mean and logvar
    h3 = np.tanh(z @ net["w3"] + net["b3"])
    logits = h3 @ net["w4"] + net["b4"]
    # -log p(x | z): cross-entropy of pixels; log(1 + e^l) - x l
    reconstruction = float(np.sum(np.logaddexp(0, logits) - x * logits)) / n
    kl, kl_grad, _ = vae.objective_and_grad(q, scheme=scheme)  # mean over images, gradients of it

    # backward, last layer first; `down` is the gradient in what a layer gives
    grad: dict[str, Array] = {}
    down = (np.tanh(logits / 2) / 2 + 0.5 - x) / n  # sigmoid(logits) - x
    grad["w4"], grad["b4"] = h3.T @ down, down.sum(0)
    down = down @ net["w4"].T * (1 - h3 * h3)
    grad["w3"], grad["b3"] = z.T @ down, down.sum(0)
    down = down @ net["w3"].T
    # the sample joins both terms: dz/dmean = 1, dz/dlogvar = noise std / 2
    down = np.hstack([down + kl_grad.mean, down * noise * std / 2 + kl_grad.logvar])
    grad["w2"], grad["b2"] = h1.T @ down, down.sum(0)
    down = down @ net["w2"].T * (1 - h1 * h1)
    grad["w1"], grad["b1"] = x.T @ down, down.sum(0)
    return reconstruction, float(kl), grad


def train(
    x: Array, latent: int, epochs: int, seed: int, scheme: vae.Scheme = KL
) -> tuple[dict[str, Array], list[gkl.KLTerms]]:
    """Adam over shuffled batches; prints how the parts of the loss go.

    Gives the weights, and for each epoch the terms of every dimension's KL, means over the images.
    """
    rng = np.random.default_rng(seed)
    net = initial(rng, x.shape[1], latent)
    first = {name: np.zeros_like(w) for name, w in net.items()}  # running means of gradients
    second = {name: np.zeros_like(w) for name, w in net.items()}  # and of their squares
    step, history = 0, []
    print(f"{'epoch':>5} {'loss':>8} {'reconstruction':>15} {'KL':>8} {'active dims':>12}")
    for epoch in range(1, epochs + 1):
        parts = []
        order = rng.permutation(len(x))
        for begin in range(0, len(x), BATCH):
            batch = x[order[begin : begin + BATCH]]
            noise = rng.standard_normal((len(batch), latent), dtype=np.float32)
            reconstruction, kl, grad = loss_and_grad(net, batch, noise, scheme)
            parts.append((reconstruction * len(batch), kl * len(batch)))
            step += 1
            for name, g in grad.items():
                first[name] += 0.1 * (g - first[name])
                second[name] += 0.001 * (g * g - second[name])
                mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                net[name] -= RATE * mean / (np.sqrt(square) + 1e-8)
        statistics = vae.KLStatistics()
        statistics.update(posterior(encode(net, x)[1]))
        history.append(statistics.mean)
        if epoch == 1 or epoch % max(1, epochs // 10) == 0:
            reconstruction, kl = np.sum(parts, axis=0) / len(x)
            # a dimension whose posterior is the prior for every image says nothing: it is
            # collapsed, and its KL is near 0, which is where gkl is still exact
            active = f"{np.count_nonzero(statistics.mean.kl > 0.01)} of {latent}"
            total = reconstruction + kl
            print(f"{epoch:5} {total:8.3f} {reconstruction:15.3f} {kl:8.3f} {active:>12}")
    return net, history


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a VAE on digits and save its posteriors.")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--latent", type=int, default=10, help="dimensions of z")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DATA, help="npz for mean, logvar and labels")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="only draw figures there")
    args = parser.parse_args()

    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    if args.plot:
        import vae_plot  # beside this file; it needs matplotlib

        schemes = KL, vae.FreeBits(FREE)
        runs = [train(x, args.latent, args.epochs, args.seed, scheme)[1] for scheme in schemes]
        vae_plot.draw(*runs, FREE, args.plot)
        return
    net, history = train(x, args.latent, args.epochs, args.seed)

    q = posterior(encode(net, x)[1])
    print("KL of each dimension:", " ".join(f"{k:.2g}" for k in np.sort(history[-1].kl)[::-1]))
    labels = digits.target.astype(np.uint8)
    with atomic_file(args.out) as file:
        np.savez(file, mean=q.mean, logvar=q.logvar, labels=labels)
    print(f"{len(x)} posteriors: {args.out}")


if __name__ == "__main__":
    main()
