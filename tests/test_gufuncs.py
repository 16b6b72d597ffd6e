# SPDX-License-Identifier: BSD-3-Clause
"""The gufuncs as gufuncs: any layout, type and broadcast, the same bits."""

import numpy as np
import pytest
from helpers import (
    BATCH_NAMES,
    FLOATS,
    HALVES,
    LAYOUTS,
    MATRICES,
    SOME,
    SOME_MATRICES,
    close,
    core_ndims,
    in_layout,
    kind_of,
    operand_names,
    operands,
    same_bits,
    several,
    sizes,
    spoil_upper,
    through_matrices,
    twin,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gkl
from gkl import _core, ufuncs

NAMES = BATCH_NAMES
WITH_MATRICES = [n for n in NAMES if through_matrices(n)]


@pytest.fixture
def set_threads():
    yield gkl.set_num_threads
    _core.set_threads(0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_at_any_strides(name, dtype):
    gufunc = getattr(ufuncs, name)
    vectors = (((5,), 37), ((130,), 3), ((2,), 1100), ((3, 2), 16), ((9,), 1))
    for batch, d in sizes(name, vectors, (((19,), 3), ((2, 1), 21), ((9,), 1))):
        arrays = operands(name, batch, d, dtype)
        expected = gufunc(*arrays)
        if d < 100:
            close(expected, twin(name, *arrays), dtype, f"d = {d}")
        for how in LAYOUTS[1:]:
            same_bits(gufunc(*(in_layout(x, how) for x in arrays)), expected, f"{how}, d = {d}")
        mixed = [in_layout(x, LAYOUTS[i % 6]) for i, x in enumerate(arrays)]
        same_bits(gufunc(*mixed), expected, f"each its own, d = {d}")


@pytest.mark.parametrize("name", NAMES)
def test_strides_of_zero(name):
    """Core dimensions do not broadcast; np.broadcast_to does it for them."""
    gufunc = getattr(ufuncs, name)
    [(batch, d)] = sizes(name, [((6,), 70)], [((6,), 7)])
    for i, operand in enumerate(operand_names(name)):
        whole = operands(name, batch, d, np.float32)[i]
        along = range(1 if kind_of(operand) in MATRICES else whole.ndim)
        for axes in [*((axis,) for axis in along), tuple(along)]:
            arrays = operands(name, batch, d, np.float32)
            first = tuple(slice(1 if axis in axes else None) for axis in range(whole.ndim))
            arrays[i] = np.broadcast_to(whole[first], whole.shape)
            found = gufunc(*arrays)
            same_bits(found, gufunc(*map(np.array, arrays)), f"{operand} along {axes}")


# The axes of a vector and of a matrix among those of a batch of two dimensions.
PLACES = {0: (), 1: (0,), 2: (3, 1)}


def at_other_axes(x, ndim):
    return np.moveaxis(x, range(-ndim, 0), PLACES[ndim])


@pytest.mark.parametrize("name", NAMES)
def test_axes(name):
    gufunc = getattr(ufuncs, name)
    [d] = sizes(name, [19], [5])
    arrays = operands(name, (4, 3), d, np.float32)
    expected = several(gufunc(*arrays))
    ndims = core_ndims(gufunc)
    moved = [at_other_axes(x, n) for x, n in zip(arrays, ndims, strict=False)]
    found = several(gufunc(*moved, axes=[PLACES[n] for n in ndims]))
    wanted = [at_other_axes(x, n) for x, n in zip(expected, ndims[gufunc.nin :], strict=True)]
    same_bits(found, tuple(wanted))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in WITH_MATRICES if "low_rank" not in n or "full" in n])
