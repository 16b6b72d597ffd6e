# SPDX-License-Identifier: BSD-3-Clause
"""The autoencoder of handwritten digits of vae_digits.py in torch, its KL term from gkl or torch.

One line makes the difference: kl_divergence of gkl.torch is a drop-in for that of
torch.distributions.  Both train to the same losses, to rounding.

Run it with torch and scikit-learn installed:

    python examples/vae_torch.py [--kl torch]
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch import distributions as td

import gkl.torch

KL = {"gkl": gkl.torch.kl_divergence, "torch": td.kl_divergence}
HIDDEN, BATCH, RATE = 64, 100, 3e-3


class VAE(nn.Module):
    """loss(x) = E_q(z|x)[-log p(x | z)] + KL(q(z | x) || N(0, I))"""

    def __init__(self, pixels: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2 * latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, pixels)
        )
        prior = td.Normal(torch.zeros(latent), torch.ones(latent))
        self.prior = td.Independent(prior, 1)

    def posterior(self, x: Tensor) -> td.Independent:
        """q(z | x) of every image."""
        mean, logvar = self.encoder(x).chunk(2, -1)
        return td.Independent(td.Normal(mean, torch.exp(logvar / 2)), 1)

    def losses(self, x: Tensor, kl: str) -> tuple[Tensor, Tensor]:
        """Both terms, means over the images."""
        q = self.posterior(x)
        logits = self.decoder(q.rsample())
        ink = td.Independent(td.Bernoulli(logits=logits, validate_args=False), 1)
        return -ink.log_prob(x).mean(), KL[kl](q, self.prior).mean()


def train(kl: str, epochs: int = 30, latent: int = 10, seed: int = 0) -> list[tuple[float, float]]:
    """Adam over shuffled batches; the means of both terms in every epoch."""
    torch.manual_seed(seed)
    x = torch.from_numpy(load_digits().data / 16).float()
    vae = VAE(x.shape[1], latent)
    adam = torch.optim.Adam(vae.parameters(), lr=RATE)
    curve = []
    for _ in range(epochs):
        sums = torch.zeros(2)
        for batch in torch.randperm(len(x)).split(BATCH):
            terms = torch.stack(vae.losses(x[batch], kl))
            adam.zero_grad()
            terms.sum().backward()
            adam.step()
            sums += terms.detach() * len(batch)
        reconstruction, divergence = (sums / len(x)).tolist()
        curve.append((reconstruction, divergence))
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a VAE on digits with torch.")
    parser.add_argument("--kl", choices=tuple(KL), default="gkl", help="whose KL divergence")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--latent", type=int, default=10, help="dimensions of z")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{'epoch':>5} {'loss':>8} {'reconstruction':>15} {'KL':>8}")
    curve = train(args.kl, args.epochs, args.latent, args.seed)
    for epoch, (reconstruction, kl) in enumerate(curve, 1):
        if epoch == 1 or epoch % max(1, args.epochs // 10) == 0:
            print(f"{epoch:5} {reconstruction + kl:8.3f} {reconstruction:15.3f} {kl:8.3f}")


if __name__ == "__main__":
    main()
