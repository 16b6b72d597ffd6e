# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of gkl.jax share: Gaussians in gkl and there, what is expected, types."""

import itertools

import numpy as np
import pytest
from gaussians import DIAG, EVERY, SOME, gaussian

import gkl

jax = pytest.importorskip("jax", minversion="0.10.2")
import jax.numpy as jnp  # noqa: E402

import gkl.jax as gj  # noqa: E402
from gkl.tensors import CORES  # noqa: E402

CLASSES = {"diag": gj.DiagNormal, "full": gj.FullNormal, "low_rank": gj.LowRankNormal}
ALL_PAIRS = list(itertools.product(EVERY, (*EVERY, None)))
PAIRS = [*SOME, ("logvar", None), ("var", "std"), ("std", "logvar")]
SECOND = [("logvar", "var"), ("tril", "cov"), ("low_rank", "precision"), ("std", None)]
# batches of mean_p, scale_p, mean_q, scale_q
BATCHES = {
    "one": [()] * 4,
    "alike": [(4,)] * 4,
    "one q for all": [(4,), (4,), (), ()],
    "one p for all": [(), (), (4,), (4,)],
    "each with each": [(3, 1), (3, 1), (2,), (1, 2)],
    "all different": [(2, 1, 1), (3, 1), (2,), ()],
    "none": [(0,), (0,), (), (1,)],
}


@pytest.fixture(params=[np.float32, np.float64], ids=["f32", "f64"])
def dtype(request):
    with jax.enable_x64(request.param == np.float64):
        yield request.param


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def pair(kinds, batches=((4,),) * 4, d=4, dtype=np.float64):
    """p and q of gkl."""
    return [
        kind and gaussian(kind, d=d, dtype=dtype, seed=seed, mean=mean, scale=scale)
        for seed, kind, mean, scale in zip((0, 1), kinds, batches[::2], batches[1::2], strict=True)
    ]


def moved(x):
    """A Gaussian of gkl as one of gkl.jax."""
    if x is None:
        return None
    values = {k: v if isinstance(v, float) else jnp.asarray(v) for k, v in x.parameters.items()}
    return CLASSES[x.structure](**values)


def parameters(*gaussians):
    return [y for x in gaussians if x is not None for y in x.parameters.values()]


def gradients_by_gkl(p, q, weight=None):
    _, *found = gkl.kl_and_grad(p, q, weight=weight)
    return parameters(*found)


def close(found, expected, dtype):
    assert len(found) == len(expected)
    eps = np.finfo(dtype).eps
    for x, y in zip(found, expected, strict=True):
        assert (x.shape, x.dtype) == (np.shape(y), y.dtype)
        np.testing.assert_allclose(x, y, rtol=8 * eps, atol=8 * eps * np.max(np.abs(y), initial=0))


def free(kind, x):
    """A parameter of unconstrained numbers, of which a matrix is symmetric."""
    if kind in ("var", "std"):
        return jnp.exp(x)
    if kind == "tril":
        return jnp.tril(x) + 3 * jnp.eye(x.shape[-1])
    if kind in ("cov", "precision"):
        return x @ x.mT + jnp.eye(x.shape[-1])
    return x


def free_gaussian(kind, values):
    if kind == "low_rank":
        return gj.LowRankNormal(values[0], factor=values[1], var=jnp.exp(values[2]))
    structure = gj.DiagNormal if kind in DIAG else gj.FullNormal
    return structure(values[0], **{kind: free(kind, values[1])})


def free_values(kind, batch, seed, d=3):
    rng = np.random.default_rng(seed)
    return [
        jnp.asarray(rng.normal(size=(*batch, *((d, 2) if kind == "low_rank" else (d, d))[:n])) / 2)
        for n in CORES[kind]
    ]