def test_what_is_above_the_diagonal_is_not_read(name, dtype):
    gufunc = getattr(ufuncs, name)
    for batch, d in (((19,), 3), ((5,), 9), ((2,), 34)):
        arrays = operands(name, batch, d, dtype)
        expected = gufunc(*arrays)
        for wrong in (np.nan, -np.inf, 1e30):
            spoiled = spoil_upper(name, arrays, wrong)
            same_bits(gufunc(*spoiled), expected, f"{wrong}, d = {d}")
            close(twin(name, *spoiled), expected, dtype)
            same_bits(gufunc(*(in_layout(x, "F") for x in spoiled)), expected, "F order")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_out_at_any_strides(name, dtype):
    gufunc = getattr(ufuncs, name)
    vectors = (((6,), 21), ((2,), 700), ((150,), 2), ((7,), 1))
    for batch, d in sizes(name, vectors, (((18,), 6), ((2,), 17), ((7,), 1))):
        arrays = operands(name, batch, d, dtype)
        expected = several(gufunc(*arrays))
        for how in LAYOUTS:
            out = tuple(in_layout(np.full(x.shape, 7, dtype), how) for x in expected)
            found = several(gufunc(*arrays, out=out))
            assert all(x is y for x, y in zip(found, out, strict=True))
            same_bits(out, expected, how)
    other = tuple(np.empty(x.shape, np.float64) for x in expected)
    gufunc(*arrays, out=other)
    same_bits(other, tuple(x.astype(np.float64) for x in expected), "out= of another type")


def test_out_leaves_what_lies_between_alone():
    room = np.full((8, 30), 7.0)
    arrays = operands("kl_unit_var_grad", (4,), 10)
    ufuncs.kl_unit_var_grad(*arrays, out=(None, room[::2, ::3], None))
    room[::2, ::3] = 7
    assert (room == 7).all()


@pytest.mark.parametrize("name", NAMES)
def test_broadcasting_and_any_place_in_a_batch(name):
    gufunc = getattr(ufuncs, name)
    full = operands(name, (3, 4), 6, np.float32)
    cut = [x[:, :1] if i % 2 else x[:1] for i, x in enumerate(full)]
    cut[-1] = cut[-1][0, 0]
    shape = np.broadcast_shapes(*(x.shape[: x.ndim - n] for x, n in
                                  zip(cut, core_ndims(gufunc), strict=False)))  # fmt: skip
    found = several(gufunc(*cut))
    close(found, twin(name, *cut), np.float32)
    for index in np.ndindex(shape):
        item = [
            np.broadcast_to(x, shape + x.shape[x.ndim - n :])[index]
            for x, n in zip(cut, core_ndims(gufunc), strict=False)
        ]
        same_bits(tuple(x[index] for x in found), gufunc(*item), f"item {index}")


def whole_numbers(kind, x):
    if kind in ("cov", "precision"):
        return np.rint(30 * x).astype(np.int16)
    if kind == "tril":
        return (np.rint(2 * x) + np.eye(x.shape[-1])).astype(np.int16)
    return np.rint(np.abs(x) + 1).astype(np.int8)


