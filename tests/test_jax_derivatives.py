# SPDX-License-Identifier: BSD-3-Clause
"""gkl.jax: gkl's own gradients, and their derivatives."""

import gaussians_jax
import numpy as np
import pytest
from gaussians_jax import (
    ALL_PAIRS,
    BATCHES,
    CLASSES,
    PAIRS,
    SECOND,
    close,
    free_gaussian,
    free_values,
    gj,
    gradients_by_gkl,
    jax,
    jnp,
    moved,
    pair,
    parameters,
)
from helpers import same_bits, several
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads

import gkl

dtype, x64 = gaussians_jax.dtype, gaussians_jax.x64


@pytest.mark.parametrize("kinds", ALL_PAIRS)
def test_gradients_are_those_of_gkl(kinds, dtype):
    p, q = pair(kinds, dtype=dtype)
    found = jax.jit(jax.grad(lambda x: gj.kl(*x).sum()))((moved(p), moved(q)))
    same_bits(tuple(parameters(*found)), tuple(gradients_by_gkl(p, q)))
    assert type(found[0]) is CLASSES[p.structure]


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("kinds", SECOND)
def test_gradients_of_shared_parameters_are_summed(kinds, batches, dtype):
    p, q = pair(kinds, BATCHES[batches], dtype=dtype)
    weight = np.random.default_rng(2).normal(size=gkl.kl(p, q).shape).astype(dtype)
    found = jax.jit(jax.grad(lambda x: (weight * gj.kl(*x)).sum()))((moved(p), moved(q)))
    close(parameters(*found), gradients_by_gkl(p, q, weight), dtype)


@pytest.mark.parametrize("kinds", PAIRS)
def test_numerical_derivatives(kinds, x64):
    p, q = kinds
    x, y = free_values(p, (2,), 0), free_values(q or "", (), 1)
    value = jax.jit(lambda x, y: gj.kl(free_gaussian(p, x), q and free_gaussian(q, y)))
    check_grads(value, (x, y), order=1, modes=["rev"])


@pytest.mark.parametrize(
    "kinds", [pytest.param(x, marks=() if x in SECOND else pytest.mark.slow) for x in ALL_PAIRS]
)
def test_second_derivatives_are_symmetric_and_those_of_the_gradient(kinds, x64):
    p, q = kinds
    flat, restore = ravel_pytree([free_values(p, (), 0), free_values(q or "", (), 1)])

    def value(flat):
        x, y = restore(flat)
        return gj.kl(free_gaussian(p, x), q and free_gaussian(q, y))

    ways = jax.hessian(value), jax.jacrev(jax.jacrev(value))
    forward, backward = jax.jit(lambda x: [way(x) for way in ways])(flat)
    np.testing.assert_allclose(forward, backward, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(forward, forward.T, rtol=1e-9, atol=1e-9)
    step = 1e-5 * np.random.default_rng(2).normal(size=flat.shape)
    slope = jax.jit(jax.grad(value))
    change = (slope(flat + step) - slope(flat - step)) / 2
    np.testing.assert_allclose(forward @ step, change, rtol=1e-6, atol=1e-12)


def test_only_the_lower_triangle_counts_in_second_derivatives(x64):
    cov = np.array([[2.0, 0.5], [0.5, 1.0]])
    odd = np.array([[2.0, 99.0], [0.5, 1.0]])

    def second(cov):
        return jax.hessian(lambda c: gj.kl(gj.FullNormal(jnp.ones(2), cov=c)))(jnp.asarray(cov))

    np.testing.assert_array_equal(second(odd), second(cov))
    np.testing.assert_allclose(second(cov), np.swapaxes(second(cov), -1, -2))


def test_derivatives_of_a_number_and_of_shared_parameters(x64):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))

    def value(mean, std):
        return gj.kl(gj.DiagNormal(x, logvar=x), gj.DiagNormal(mean, std=std)).sum()

    check_grads(jax.jit(value), (0.3, 1.2), order=2, modes=["rev"])
    check_grads(jax.jit(value), (x[0], jnp.exp(x[:, :1])), order=2, modes=["rev"])


def gradient_bits(function, *args):
    """What the calls in a program ask the core for."""
    text = jax.jit(function).lower(*args).as_text()
    return [int(x.split(" ")[0]) for x in text.split("gradients = ")[1:]]


def test_only_gradients_that_are_wanted_are_computed():
    p, q = (moved(x) for x in pair(("logvar", "var"), dtype=np.float32))

    def loss(p, q):
        return gj.kl(p, q).sum()

    assert gradient_bits(loss, p, q) == [0]
    assert gradient_bits(jax.grad(loss), p, q) == [0b0011]
    assert gradient_bits(jax.grad(loss, 1), p, q) == [0b1100]
    assert gradient_bits(jax.value_and_grad(loss, (0, 1)), p, q) == [0b1111]
    one = jax.grad(lambda mean, p: loss(gj.DiagNormal(mean, logvar=p.logvar), q))
    assert gradient_bits(one, p.mean, p) == [0b0001]
    stopped = jax.grad(lambda p: loss(p, gj.DiagNormal(jax.lax.stop_gradient(p.mean), var=1.0)))
    assert gradient_bits(stopped, p) == [0b0011]


