# SPDX-License-Identifier: BSD-3-Clause
"""Integrals of Gaussian densities by the trapezoidal rule, and their derivatives.

For an analytic integrand that falls off as a Gaussian of standard deviation s, the sum over a grid
of step h s has a relative error of about exp(-2 pi^2/h^2), and what is cut off beyond r s is about
exp(-r^2/2).  Nothing here knows a closed form.
"""

import itertools

import numpy as np
from exact import MP

STEP, REACH = MP.mpf("0.35"), 16  # 1e-70 and 1e-55
SMALL = MP.mpf(10) ** -14
COARSE, NEAR = 0.5, 9  # 1e-34 and 1e-17: of double
COMPLEX_STEP = 1e-30

# ---- one dimension, to many digits


def log_density(x, mu, v):
    return -((x - mu) ** 2) / (2 * v) - MP.log(2 * MP.pi * v) / 2


def integral(f, *gaussians, reach=REACH):
    """Of f(x) over the line, where f falls off at least as fast as the widest of the Gaussians."""
    widest = max(MP.sqrt(v) for _, v in gaussians)
    step = STEP * min(MP.sqrt(v) for _, v in gaussians)
    first = min(mu for mu, _ in gaussians) - reach * widest
    last = max(mu for mu, _ in gaussians) + reach * widest
    return step * MP.fsum(f(first + k * step) for k in range(int((last - first) / step) + 1))


def mean(f, mu, v):
    """Of f(x) under N(mu, v)."""
    return integral(lambda x: MP.exp(log_density(x, mu, v)) * f(x), (mu, v))


def cross_entropy(p, q):
    return -mean(lambda x: log_density(x, *q), *p)


def kl(p, q):
    return mean(lambda x: log_density(x, *p) - log_density(x, *q), *p)


def slope(f, x):
    """The derivative of f, to 28 digits."""
    return (f(x + SMALL) - f(x - SMALL)) / (2 * SMALL)


# ---- several dimensions, in double


def log_densities(x, mu, s):
    apart = x - mu
    square = np.einsum("ni,ij,nj->n", apart, np.linalg.inv(s), apart)
    return -(square + np.log(np.linalg.det(s)) + len(mu) * np.log(2 * np.pi)) / 2


def grid(mu, s):
    """Points about N(mu, s), along its axes, and the volume that belongs to each."""
    z = np.arange(-NEAR, NEAR + COARSE / 2, COARSE)
    points = np.array([*itertools.product(z, repeat=len(mu))])
    values, axes = np.linalg.eigh(s)
    stretch = axes * np.sqrt(values)
    return mu + points @ stretch.T, COARSE ** len(mu) * abs(np.linalg.det(stretch))


def mean_full(f, mu, s, over=None):
    """Of f(x) under N(mu, s), on the grid of N(*over)."""
    x, volume = grid(*(over or (mu, s)))
    return volume * (np.exp(log_densities(x, mu, s)) * f(x)).sum()


def cross_entropy_full(p, q):
    return -mean_full(lambda x: log_densities(x, *q), *p)


def kl_full(p, q, over=None):
    return mean_full(lambda x: log_densities(x, *p) - log_densities(x, *q), *p, over)


def gradient(f, x, symmetric=False, lower=False):
    """Of f in every element of the array x, by steps along the imaginary axis, which round nothing
    away; of symmetric matrices two elements at once, of lower ones those that may move."""
    found = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        if lower and at[0] < at[1]:
            continue
        moved = x.astype(complex)
        moved[at] += 1j * COMPLEX_STEP
        if symmetric and at[0] != at[1]:
            moved[at[::-1]] += 1j * COMPLEX_STEP
        found[at] = f(moved).imag / COMPLEX_STEP / (1 + (symmetric and at[0] != at[1]))
    return found