@pytest.mark.parametrize("name", NAMES)
def test_types(name):
    gufunc = getattr(ufuncs, name)
    [d] = sizes(name, [18], [6])
    wide = operands(name, (5,), d)
    for small in HALVES:
        stored = [x.astype(np.float32 if operand == "weight" else small)
                  for x, operand in zip(wide, operand_names(name), strict=True)]  # fmt: skip
        expected = gufunc(*(x.astype(np.float32) for x in stored))
        assert several(expected)[0].dtype == np.float32
        for how in LAYOUTS:
            found = gufunc(*(in_layout(x, how) for x in stored))
            same_bits(found, expected, f"{small.__name__}, {how}")
    integers = [whole_numbers(kind_of(operand), x)
                for x, operand in zip(wide, operand_names(name), strict=True)]  # fmt: skip
    assert not np.isnan(several(gufunc(*integers))[0]).any()
    same_bits(gufunc(*integers), gufunc(*(x.astype(np.float64) for x in integers)), "integers")
    narrow = [x.astype(np.float32) for x in wide]
    expected = gufunc(*narrow)
    same_bits(gufunc(*(x.astype(">f4") for x in narrow)), expected, "big-endian")
    same_bits(gufunc(*(x.astype(">f8") for x in wide)), gufunc(*wide), "big-endian")
    if len(wide) > 1 and "weight" not in operand_names(name):
        mixed = [narrow[0], *wide[1:]]
        same_bits(gufunc(*mixed), gufunc(*(x.astype(np.float64) for x in mixed)), "mixed")
        mixed = [narrow[0], *(x.astype(np.float16) for x in wide[1:])]
        same_bits(gufunc(*mixed), gufunc(*(x.astype(np.float32) for x in mixed)), "mixed halves")
    with pytest.raises(TypeError):
        gufunc(*(x.astype(complex) for x in wide))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_for_any_number_of_threads(name, dtype, set_threads):
    """Above the grain of 1 << 17 elements, in each of the core's ways through a job."""
    gufunc = getattr(ufuncs, name)
    vectors = [((300,), 450, "C"), ((45000,), 3, "C"), ((9000,), 16, "F"), ((9,), 16385, "C")]
    matrices = [((403,), 13, "C"), ((20003,), 3, "F"), ((5,), 200, "C"), ((1,), 300, "C")]
    cases = sizes(name, vectors, matrices)
    for batch, d, how in cases if name in (*SOME, *SOME_MATRICES) else cases[:1]:
        arrays = [in_layout(x, how) for x in operands(name, batch, d, dtype)]
        set_threads(1)
        expected = gufunc(*arrays)
        for n in (2, 3, 5):
            set_threads(n)
            same_bits(gufunc(*arrays), expected, f"{n} threads, d = {d}, {how}")


@pytest.mark.parametrize("d", [16384, 16385, 33000, 200001])
@pytest.mark.parametrize("name", SOME)
def test_long_rows(name, d, set_threads):
    """Rows of more than 16384 are summed in segments: at any place, strides and threads."""
    gufunc = getattr(ufuncs, name)
    arrays = operands(name, (2,), d, np.float32)
    set_threads(1)
    expected = several(gufunc(*arrays))
    close(expected, twin(name, *(x.astype(np.float64) for x in arrays)), np.float32)
    set_threads(3)
    same_bits(gufunc(*arrays), expected, "3 threads")
    for how in LAYOUTS[1:4]:
        same_bits(gufunc(*(in_layout(x, how) for x in arrays)), expected, how)
    same_bits(gufunc(*(x[1] for x in arrays)), tuple(x[1] for x in expected), "alone")


@st.composite
def cases(draw):
    name = draw(st.sampled_from(draw(st.sampled_from([NAMES, WITH_MATRICES]))))
    gufunc = getattr(ufuncs, name)
    ins = gufunc.signature.split("->")[0]
    shapes = draw(
        hnp.mutually_broadcastable_shapes(
            signature=f"{ins}->()", max_dims=3, max_side=5, min_side=0
        )
    ).input_shapes
    ndims = core_ndims(gufunc)[: gufunc.nin]
    size = {}
    for shape, n, core in zip(shapes, ndims, ins[1:-1].split("),("), strict=True):
        size |= dict(zip(core.split(","), shape[len(shape) - n :], strict=False))
    # longer rows than hypothesis likes to draw
    d = size["d"] * draw(st.sampled_from(sizes(name, [1, 1, 7, 23], [1, 1, 4, 7])))
    ranks = size.get("r", 0), size.get("s", 0)
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    seed = draw(st.integers(0, 2**16))
    arrays = []
    for i, (shape, n) in enumerate(zip(shapes, ndims, strict=True)):
        x = operands(name, shape[: len(shape) - n], d, dtype, seed, ranks)[i]
        arrays.append(in_layout(x.copy(), draw(st.sampled_from(LAYOUTS))))
    return name, arrays


