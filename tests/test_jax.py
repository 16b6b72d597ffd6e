# SPDX-License-Identifier: BSD-3-Clause
"""gkl.jax: gkl's own bits, and errors in words."""

import gaussians_jax
import numpy as np
import pytest
from gaussians import gaussian
from gaussians_jax import (
    ALL_PAIRS,
    BATCHES,
    SECOND,
    close,
    gj,
    gradients_by_gkl,
    jax,
    jnp,
    moved,
    pair,
    parameters,
)
from helpers import python, same_bits

import gkl

dtype, x64 = gaussians_jax.dtype, gaussians_jax.x64


@pytest.mark.parametrize("kinds", ALL_PAIRS)
def test_values_are_those_of_gkl_bit_for_bit(kinds, dtype):
    p, q = pair(kinds, dtype=dtype)
    same_bits(gj.kl(moved(p), moved(q)), gkl.kl(p, q))


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("kinds", SECOND)
def test_batches_broadcast(kinds, batches):
    p, q = pair(kinds, BATCHES[batches], dtype=np.float32)
    same_bits(gj.kl(moved(p), moved(q)), gkl.kl(p, q))


@pytest.mark.parametrize("kinds", SECOND)
@pytest.mark.parametrize("d", [0, 1, 17, 70])
def test_dimensions(kinds, d, dtype):
    batches = BATCHES["one q for all"]
    p, q = pair(kinds, batches, d=d, dtype=dtype)
    same_bits(gj.kl(moved(p), moved(q)), gkl.kl(p, q))
    found = jax.grad(lambda p, q: gj.kl(p, q).sum())(moved(p), moved(q))
    for x, y in zip(parameters(found), parameters(p), strict=True):
        assert x.shape == y.shape


@pytest.mark.parametrize("kinds", [("var", "var"), ("std", "logvar"), ("logvar", None)])
@pytest.mark.parametrize("batches", BATCHES)
def test_every_dimension(kinds, batches, dtype):
    p, q = pair(kinds, BATCHES[batches], dtype=dtype)
    same_bits(gj.kl_per_dim(moved(p), moved(q)), gkl.kl_per_dim(p, q))
    weight = np.random.default_rng(2).normal(size=gkl.kl_per_dim(p, q).shape).astype(dtype)
    # the sum over the dimensions with weights of their own, each of them univariate
    ones = [x and type(x)(**{k: v[..., None] for k, v in x.parameters.items()}) for x in (p, q)]
    expected = [x[..., 0] for x in gradients_by_gkl(*ones, weight=weight)]
    found = jax.grad(lambda x: (weight * gj.kl_per_dim(*x)).sum())((moved(p), moved(q)))
    close(parameters(*found), expected, dtype)


def test_numbers_and_one_element_for_all_dimensions(dtype):
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(dtype)
    for mean, var in ((x, 2.0), (x, 2), (x[:, :1], np.exp(x)), (0.5, np.exp(x[0])), (x, dtype(3))):
        p, q = gkl.DiagNormal(mean, var=var), gkl.DiagNormal(1.0, std=2.0)
        ours = gj.DiagNormal(mean, var=var), gj.DiagNormal(1.0, std=2.0)
        for pair_of, expected in (((p, q), ours), ((q, p), ours[::-1]), ((p, None), (ours[0],))):
            same_bits(gj.kl(*expected), gkl.kl(*pair_of))
            same_bits(gj.kl_per_dim(*expected), gkl.kl_per_dim(*pair_of))
    full = gkl.FullNormal(0.5, cov=np.eye(5, dtype=dtype))
    same_bits(gj.kl(gj.FullNormal(0.5, cov=jnp.eye(5, dtype=dtype))), gkl.kl(full))
    low = {"factor": x[:, :, None], "var": np.ones((3, 1), dtype)}
    same_bits(gj.kl(gj.LowRankNormal(1, **low)), gkl.kl(gkl.LowRankNormal(1, **low)))


@pytest.mark.parametrize("shapes", [((6, 5), ()), ((6, 1), (6, 5)), ((5,), (6, 1)), ((), ())])
def test_gradients_of_one_element_for_all_dimensions(shapes, dtype):
    rng = np.random.default_rng(0)
    mean, logvar = (rng.normal(size=s).astype(dtype) for s in shapes)
    p, q = gkl.DiagNormal(mean, logvar=logvar), gaussian("var", (6,), 5, dtype)
    found = jax.grad(lambda x: gj.kl(*x).sum())((moved(p), moved(q)))
    close(parameters(*found), gradients_by_gkl(p, q), dtype)


def test_univariate_ones_of_numbers(x64):
    assert gj.kl(gj.DiagNormal(1.0, var=True)) == 0.5
    assert jax.grad(lambda m: gj.kl(gj.DiagNormal(m, var=2)))(3.0) == 3.0


def test_types(x64):
    rng = np.random.default_rng(0)
    mean, logvar = rng.normal(size=(2, 4, 3))
    for a, b, computed, result in (
        (jnp.float16, jnp.float16, jnp.float16, np.float32),
        (jnp.bfloat16, jnp.bfloat16, jnp.bfloat16, np.float32),
        (jnp.float16, jnp.float32, jnp.float32, np.float32),
        (jnp.float16, jnp.bfloat16, jnp.float32, np.float32),
        (jnp.float32, jnp.float64, jnp.float64, np.float64),
        (jnp.int32, jnp.float32, jnp.float64, np.float64),
        (jnp.float32, jnp.uint8, jnp.float64, np.float64),
    ):
        p = gj.DiagNormal(jnp.asarray(mean, a), logvar=jnp.asarray(np.abs(logvar), b))
        read = [np.asarray(x.astype(computed)) for x in (p.mean, p.logvar)]
        found = gj.kl(p)
        assert found.dtype == result
        same_bits(found, gkl.kl(gkl.DiagNormal(read[0], logvar=read[1])))


