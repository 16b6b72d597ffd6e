# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians of every structure, and NumPy's word on them: the textbook formulas with inverses."""

import itertools

import numpy as np
import pytest

import gkl
from gkl import DiagNormal, FullNormal, LowRankNormal

DIAG = ("var", "std", "logvar")
FULL = ("cov", "tril", "precision")
LOW_RANK = ("low_rank",)
EVERY = (*DIAG, *FULL, *LOW_RANK)
OTHERS = (*FULL, *LOW_RANK)
CORE = dict.fromkeys(("cov", "tril", "precision", "factor"), 2)  # axes that are not the batch's
PAIRS = [x for x in itertools.product(EVERY, (*EVERY, None)) if {*x} & {*OTHERS}]
SOME = [("cov", "cov"), ("tril", "precision"), ("cov", "var"), ("logvar", "tril"), ("cov", None),
        ("low_rank", "low_rank"), ("low_rank", "std"), ("var", "low_rank"), ("low_rank", "cov"),
        ("precision", "low_rank"), ("low_rank", None)]  # fmt: skip
VALUES = {"kl": gkl.kl, "jeffreys": gkl.jeffreys, "cross_entropy": gkl.cross_entropy}


def gaussian(kind, batch=(), d=4, dtype=np.float64, seed=0, mean=None, scale=None, rank=2):
    """Well-conditioned; `mean` and `scale` are other batch shapes for these."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(*(batch if mean is None else mean), d)).astype(dtype)
    scale_batch = batch if scale is None else scale
    if kind == "low_rank":
        factor = rng.normal(size=(*scale_batch, d, rank)).astype(dtype)
        var = np.exp(rng.normal(size=(*scale_batch, d)) / 2).astype(dtype)
        return LowRankNormal(mean, factor=factor, var=var)
    if kind in DIAG:
        x = rng.normal(size=(*scale_batch, d))
        return DiagNormal(mean, **{kind: (x if kind == "logvar" else np.exp(x / 2)).astype(dtype)})
    a = rng.normal(size=(*scale_batch, d, d))
    cov = a @ a.swapaxes(-1, -2) / max(d, 1) + np.eye(d)
    x = {"cov": lambda: cov, "tril": lambda: np.linalg.cholesky(cov) if d else cov,
         "precision": lambda: np.linalg.inv(cov) if d else cov}[kind]()  # fmt: skip
    return FullNormal(mean, **{kind: x.astype(dtype)})


def rebuilt(x, change):
    """The same Gaussian with change(parameter, name) in each parameter's place."""
    return x and type(x)(**{name: change(y, name) for name, y in x.parameters.items()})


def arrays(*gaussians):
    return tuple(y for x in gaussians if x is not None for y in x.parameters.values())


def transposed(x):
    return np.swapaxes(x, -1, -2)


def lower(x):
    return np.tril(np.asarray(x, np.float64))


def dense(x, d):
    """Mean and covariance in float64, from the lower triangles alone; None is N(0, I)."""
    if x is None:
        return np.zeros(d), np.eye(d)
    scale = np.asarray(getattr(x, x.parameter), np.float64)
    if x.structure != "full":
        var = {"var": lambda: scale, "std": lambda: scale**2, "logvar": lambda: np.exp(scale)}
        cov = (np.broadcast_to(var[x.parameter](), (*scale.shape[:-1], d))[..., None]) * np.eye(d)
        if x.structure == "low_rank":
            factor = np.asarray(x.factor, np.float64)
            cov = cov + factor @ transposed(factor)
    elif x.parameter == "tril":
        cov = lower(scale) @ transposed(lower(scale))
    else:
        cov = lower(scale) + transposed(np.tril(lower(scale), -1))
        cov = np.linalg.inv(cov) if x.parameter == "precision" else cov
    mean = np.asarray(x.mean, np.float64)
    return np.broadcast_to(mean, (*mean.shape[:-1], d)), cov


def pair_of(p, q):
    d = p.dim if q is None else max(p.dim, q.dim)
    (mean_p, cov_p), (mean_q, cov_q) = dense(p, d), dense(q, d)
    return mean_p - mean_q, cov_p, cov_q, np.linalg.inv(cov_q), d


def terms(p, q):
    """mahalanobis, trace, logdet."""
    delta, cov_p, cov_q, inverse, _ = pair_of(p, q)
    logdet = np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]
    mahalanobis = np.einsum("...i,...ij,...j->...", delta, inverse, delta)
    trace = np.einsum("...ij,...ji->...", inverse, cov_p)
    return np.broadcast_arrays(mahalanobis, trace, logdet)


