# SPDX-License-Identifier: BSD-3-Clause
"""The rows of docs/coming_from.md: both columns are run on the same numbers and compared."""

import contextlib
import functools
import importlib
import re

import numpy as np
import pytest
from helpers import in_checkout

import gkl

TEXT = in_checkout("docs/coming_from.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.S | re.M))
ARRAYS = {  # a library's own, and back
    "torch.distributions": ("torch", lambda torch: torch.from_numpy),
    "NumPyro": ("jax.numpy", lambda jnp: jnp.asarray),
}
LIBRARIES = {
    "torch.distributions": "torch",
    "TensorFlow Probability": "tensorflow_probability.substrates.jax",
    "NumPyro": "numpyro",
    "NumPy and SciPy": "scipy",
}
KL = {"torch.distributions": ("kl_divergence(p, q)", "gkl.torch.kl(p, q)"),
      "TensorFlow Probability": ("tfd.kl_divergence(p, q)", "gkl.kl(p, q)"),
      "NumPyro": ("kl_divergence(p, q)", "gkl.jax.kl(p, q)")}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("default")  # what other libraries warn of is not ours


def rows(section):
    """Pairs of expressions: those that make Gaussians, and those that are to be equal."""
    found = re.findall(r"^\| `(.*?)` \| `(.*?)` \|$", SECTIONS[section], re.M)
    made = [row for row in found if re.match(r"\w+\(loc", row[1])]
    return made, [row for row in found if row not in made]


CASES = [(section, row) for section in LIBRARIES for row in rows(section)[0]]
FUNCTIONS = [(section, row) for section in LIBRARIES for row in rows(section)[1]]


def numbers(seed):
    """The parameters of one batch, in all of its parameterizations."""
    rng = np.random.default_rng(seed)
    root = np.tril(rng.normal(size=(5, 3, 3)) / 3, -1) + np.eye(3) * rng.uniform(0.5, 2, (5, 1, 3))
    cov = root @ root.swapaxes(1, 2)
    scale = rng.uniform(0.5, 2, (5, 3))
    found = {"loc": rng.normal(size=(5, 3)), "scale": scale, "v": scale**2,
             "logvar": 2 * np.log(scale), "S": cov, "L": root, "P": np.linalg.inv(cov),
             "F": rng.normal(size=(5, 3, 2))}  # fmt: skip
    return {name: x.astype(np.float32) for name, x in found.items()}


@functools.cache
def prelude(section):
    """What the first program of a section imports, and what makes its arrays."""
    # TFP fails in many ways with a JAX that it does not know; the others are there or not
    missing = Exception if section == "TensorFlow Probability" else ImportError
    try:
        importlib.import_module(LIBRARIES[section])
    except missing as error:
        pytest.skip(f"{LIBRARIES[section]}: {type(error).__name__}: {error}")
    code = re.search(r"```python\n(.*?)```", SECTIONS[section], re.S)[1]
    names = {}
    exec(code, names)
    module, make = ARRAYS.get(section, ("numpy", lambda np: np.asarray))
    return names, make(importlib.import_module(module))


def run(expression, section, seed, dtype=np.float32, **more):
    names, array = prelude(section)
    values = {name: array(x.astype(dtype)) for name, x in numbers(seed).items()}
    others = {f"{name}_q": array(x) for name, x in numbers(1).items()}
    return eval(expression, {**names, **values, **others, **more})


def same(theirs, ours):
    theirs, ours = np.asarray(theirs), np.asarray(ours)
    assert theirs.shape == ours.shape
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(("section", "row"), CASES)
def test_the_same_gaussians(section, row):
    """Those of a row have the same divergence."""
    found = []
    for expression, kl in zip(row, KL[section], strict=True):
        p, q = (run(expression, section, seed) for seed in (0, 1))
        found.append(run(kl, section, 0, p=p, q=q))
    same(*found)


@pytest.mark.parametrize(("section", "row"), FUNCTIONS)
def test_the_same_values(section, row):
    """Of the first Gaussians of the section where there are such."""
    made = rows(section)[0][:1] or [(None, None)]
    found = []
    for i, expression in enumerate(row):
        p, q = (made[0][i] and run(made[0][i], section, seed) for seed in (0, 1))
        found.append(run(expression, section, 0, p=p, q=q))
    same(*found)


def test_gradients_in_torch():
    """Of every row, in each of the tensors that it names."""
    names, _ = prelude("torch.distributions")
    torch = names["torch"]
    for row in rows("torch.distributions")[0]:
        found = []
        for expression, kl in zip(row, KL["torch.distributions"], strict=True):
            tensors = [{k: torch.from_numpy(x).requires_grad_() for k, x in numbers(seed).items()}
                       for seed in (0, 1)]  # fmt: skip
            p, q = (eval(expression, {**names, **x}) for x in tensors)
            eval(kl, {**names, "p": p, "q": q}).sum().backward()
            found.append([x.grad for side in tensors for x in side.values() if x.grad is not None])
        assert len(found[0]) == len(found[1]) > 2
        for theirs, ours in zip(*found, strict=True):
            assert ours.shape == theirs.shape
            if theirs.ndim == 3 and "tril" in row[1]:
                theirs = theirs.tril()
            elif theirs.ndim == 3 and "factor" not in row[1]:  # both triangles of a symmetric one
                theirs, ours = (x + x.mT for x in (theirs, ours))
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)


