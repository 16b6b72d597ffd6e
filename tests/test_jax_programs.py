# SPDX-License-Identifier: BSD-3-Clause
"""gkl.jax in compiled programs: the binary interface, threads, devices, platforms."""

import concurrent.futures
import os
import shutil
import subprocess

import gaussians_jax
import numpy as np
import pytest
from gaussians_jax import gj, jax, jnp, moved, pair, parameters
from helpers import in_checkout, python, same_bits

import gkl

dtype = gaussians_jax.dtype


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
        (2, {"p": "var", "q": "", "gradients": np.int32(0), "r": 1}, "4 attributes, not 3"),
        (1, {"p": "var", "q": "", "gradients": np.int32(0)}, "1 operands and 1 results, not 2"),
    ],
)
def test_what_is_not_understood_is_an_error_in_words(operands, attributes, words):
    result = jax.ShapeDtypeStruct((), np.float32)
    work = jax.jit(lambda *x: jax.ffi.ffi_call("gkl_kl", result)(*x, **attributes))
    with pytest.raises(jax.errors.JaxRuntimeError, match=words):
        work(*[jnp.ones(3)] * operands).block_until_ready()


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


def test_several_devices():
    """Sharded by hand or by JAX, with its checks: values and derivatives of one device."""
    program = """
import jax, jax.numpy as jnp, numpy as np, gkl.jax as gj
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

rng = np.random.default_rng(0)
mean, logvar = jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32)
p = gj.DiagNormal(mean, logvar=logvar)
q = gj.DiagNormal(mean[0], var=jnp.exp(logvar[1]))

def value(p, q):
    return gj.kl(p, q)

def slope(p, q):
    return jax.grad(lambda p, q: gj.kl(p, q).sum(), (0, 1))(p, q)

def second(p, q):
    return jax.grad(lambda p: sum((x**2).sum() for x in jax.tree.leaves(slope(p, q))))(p)

def same(found, expected):
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, 1e-5, 1e-6)

expected = value(p, q), slope(p, q), second(p, q)
mesh = jax.make_mesh((2,), ("i",), axis_types=(AxisType.Auto,))
same(jax.pmap(value, in_axes=(0, None))(jax.tree.map(lambda x: x.reshape(2, 3, 3), p), q),
     expected[0].reshape(2, 3))
for function, out, wanted in ((value, P("i"), expected[0]), (slope, (P("i"), P()), expected[1])):
    by_hand = jax.shard_map(function, mesh=mesh, in_specs=(P("i"), P()), out_specs=out)
    same(jax.jit(by_hand)(p, q), wanted)
    if function is value:
        same(jax.grad(lambda p, q: by_hand(p, q).sum(), (0, 1))(p, q), expected[1])
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2,), ("i",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(p, NamedSharding(mesh, P("i")))
        for function, wanted in zip((value, slope, second), expected):
            same(jax.jit(function)(sharded, q), wanted)
print("done")
"""
    flags = "--xla_force_host_platform_device_count=2"
    assert python(program, XLA_FLAGS=flags) == "done\n"


def test_exported_programs():
    export = pytest.importorskip("jax.export")
    pytest.importorskip("flatbuffers")
    p = pair(("logvar", None), dtype=np.float32)[0]

    def value(mean, logvar):
        return gj.kl(gj.DiagNormal(mean, logvar=logvar))

    allowed = [export.DisabledSafetyCheck.custom_call("gkl_kl")]
    program = export.export(jax.jit(value), disabled_checks=allowed)(p.mean, p.logvar)
    again = export.deserialize(program.serialize(vjp_order=1))
    same_bits(again.call(p.mean, p.logvar), gkl.kl(p))
    found = jax.grad(lambda *x: again.call(*x).sum(), (0, 1))(p.mean, p.logvar)
    same_bits(found, tuple(parameters(gkl.kl_and_grad(p)[1])))


def test_shapes_of_symbols_are_refused():
    (n,) = jax.export.symbolic_shape("n")
    p = gj.DiagNormal(jax.ShapeDtypeStruct((n, 3), np.float32), var=1.0)
    with pytest.raises(NotImplementedError, match=r"p.mean has shape \(n, 3\)"):
        jax.export.export(jax.jit(gj.kl))(p)