@settings(max_examples=400, deadline=None)
@given(cases())
def test_any_shapes_strides_and_types(case):
    name, arrays = case
    gufunc = getattr(ufuncs, name)
    found = several(gufunc(*arrays))
    compute = np.float64 if any(x.dtype == np.float64 for x in arrays) else np.float32
    expected = several(twin(name, *(x.astype(np.float64) for x in arrays)))
    for x, y in zip(found, expected, strict=True):
        assert x.shape == y.shape
        assert x.dtype == compute
    close(found, expected, compute)
    same_bits(gufunc(*(x.copy() for x in arrays)), found)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_and_one(name):
    gufunc = getattr(ufuncs, name)
    for batch, d in (((0,), 5), ((3, 0), 5), ((0,), 0), ((4,), 0), ((1,), 5), ((1,), 1), ((), 1)):
        for ranks in sizes(name, [(2, 3)], [(2, 3), (0, 3), (2, 0), (0, 0)]):
            arrays = operands(name, batch, d, ranks=ranks)
            close(gufunc(*arrays), twin(name, *arrays), np.float64, f"{batch}, {d}, {ranks}")
            if "low_rank" not in name:
                break
    if name.startswith("kl") and core_ndims(gufunc)[-gufunc.nout] == 0:
        assert several(gufunc(*operands(name, (4,), 0)))[0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("pair", [n.removesuffix("_grad")[3:] for n in NAMES if n[-5:] == "_grad"])
def test_value_and_gradients_are_the_same_bits_everywhere(pair, dtype):
    names = operand_names(f"kl_{pair}")
    of_p, of_q = ([i for i, x in enumerate(names) if x.endswith(side)] for side in ("_p", "_q"))
    for d in sizes(f"kl_{pair}", (1, 7, 100, 1000, 20000), (1, 3, 8, 21)):
        arrays = operands(f"kl_{pair}", (7,), d, dtype)
        value = getattr(ufuncs, f"kl_{pair}")(*arrays)
        found, *gradients = getattr(ufuncs, f"kl_{pair}_grad")(*arrays)
        same_bits(found, value, "_grad")
        same_bits(getattr(ufuncs, f"kl_{pair}_parts")(*arrays)[0], value, "_parts")
        weighted = getattr(ufuncs, f"kl_{pair}_vjp")(*arrays, dtype(1))
        same_bits(weighted, tuple(gradients), "_vjp")
        for suffix, which in (("_grad_p", of_p), ("_grad_q", of_q)) if of_q else ():
            expected = (value, *(gradients[i] for i in which))
            same_bits(getattr(ufuncs, f"kl_{pair}{suffix}")(*arrays), expected, suffix)
        if through_matrices(f"kl_{pair}"):
            continue
        each = getattr(ufuncs, f"kl_{pair}_per_dim")(*arrays)
        exact = each.astype(np.longdouble).sum(axis=-1)
        np.testing.assert_allclose(value, exact.astype(dtype), rtol=4 * np.finfo(dtype).eps)
        if d == 1:
            same_bits(each[:, 0], value, "_per_dim")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("prefix", ["kl", "jeffreys"])
@pytest.mark.parametrize(
    "pair", ["diag_var", "diag_std", "diag_logvar", "full_cov", "full_tril", "full_precision"]
)
def test_the_divergence_from_itself_is_zero(pair, prefix, dtype):
    for batch, d in sizes(f"kl_{pair}", [((90,), 50)], [((90,), 5), ((11,), 40)]):
        mean, scale, _, _ = operands(f"kl_{pair}", batch, d, dtype)
        assert not np.any(getattr(ufuncs, f"{prefix}_{pair}")(mean, scale, mean, scale))


def test_gradients_of_matrices_are_symmetric_or_triangular():
    for name in WITH_MATRICES:
        if not name.endswith("_grad"):
            continue
        arrays = operands(name, (9,), 7, ranks=(7, 7))
        for operand, x in zip(
            operand_names(name), getattr(ufuncs, name)(*arrays)[1:], strict=True
        ):
            if kind_of(operand) in ("cov", "precision"):
                same_bits(x, np.swapaxes(x, -1, -2).copy(), f"{name}: {operand}")
            elif kind_of(operand) == "tril":
                assert not np.triu(x, 1).any(), f"{name}: {operand}"