def kl(p, q):
    mahalanobis, trace, logdet = terms(p, q)
    return (mahalanobis + trace + logdet - pair_of(p, q)[-1]) / 2


def entropy(p):
    cov = dense(p, p.dim)[1]
    each = (p.dim * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(cov)[1]) / 2
    return np.broadcast_to(each, p.batch_shape)


def in_terms_of(name, own, by_cov, cov):
    """The gradient in a parameter of this name, from that in the covariance."""
    diagonal = np.diagonal(by_cov, axis1=-2, axis2=-1)
    found = {
        "var": lambda: diagonal,
        "std": lambda: 2 * own * diagonal,
        "logvar": lambda: np.exp(own) * diagonal,
        "cov": lambda: by_cov,
        "tril": lambda: 2 * np.tril(by_cov @ lower(own)),
        "precision": lambda: -cov @ by_cov @ cov,
        "factor": lambda: 2 * by_cov @ own,
    }
    return found[name]()


def gradients(p, q, weight=1.0):
    """Of sum(weight kl) in every parameter of p, then of q, in its shape."""
    delta, cov_p, cov_q, inverse, d = pair_of(p, q)
    batch = kl(p, q).shape
    weight = np.broadcast_to(weight, batch)
    by_mean = np.einsum("...ij,...j->...i", inverse, delta)
    by_cov_p = (inverse - np.linalg.inv(cov_p)) / 2
    spread = cov_p + delta[..., :, None] * delta[..., None, :]
    by_cov_q = (inverse - inverse @ spread @ inverse) / 2
    found = []
    for x, mean, by_cov, cov in ((p, by_mean, by_cov_p, cov_p), (q, -by_mean, by_cov_q, cov_q)):
        for name, parameter in x.parameters.items() if x else ():
            own = np.asarray(parameter, np.float64)
            gradient = mean if name == "mean" else in_terms_of(name, own, by_cov, cov)
            core = (d, *own.shape[-1:])[-2:] if name in CORE else (d,)
            w = weight[(..., *(None,) * len(core))]
            found.append(sum_to(w * np.broadcast_to(gradient, (*batch, *core)), own.shape))
    return found


def sum_to(x, shape):
    """Summed over what is repeated."""
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return x.sum(axis=axes, keepdims=True)


def over(pairs):
    """A test for each pair of kinds."""
    return pytest.mark.parametrize("kinds", pairs, ids=["-".join(map(str, x)) for x in pairs])


def pair(kinds, batch=(), **more):
    p, q = kinds
    return gaussian(p, batch, **more), q and gaussian(q, batch, seed=1, **more)


def near(found, expected, dtype=np.float64, message=""):
    """To within the digits that NumPy's formulas keep."""
    tolerance = 1e-10 if dtype == np.float64 else 2e-4
    expected = np.asarray(expected)
    scale = np.abs(expected).max(initial=1)
    assert np.shape(found) == expected.shape, message
    np.testing.assert_allclose(found, expected, tolerance, tolerance * scale, err_msg=message)


def all_near(found, expected, dtype=np.float64):
    for x, y in zip(found, expected, strict=True):
        near(x, y, dtype)


def repeated(kinds, shapes, **more):
    """p and q with parameters of these batches."""
    p = gaussian(kinds[0], mean=shapes[0], scale=shapes[1], **more)
    q = kinds[1] and gaussian(kinds[1], mean=shapes[2], scale=shapes[3], seed=1, **more)
    return p, q


def spoiled(kind):
    """A batch of 3 x 4 with two bad items, and what is said of the first."""
    p = gaussian(kind, (3, 4))
    if kind == "low_rank":
        p.var[1, 2, 3] = 0
        p.factor[2, 0, 1, 1] = np.inf
        return p, "p.var[1, 2, 3] = 0.0 is not positive"
    x = getattr(p, kind)
    x[2, 0, 2, 1] = np.nan
    if kind == "tril":
        x[1, 2, 1, 1] = -1
        return p, "p.tril[1, 2, 1, 1] = -1.0 is not positive"
    x[1, 2, 2, :3] = x[1, 2, :3, 2] = [0, 0, -3]
    return p, f"p.{kind}[1, 2] is not positive definite (leading minor 3)"
