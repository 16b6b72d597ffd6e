# SPDX-License-Identifier: BSD-3-Clause
"""gkl.jax: gkl's own bits and gradients from compiled programs, under every transformation."""

import concurrent.futures
import itertools
import os
import shutil
import subprocess

import numpy as np
import pytest
from gaussians import DIAG, EVERY, SOME, gaussian
from helpers import in_checkout, python, same_bits, several

import gkl

jax = pytest.importorskip("jax", minversion="0.10.2")
import jax.numpy as jnp  # noqa: E402
from jax.flatten_util import ravel_pytree  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

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


# --- the binary interface

# our structs and members by those of XLA
STRUCTS = {
    "extension XLA_FFI_Extension_Base": "size struct_size, type type, next next",
    "version XLA_FFI_Api_Version": "size struct_size, extension extension_start, "
    "major major_version, minor minor_version",
    "metadata XLA_FFI_Metadata": "size struct_size, version api_version, traits traits",
    "metadata_query XLA_FFI_Metadata_Extension": "base extension_base, metadata metadata",
    "error_request XLA_FFI_Error_Create_Args": "size struct_size, extension extension_start, "
    "message message, code errc",
    "api XLA_FFI_Api": "size struct_size, extension extension_start, version api_version, "
    "internal internal_api, create_error XLA_FFI_Error_Create",
    "buffer XLA_FFI_Buffer": "size struct_size, extension extension_start, type dtype, data data, "
    "rank rank, dims dims",
    "buffers XLA_FFI_Args": "size struct_size, extension extension_start, count size, "
    "kinds types, items args",
    "buffers XLA_FFI_Rets": "size struct_size, extension extension_start, count size, "
    "kinds types, items rets",
    "scalar XLA_FFI_Scalar": "type dtype, value value",
    "string XLA_FFI_ByteSpan": "text ptr, length len",
    "attributes XLA_FFI_Attrs": "size struct_size, extension extension_start, count size, "
    "kinds types, names names, items attrs",
    "call XLA_FFI_CallFrame": "size struct_size, extension extension_start, api api, context ctx, "
    "stage stage, operands args, results rets, attributes attrs",
}
MAY_END_EARLIER = {"metadata", "api", "call"}
CONSTANTS = {
    "METADATA": "Extension_Metadata",
    "INVALID_ARGUMENT": "Error_Code_INVALID_ARGUMENT",
    "RESOURCE_EXHAUSTED": "Error_Code_RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED": "Error_Code_UNIMPLEMENTED",
    "SCALAR": "AttrType_SCALAR",
    "STRING": "AttrType_STRING",
    **{name: f"DataType_{name}" for name in ("F16", "F32", "F64", "BF16", "S32")},
}


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_declarations_agree_with_the_header_of_the_installed_xla(tmp_path):
    lines = ['#include "xla/ffi/api/c_api.h"', '#include "xla_ffi.h"']
    claims = [f"GKL_XLA_{ours} == XLA_FFI_{theirs}" for ours, theirs in CONSTANTS.items()]
    claims += ["GKL_XLA_MAJOR == XLA_FFI_API_MAJOR", "GKL_XLA_MINOR <= XLA_FFI_API_MINOR"]
    for names, members in STRUCTS.items():
        ours, theirs = names.split()
        for x, y in (member.split() for member in members.split(", ")):
            claims.append(f"offsetof(gkl_xla_{ours}, {x}) == offsetof({theirs}, {y})")
            sizes = f"sizeof(((gkl_xla_{ours} *)0)->{x})", f"sizeof((({theirs} *)0)->{y})"
            claims.append(" == ".join(sizes))
        relation = "<=" if ours in MAY_END_EARLIER else "=="
        claims.append(f"sizeof(gkl_xla_{ours}) {relation} sizeof({theirs})")
    lines += [f'_Static_assert({claim}, "differs");' for claim in claims]
    source = tmp_path / "agree.c"
    source.write_text("\n".join(lines) + "\n")
    folders = [f"-I{jax.ffi.include_dir()}", f"-I{in_checkout('src_c')}"]
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-fsyntax-only", *folders, source]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("operands", "attributes", "words"),
    [
        (2, {"p": "var", "q": "nought"}, "INVALID_ARGUMENT.*no kind of Gaussian in attribute q"),
        (2, {"p": "var", "q": ""}, "INVALID_ARGUMENT.*no 32-bit integer in attribute gradients"),
        (1, {"p": "var", "q": "", "gradients": np.int32(0)}, "1 operands and 1 results, not 2"),
    ],
)
def test_what_is_not_understood_is_an_error_in_words(operands, attributes, words):
    result = jax.ShapeDtypeStruct((), np.float32)
    work = jax.jit(lambda *x: jax.ffi.ffi_call("gkl_kl", result)(*x, **attributes))
    with pytest.raises(jax.errors.JaxRuntimeError, match=words):
        work(*[jnp.ones(3)] * operands).block_until_ready()


# --- values


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


# --- derivatives


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


def test_forward_mode_is_an_error():
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda m: gj.kl(gj.DiagNormal(m, var=1.0)), (jnp.ones(2),), (jnp.ones(2),))


# --- transformations


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


# --- where it runs


def test_many_threads_at_once(dtype):
    p, q = pair(("cov", "cov"), [(2000,), (2000,), (), ()], d=12, dtype=dtype)
    expected = gkl.kl(p, q), tuple(parameters(gkl.kl_and_grad(p, q, wrt=("p",))[1]))
    ours = moved(p), moved(q)

    @jax.jit
    def both(p, q):  # two calls that do not wait for each other, and one of a large matrix
        big = gj.kl(gj.FullNormal(jnp.zeros(100, dtype), cov=2 * jnp.eye(100, dtype=dtype)))
        return gj.kl(p, q), jax.grad(lambda p: gj.kl(p, q).sum())(p), big

    def work(_):
        with jax.enable_x64(dtype == np.float64):
            value, slope, big = both(*ours)
        same_bits((np.asarray(value), *parameters(slope)), (expected[0], *expected[1]))
        assert abs(float(big) - 50 * (1 - np.log(2))) < 1e-4
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(24), timeout=100))


def test_blas_is_found_from_a_thread_of_xla():
    program = """
import jax, jax.numpy as jnp, numpy as np, gkl.jax as gj
work = jax.jit(lambda c: gj.kl(gj.FullNormal(jnp.zeros(200), cov=c)))
found = [work(k * jnp.eye(200)) for k in (2.0, 3.0, 4.0)]
print(np.round([float(x) for x in found], 2))
"""
    expected = [100 * (k - 1 - np.log(k)) for k in (2, 3, 4)]
    assert python(program).split() == str(np.round(expected, 2)).split()


def test_other_platforms_are_refused_when_a_program_is_lowered():
    p = gj.DiagNormal(jnp.ones((2, 3)), logvar=jnp.zeros((2, 3)))
    for function in (gj.kl, jax.grad(lambda p: gj.kl(p).sum()), jax.vmap(gj.kl)):
        with pytest.raises(NotImplementedError, match=r"computes on the CPU, .* for cuda"):
            jax.jit(function).trace(p).lower(lowering_platforms=("cuda",))


def test_no_callback_into_python():
    p = gj.DiagNormal(jnp.ones((2, 3)), logvar=0.0)
    text = jax.jit(jax.value_and_grad(lambda p: gj.kl(p).sum())).lower(p).as_text()
    assert text.count("custom_call @gkl_kl") == text.count("custom_call") == 1


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