# what the first table says of each library: of a diagonal against a full one, of a negative scale
SHORT = {"torch.distributions": (NotImplementedError, ValueError),
         "TensorFlow Probability": (None, None),
         "NumPyro": (NotImplementedError, ValueError)}  # fmt: skip


def diagonals(section):
    """The first Gaussian that it has, and a full one."""
    made = [theirs for theirs, _ in rows(section)[0]]
    return made[0], next(x for x in made if "scale_tril" in x)


@pytest.mark.parametrize("section", SHORT)
def test_a_diagonal_against_a_full_one(section):
    p, q = (run(x, section, 0) for x in diagonals(section))
    with raising(SHORT[section][0]):
        assert np.asarray(run(KL[section][0], section, 0, p=p, q=q)).shape == (5,)


@pytest.mark.parametrize("section", SHORT)
def test_a_negative_scale(section, monkeypatch):
    if section == "torch.distributions":  # importing torch.compile switches its checks off
        distribution = pytest.importorskip("torch").distributions.Distribution
        monkeypatch.setattr(distribution, "_validate_args", True)
    diagonal, _ = diagonals(section)
    q = run(diagonal, section, 0)
    with raising(SHORT[section][1]):
        p = run(diagonal.replace("scale)", "-scale)").replace("=scale", "=-scale"), section, 0)
        same(run(KL[section][0], section, 0, p=p, q=q), np.zeros(5))  # that of |scale|


def test_a_negative_scale_in_a_compiled_program():
    made = "jax.jit(lambda s: kl_divergence(dist.Normal(loc, s), dist.Normal(loc, scale)))(-scale)"
    same(run(made, "NumPyro", 0), np.zeros((5, 3)))  # that of |scale|


@pytest.mark.parametrize("section", SHORT)
def test_half_precision_and_broadcasting(section):
    diagonal, _ = diagonals(section)
    p = run(diagonal, section, 0, np.float16)
    q = run(
        diagonal.replace("loc", "loc[0]").replace("scale)", "scale[0])"), section, 1, np.float16
    )
    found = run(KL[section][0], section, 0, p=p, q=q)
    assert (str(found.dtype).removeprefix("torch."), found.shape) == ("float16", (5,))


@pytest.mark.parametrize("section", SHORT)
def test_near_equality(section):
    diagonal, _ = diagonals(section)
    scale = numbers(0)["scale"]
    z = np.random.default_rng(0).normal(size=scale.shape)
    moved = (scale * np.exp(1e-6 * z)).astype(np.float32)
    _, array = prelude(section)
    p, q = (run(diagonal, section, 0, scale=array(x)) for x in (moved, scale))
    theirs = np.asarray(run(KL[section][0], section, 0, p=p, q=q))
    u = moved.astype(float) / scale - 1
    wanted = (u - np.log1p(u) + u * u / 2).sum(-1)
    ours = gkl.kl(gkl.DiagNormal(0.0, std=moved), gkl.DiagNormal(0.0, std=scale))
    assert np.median(np.abs(theirs / wanted - 1)) > 1e-3
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)


def raising(error):
    return pytest.raises(error) if error else contextlib.nullcontext()


def test_every_library_has_rows():
    assert len(CASES) >= 15
    assert len(FUNCTIONS) >= 13
