# SPDX-License-Identifier: BSD-3-Clause
"""gkl.jax under vmap, in control flow and as pytrees."""

import gaussians_jax
import numpy as np
import pytest
from gaussians_jax import (
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
from helpers import same_bits

import gkl

dtype, x64 = gaussians_jax.dtype, gaussians_jax.x64


@pytest.mark.parametrize("kinds", SECOND)
def test_vmap_over_both_or_one(kinds, dtype):
    p, q = pair(kinds, [(3,), (3,), (3,), (3,)], dtype=dtype)
    one = pair(kinds, [()] * 4, dtype=dtype)
    same_bits(jax.vmap(gj.kl)(moved(p), moved(q)), gkl.kl(p, q))
    same_bits(jax.vmap(gj.kl, (0, None))(moved(p), moved(one[1])), gkl.kl(p, one[1]))
    if q is not None:
        same_bits(jax.vmap(gj.kl, (None, 0))(moved(one[0]), moved(q)), gkl.kl(one[0], q))
        each = jax.vmap(jax.vmap(gj.kl, (None, 0)), (0, None))
        same_bits(jax.jit(each)(moved(p), moved(q)), gkl.kl(p.reshape(3, 1), q))


def test_vmap_of_one_parameter_along_any_axis(dtype):
    rng = np.random.default_rng(0)
    mean, logvar = rng.normal(size=(4, 5)).astype(dtype), rng.normal(size=(5, 2, 3)).astype(dtype)
    # logvar's middle axis is mapped, mean's batch of 4 is not
    work = jax.vmap(
        lambda x: gj.kl(gj.DiagNormal(mean[:, :3], logvar=x[0])), in_axes=1, out_axes=1
    )
    expected = gkl.kl(gkl.DiagNormal(mean[:, None, :3], logvar=logvar[0]))
    same_bits(work(logvar), expected)


@pytest.mark.parametrize("kinds", SECOND)
def test_vmap_of_grad(kinds, dtype):
    p, q = pair(kinds, [(3, 4), (3, 4), (4,), (4,)], dtype=dtype)
    found = jax.jit(jax.vmap(jax.grad(lambda p, q: gj.kl(p, q).sum()), (0, None)))(
        moved(p), moved(q)
    )
    same_bits(tuple(parameters(found)), tuple(parameters(gkl.kl_and_grad(p, q, wrt=("p",))[1])))
    by_q = jax.vmap(jax.grad(lambda p, q: gj.kl(p, q).sum(), 1), (0, None))
    if q is not None:
        for i, x in enumerate(p):
            row = [y[i] for y in parameters(by_q(moved(p), moved(q)))]
            close(row, parameters(gkl.kl_and_grad(x, q, wrt=("q",))[2]), dtype)


def test_vmap_repeats_nothing_in_memory():
    p, q = (moved(x) for x in pair(("std", "logvar"), [(3,), (3,), (), ()], dtype=np.float32))
    text = jax.jit(jax.vmap(gj.kl, (0, None))).lower(p, q).as_text()
    [line] = [line for line in text.splitlines() if "custom_call" in line]
    operands = line.split(" : (")[1].split(") -> ")[0]
    assert operands == ", ".join(["tensor<3x4xf32>"] * 2 + ["tensor<1x4xf32>"] * 2)


def test_vmap_per_dim(dtype):
    p, q = pair(("std", "logvar"), [(3, 2), (3, 2), (2,), ()], dtype=dtype)
    found = jax.vmap(gj.kl_per_dim, (0, None))(moved(p), moved(q))
    same_bits(found, gkl.kl_per_dim(p, q))


def test_jacobian(x64):
    p, q = pair(("logvar", "cov"), BATCHES["one q for all"])
    found = jax.jacrev(gj.kl, (0, 1))(moved(p), moved(q))
    _, grad_p, _ = gkl.kl_and_grad(p, q)
    for i in range(4):
        np.testing.assert_array_equal(found[0].mean[i, i], grad_p.mean[i])
        assert not found[0].mean[i, np.arange(4) != i].any()
        close([found[1].cov[i]], [gkl.kl_and_grad(p[i], q)[2].cov], np.float64)


def test_control_flow_and_checkpoints(x64):
    p, q = (moved(x) for x in pair(("logvar", "std"), [(5,), (5,), (), ()]))

    def total(p, q):
        def step(sum_, item):
            return sum_ + gj.kl(item, q), None

        return jax.lax.scan(step, 0.0, p)[0]

    expected = jax.grad(lambda p, q: gj.kl(p, q).sum(), (0, 1))(p, q)
    for function in (total, jax.checkpoint(lambda p, q: gj.kl(p, q).sum())):
        found = jax.grad(function, (0, 1))(p, q)
        close(parameters(*found), parameters(*expected), np.float64)


def test_gaussians_are_pytrees():
    p = gj.LowRankNormal(jnp.zeros(3), factor=jnp.ones((3, 1)), var=1.0)
    leaves, structure = jax.tree.flatten(p)
    again = jax.tree.unflatten(structure, leaves)
    assert (type(again), list(again.parameters)) == (gj.LowRankNormal, ["mean", "factor", "var"])
    assert (again.names, again.kind) == (("mean", "factor", "var"), "low_rank")
    none = jax.tree.map(lambda _: None, gj.DiagNormal(0.0, std=1.0))
    assert none.std is None
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(p)]
    assert paths == [".mean", ".factor", ".var"]
    doubled = jax.jit(lambda x: jax.tree.map(lambda y: 2 * y, x))(p)
    assert doubled.factor.shape == (3, 1)


def test_without_jit():
    p, q = pair(("std", "cov"), dtype=np.float32)
    expected = gkl.kl(p, q), gkl.kl(gkl.DiagNormal(p.mean, var=2.0), q)
    with jax.disable_jit():
        same_bits(gj.kl(gj.DiagNormal(p.mean, std=p.std), moved(q)), expected[0])
        same_bits(gj.kl(gj.DiagNormal(p.mean, var=2), moved(q)), expected[1])
        found = jax.grad(lambda x: gj.kl(*x).sum())((moved(p), moved(q)))
    close(parameters(*found), gradients_by_gkl(p, q), np.float32)


def test_nan_is_found_by_jax_where_numbers_are_given():
    with jax.debug_nans(True):
        assert gj.kl(gj.DiagNormal(0.0, var=1.0)) == 0
        with pytest.raises(FloatingPointError, match="nan"):
            gj.kl(gj.DiagNormal(0.0, var=-1.0))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_strict_promotion(dtype):
    def slope(p, q):
        return jax.grad(lambda p, q: gj.kl(p, q).sum(), (0, 1))(p, q)

    p = gj.DiagNormal(jnp.ones((5, 3), dtype), var=jnp.ones((5, 3), dtype))
    q = gj.FullNormal(jnp.zeros(3, dtype), cov=2 * jnp.eye(3, dtype=dtype))
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        _, change = jax.jit(lambda *x: jax.jvp(slope, x, x))(p, q)
    assert change[1].cov.dtype == dtype