def test_numbers_need_not_be_of_a_small_type():
    for dtype, var in ((jnp.float16, 70000.0), (jnp.float16, 1e-8), (jnp.bfloat16, 0.1)):
        x = np.ones((3, 2), dtype)
        found = gj.kl(gj.DiagNormal(jnp.asarray(x), var=var))
        same_bits(found, gkl.kl(gkl.DiagNormal(x, var=var)))
    slope = jax.grad(lambda var: gj.kl(gj.DiagNormal(jnp.asarray(x), var=var)).sum())(0.1)
    np.testing.assert_allclose(slope, 6 * (1 - 1 / 0.1) / 2, rtol=1e-6)


def test_numbers_are_floats_however_large_an_integer():
    x = np.ones((3, 2), np.float32)
    p = gj.DiagNormal(x, var=3_000_000_000)
    same_bits(gj.kl(p), gkl.kl(gkl.DiagNormal(x, var=3_000_000_000)))


def test_gradients_are_of_their_parameters_type():
    for dtype in (jnp.float16, jnp.bfloat16):
        x = jnp.asarray([[0.5, 1.0]], dtype)
        found = jax.grad(lambda p: gj.kl(p).sum())(gj.DiagNormal(x, logvar=0 * x))
        assert found.mean.dtype == dtype
        np.testing.assert_array_equal(found.mean, x)


def test_without_x64_everything_is_float32():
    p = gj.DiagNormal(np.zeros((2, 3)), var=np.arange(1, 7).reshape(2, 3))
    assert gj.kl(p).dtype == np.float32
    assert gj.kl(gj.DiagNormal(0.0, var=1)).dtype == np.float32


def test_bad_items_are_nan_and_leave_the_others_alone(dtype):
    p, q = pair(("var", "cov"), dtype=dtype)
    p.var[1, 2] = -1
    q.cov[3] = -np.eye(4)
    same_bits(gj.kl(moved(p), moved(q)), gkl.kl(p, q, on_error="nan"))
    bad = np.array([False, True, False, True])
    slope = jax.grad(lambda p, q: jnp.where(bad, 0, gj.kl(p, q)).sum())(moved(p), moved(q))
    good = [x[~bad] for x in (p, q)]
    close([x[~bad] for x in parameters(slope)], gradients_by_gkl(*good)[:2], dtype)
    assert not any(x[bad].any() for x in parameters(slope))
    slope = jax.grad(lambda p, q: gj.kl(p, q).sum())(moved(p), moved(q))
    assert all(np.isnan(x[bad]).all() for x in parameters(slope))


# --- errors


@pytest.mark.parametrize(
    ("work", "error", "words"),
    [
        (lambda x: gj.kl(gkl.DiagNormal(0.0, var=1.0)), TypeError, "p is a DiagNormal, not a"),
        (lambda x: gj.kl(x, 3), TypeError, "q is a int, not a Gaussian of gkl.jax"),
        (lambda x: gj.kl(x, on_error="raise"), ValueError, "a compiled program cannot raise"),
        (lambda x: gj.kl(x, on_error="no"), ValueError, "on_error= takes"),
        (lambda x: gj.kl(gj.DiagNormal([0.0], var=1.0)), TypeError, "p.mean is a list; an array"),
        (lambda x: gj.kl(x, gj.DiagNormal(jnp.ones(4), var=1.0)), ValueError,
         "p and q differ in dimension"),
        (lambda x: gj.kl(gj.DiagNormal(x.mean, var=jnp.ones(4))), ValueError,
         r"p: mean and var do not fit: shapes \(2, 3\) and \(4,\)"),
        (lambda x: gj.kl(x, gj.FullNormal(0.0, cov=jnp.ones((3, 2)))), ValueError,
         "q: cov is not square"),
        (lambda x: gj.kl(x, gj.DiagNormal(jnp.ones((5, 3)), var=1.0)), ValueError,
         "batches of p and q do not fit"),
        (lambda x: gj.kl(gj.DiagNormal(x.mean * 1j, var=1.0)), TypeError,
         "p.mean has dtype complex64; real numbers"),
        (lambda x: gj.kl(gj.DiagNormal(x.mean, var=10**400)), ValueError,
         "p.var is an integer beyond float64"),
        (lambda x: gj.kl(x, gj.DiagNormal(np.ma.masked_array(np.ones(3), [0, 1, 0]), var=1.0)),
         TypeError, "q.mean is a masked array"),
        (lambda x: gj.kl(gj.DiagNormal(np.ones(3, np.longdouble), var=1.0)), TypeError,
         f"p.mean has dtype {np.dtype(np.longdouble)}; real numbers"),
        (lambda x: gj.kl_per_dim(x, gj.FullNormal(0.0, cov=jnp.eye(3))), TypeError,
         "q is a FullNormal: a divergence of correlated"),
    ],
)  # fmt: skip
def test_errors(work, error, words):
    x = gj.DiagNormal(jnp.ones((2, 3)), logvar=0.0)
    with pytest.raises(error, match=words):
        work(x)
    with pytest.raises(error, match=words):
        jax.jit(work)(x)


def test_without_jax_the_extra_is_named():
    program = """
import sys
sys.modules["jax"] = None
try:
    import gkl.jax
except ImportError as error:
    print(error)
"""
    assert python(program) == "gkl.jax wants JAX: pip install 'gkl[jax]'\n"