def test_gradients_by_turns_of_one_traced_program():
    """JAX keeps the trace, and must not mix up what was kept for one gradient and for another."""
    p, q = pair(("logvar", "var"), dtype=np.float32)
    args = moved(p), moved(q)
    expected = gkl.kl_and_grad(p, q)[1:]
    for which in (0, 1, (0, 1), 1, 0):
        for scale in (2, 4):

            def loss(p, q, scale=scale):
                return scale * gj.kl(p, q).sum()

            found = jax.jit(jax.grad(loss, which))(*args)
            again = jax.jit(jax.vmap(jax.grad(loss, which)))(*args)
            for i, x, y in zip(np.atleast_1d(which), several(found), several(again), strict=True):
                wanted = tuple(scale * z for z in parameters(expected[i]))
                same_bits(tuple(parameters(x)), wanted)
                same_bits(tuple(parameters(y)), wanted)


@pytest.mark.parametrize("kinds", SECOND)
@pytest.mark.parametrize("batches", ["alike", "each with each"])
def test_forward_mode(kinds, batches, dtype):
    p, q = pair(kinds, BATCHES[batches], dtype=dtype)
    primals = moved(p), moved(q)
    rng = np.random.default_rng(2)
    steps = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), dtype), primals)
    value, slope = jax.jit(lambda *x: jax.jvp(gj.kl, *x))(primals, steps)
    same_bits(value, gkl.kl(p, q))
    _, linear = jax.linearize(gj.kl, *primals)
    _, pull = jax.vjp(gj.kl, *primals)
    weight = rng.normal(size=value.shape).astype(dtype)
    pulled = zip(parameters(*pull(weight)), parameters(*steps), strict=True)
    change = sum((x * y).sum() for x, y in pulled)
    tolerance = 2000 * np.finfo(dtype).eps
    np.testing.assert_allclose((weight * slope).sum(), change, rtol=tolerance)
    np.testing.assert_allclose(linear(*steps), slope, rtol=tolerance)


def test_forward_mode_through_a_loop(x64):
    q = moved(pair(("var", "var"))[1])

    def total(mean):
        def step(state):
            i, sum_ = state
            return i + 1, sum_ + gj.kl(gj.DiagNormal(mean, var=1.0), q)

        return jax.lax.while_loop(lambda state: state[0] < 3, step, (0, jnp.zeros(4)))[1].sum()

    mean = jnp.ones((4, 4))
    np.testing.assert_allclose(jax.jacfwd(total)(mean), 3 * (mean - q.mean) / q.var)


@pytest.mark.parametrize(
    ("kind", "scale", "expected"),
    [("logvar", 100, 0.5), ("logvar", -110, 0.5), ("std", 1e18, 2e-36), ("var", 1e18, 5e-37)],
)
def test_second_derivatives_in_range(kind, scale, expected):
    scale = jnp.full(2, scale, jnp.float32)
    q = gj.DiagNormal(jnp.zeros(2), **{kind: scale})
    found = jax.hessian(lambda x: gj.kl(gj.DiagNormal(0.0, **{kind: x}), q))(scale)
    np.testing.assert_allclose(found, expected * np.eye(2), rtol=1e-5)


def test_a_value_that_comes_with_its_gradient_has_the_accurate_one(x64):
    """A loss of value and slope: the slope of the value is that of the kernel near P = Q."""
    y = 1e-7 * np.arange(1, 5)

    def loss(logvar):
        value, _ = jax.value_and_grad(lambda x: gj.kl(gj.DiagNormal(0.0, logvar=x)))(logvar)
        return value

    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(y)), np.expm1(y) / 2, rtol=1e-15)


def test_bad_items_left_out_stay_out_of_second_derivatives(x64):
    p, _ = pair(("cov", None), d=2)
    bad = np.array([False, True, False, False])

    def loss(cov, bad):
        return jnp.where(bad, 0, gj.kl(gj.FullNormal(p.mean, cov=cov))).sum()

    @jax.jit
    @jax.grad
    def by_slope(cov, bad):
        return (jax.grad(loss)(cov, bad) ** 2).sum()

    by_hessian, twice = jax.jit(jax.hessian(loss)), jax.jit(jax.jacrev(jax.jacrev(loss)))
    expected = by_slope(p.cov, bad), by_hessian(p.cov, bad)
    p.cov[1] = -np.eye(2)
    np.testing.assert_array_equal(by_slope(p.cov, bad), expected[0])
    np.testing.assert_array_equal(by_hessian(p.cov, bad), expected[1])
    np.testing.assert_allclose(twice(p.cov, bad), expected[1], atol=1e-12)
    left_in = by_slope(p.cov, False)
    np.testing.assert_array_equal(np.isnan(left_in).any((1, 2)), bad)


def test_third_derivatives(x64):
    def third(function):
        return jax.grad(jax.grad(jax.grad(function)))

    found = third(lambda x: gj.kl(gj.DiagNormal(0.5, logvar=x)))(0.3)
    np.testing.assert_allclose(found, np.exp(0.3) / 2)
