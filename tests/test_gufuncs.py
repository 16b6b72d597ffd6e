# SPDX-License-Identifier: BSD-3-Clause
"""The gufuncs as gufuncs: any layout, type and broadcast, the same bits; and the traps.

A trap's comment says what breaks without its handling. Those marked "tried" were seen to fail
with a core in which that handling, and nothing else, was switched off.
"""

import ctypes
import ctypes.util
import pickle
import platform
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers import (
    FLOATS,
    LAYOUTS,
    MATRICES,
    close,
    core_ndims,
    in_layout,
    kind_of,
    operand_names,
    operands,
    python,
    same_bits,
    several,
    spoil_upper,
    through_matrices,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gkl
from gkl import _core, reference, ufuncs

ml_dtypes = pytest.importorskip("ml_dtypes")

NAMES = list(ufuncs.__all__)
WITH_MATRICES = [n for n in NAMES if through_matrices(n)]
SOME = ["kl_diag_var", "kl_diag_std_logvar_grad", "kl_unit_logvar_vjp", "kl_diag_logvar_parts"]
SOME += ["kl_unit_std_per_dim", "jeffreys_diag_logvar_var", "entropy_diag_std"]
SOME_MATRICES = ["kl_full_cov", "kl_full_tril_precision_grad", "kl_unit_cov_vjp"]
SOME_MATRICES += ["kl_diag_full_std_cov_parts", "jeffreys_full_precision", "entropy_full_cov"]
SOME_MATRICES += ["kl_low_rank_grad", "kl_full_low_rank_cov", "kl_low_rank_diag_var_terms"]


@pytest.fixture
def set_threads():
    yield gkl.set_num_threads
    _core.set_threads(0)


def twin(name, *arrays):
    return reference.twin(name)(*arrays)


def sizes(name, vectors, matrices):
    """Batches and d for a gufunc: a matrix of d is as much as a row of d^2."""
    return matrices if through_matrices(name) else vectors


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
    for small in (np.float16, ml_dtypes.bfloat16):
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


# Without op_flags of our own NumPy takes a gufunc for elementwise where shapes are the same, and
# lets the output overwrite what later blocks still read (tried: gradients of rows that are
# written from scratch, or read again when a row is judged, go wrong).
@pytest.mark.parametrize("name", NAMES)
def test_out_may_be_or_overlap_an_input(name):
    gufunc = getattr(ufuncs, name)
    ndims = core_ndims(gufunc)
    vectors = (((6,), 6), ((3,), 700), ((40,), 3))
    for batch, d in sizes(name, vectors, (((18,), 3), ((3,), 10))):
        fresh = operands(name, batch, d)
        fresh[-1 if ndims[gufunc.nin - 1] else -2][0, 0] = np.nan  # a row that is read again
        expected = several(gufunc(*fresh))
        for i in range(gufunc.nin):
            for k in range(gufunc.nout):
                arrays = [x.copy() for x in fresh]
                out = [None] * gufunc.nout
                out[k] = part_of(arrays[i], expected[k].shape)
                if out[k] is None:
                    continue
                found = several(gufunc(*arrays, out=tuple(out)))
                assert found[k] is out[k]
                same_bits(found, expected, f"result {k} over operand {i}, d = {d}")
                if fresh[i].shape == expected[k].shape:
                    room = np.empty((batch[0] + 1, *fresh[i].shape[1:]))
                    room[1:] = fresh[i]
                    arrays = [*fresh[:i], room[1:], *fresh[i + 1 :]]
                    out[k] = room[:-1]
                    same_bits(gufunc(*arrays, out=tuple(out)), expected, f"shifted, {k} over {i}")
                    same_bits(out[k], expected[k])


def part_of(x, shape):
    """A view of x with this shape, from the middle of the axes that it lacks, if there is one."""
    if len(shape) > x.ndim or any(n > m for n, m in zip(shape, x.shape, strict=False)):
        return None
    return x[(*(slice(n) for n in shape), *(n // 2 for n in x.shape[len(shape) :]))]


# Without the check in the loop one result silently overwrites the other (tried).
@pytest.mark.parametrize("name", [n for n in NAMES if getattr(ufuncs, n).nout > 1])
def test_the_same_place_for_two_outputs_is_refused(name):
    gufunc = getattr(ufuncs, name)
    for d in (4, 1):
        arrays = operands(name, (3,), d, np.float32)
        first, *_, last = (x.shape for x in several(gufunc(*arrays)))
        room = np.empty((4, *last[1:]), np.float32)
        places = [(room[1:], part_of(room[1:], first))]
        if first == last:
            places += [(room[1:], room[:3]), (room[:3], room[1:]), (room[3:0:-1], room[1:])]
            places += [(np.empty(first),) * 2]  # which NumPy refuses
        for one, other in places:
            with pytest.raises(ValueError):
                gufunc(*arrays, out=(other, *[None] * (gufunc.nout - 2), one))


def test_outputs_may_lie_between_each_other():
    arrays = operands("kl_full_cov_grad", (5,), 4)
    expected = ufuncs.kl_full_cov_grad(*arrays)
    room = np.empty((5, 2, 4, 2, 4))
    out = (None, room[:, 0, :, 0, 0], room[:, 0, :, 1], room[:, 1, :, 0, 0], room[:, 1, :, 1])
    same_bits(ufuncs.kl_full_cov_grad(*arrays, out=out), expected)


def bad_operands(name, dtype):
    """Batches in which item 2 is bad, or may be, each with what makes it so."""
    kinds = [kind_of(x) for x in operand_names(name)]
    scales = [i for i, x in enumerate(kinds) if x not in ("mean", "factor", "weight")]
    rows = [i for i, x in enumerate(kinds) if x != "weight"]
    cases = [((i,), wrong) for i in rows for wrong in (np.nan, np.inf, -np.inf, 0.0, -1.0)]
    cases += [(tuple(scales), wrong) for wrong in (np.nan, np.inf, 0.0, -1.0, -np.inf)]
    cases += [(tuple(rows), wrong) for wrong in (np.nan, np.inf, -2.0)]
    for d in sizes(name, (3, 40, 600), (3, 18)):
        at = {"factor": (2, d - 2, 0)} | dict.fromkeys(MATRICES, (2, d - 2, d - 2))
        for which, wrong in cases if d == 3 else cases[::3]:
            arrays = operands(name, (5,), d, dtype)
            for i in which:
                arrays[i][at.get(kinds[i], (2, d - 2))] = wrong
            yield arrays, f"operands {which} are {wrong}, d = {d}"
        for i in [i for i in rows if kinds[i] in MATRICES]:
            for wrong in (np.nan, np.inf, -np.inf, 90.0):  # the last is not positive definite
                arrays = operands(name, (5,), d, dtype)
                arrays[i][2, d - 1, 0] = wrong
                yield arrays, f"operand {i} is {wrong} below the diagonal, d = {d}"


# Lanes that hold a bad item, and those beyond the end of a row, raise flags that NumPy would
# turn into warnings: the core puts the flags back (tried), and the loops are registered without
# floating-point errors, so that NumPy does not look.
@pytest.mark.parametrize("name", NAMES)
def test_bad_items_are_nan_without_a_warning(name):
    gufunc = getattr(ufuncs, name)
    all_d = sizes(name, (3, 40, 600), (3, 18))
    good = {d: several(gufunc(*operands(name, (5,), d, np.float32))) for d in all_d}
    for arrays, message in bad_operands(name, np.float32):
        with np.errstate(all="raise"):
            found = several(gufunc(*arrays))
        expected = several(twin(name, *arrays))
        d = arrays[0].shape[-1]
        for x, y, z in zip(found, expected, good[d], strict=True):
            np.testing.assert_array_equal(np.isnan(x), np.isnan(y), message)
            same_bits(np.delete(x, 2, 0), np.delete(z, 2, 0), message)


FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW = 1, 4, 8, 16
FLAGS = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW
libm = ctypes.CDLL(ctypes.util.find_library("m"))


def assert_no_flags(gufunc, arrays):
    out = gufunc(*arrays)
    libm.feclearexcept(FLAGS)
    gufunc(*arrays, out=out)
    flags = libm.fetestexcept(FLAGS)
    libm.feclearexcept(FLAGS)
    assert flags == 0


# Without _mm_setcsr at the end of gkl_run the flags of the calling thread stay raised (tried).
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the values of the flags are x86's")
@pytest.mark.parametrize("name", SOME)
def test_no_floating_point_flag_leaks(name):
    gufunc = getattr(ufuncs, name)
    arrays = operands(name, (8,), 13, np.float32)
    scale = arrays[min(1, gufunc.nin - 1)]
    scale[1, 2] = -1  # invalid
    scale[2, 3] = 0  # division by zero
    scale[3, 4] = 1e-38 if "logvar" not in name else 88.0  # overflow
    arrays[0][4, 5] = 1e-38  # underflow
    assert_no_flags(gufunc, arrays)
    result = np.empty(8, np.float32)
    p = gkl.DiagNormal(arrays[0], std=scale)
    libm.feclearexcept(FLAGS)
    libm.feraiseexcept(FE_DIVBYZERO)  # the facade leaves what was raised before, too
    gkl.kl(p, out=result, on_error="nan")
    flags = libm.fetestexcept(FLAGS)
    libm.feclearexcept(FLAGS)
    assert flags == FE_DIVBYZERO


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the values of the flags are x86's")
@pytest.mark.parametrize("name", SOME_MATRICES)
def test_no_floating_point_flag_leaks_from_matrices(name):
    gufunc = getattr(ufuncs, name)
    for d in (3, 13):
        arrays = operands(name, (8,), d, np.float32)
        for x, operand in zip(arrays, operand_names(name), strict=True):
            if kind_of(operand) not in ("mean", "weight"):
                corner = (1,) * (x.ndim - 1)
                x[1][corner], x[2][corner], x[3][corner] = -1, 0, 1e-38
                x[4], x[5], x[6] = x[4] * 1e30, x[5] * 1e-30, np.nan
        assert_no_flags(gufunc, arrays)


def progress_during(call):
    """How many times another Python thread ran while a call did."""
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    margin = (end - start) / 20  # a switch just before or just after
    return sum(start + margin < t < end - margin for t in ticks)


# NumPy releases the lock only for N > 500: without the release in the loop nothing else runs
# (tried).
@pytest.mark.parametrize("n", [1, 400])
def test_short_batches_of_long_rows_release_the_lock(n):
    x = np.broadcast_to(np.float64(0.5), (n, 20_000_000 // n))
    assert any(progress_during(lambda: ufuncs.kl_unit_logvar(x, x)) >= 3 for _ in range(8))


@pytest.mark.parametrize(("n", "d"), [(1, 1000), (300, 96)])
def test_few_matrices_release_the_lock(n, d):
    mean, cov = np.zeros((n, d)), np.broadcast_to(np.eye(d), (n, d, d))
    assert any(progress_during(lambda: ufuncs.kl_unit_cov(mean, cov)) >= 3 for _ in range(8))


INTERRUPTED = """
import signal, sys, time
import numpy as np, gkl
from gkl import ufuncs

calls = []
n, d, how = int(float(sys.argv[1])), int(float(sys.argv[2])), sys.argv[3]
x = np.broadcast_to(np.float32(1), (n, d))
y = np.broadcast_to(np.float32(0), (n, d))
out = np.lib.stride_tricks.as_strided(np.empty(1, np.float32), (n,), (0,))
if sys.argv[4] == "stays":
    signal.signal(signal.SIGINT, lambda *args: calls.append(args))
p = gkl.DiagNormal(x, logvar=y)
print("ready", flush=True)
try:
    if how == "matrices":
        value = ufuncs.kl_unit_cov(x, np.broadcast_to(np.eye(d, dtype=np.float32), (n, d, d)))
    elif how == "gufunc":
        value = ufuncs.kl_unit_logvar(x, y)
    elif how == "outer":
        value = ufuncs.kl_unit_logvar(x[:, None], np.broadcast_to(y[0], (1, 3, d)))
    elif how == "gradients":
        small = gkl.DiagNormal(x[0], logvar=y[0])
        value = gkl.kl_and_grad(p, small, wrt="q", out=(out, None, None))[0]
    else:
        value = gkl.kl(p, out=out)
    print("done", len(calls) > 0, float(value.flat[0]), flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def interrupted(n, d, how, handler):
    """What a call prints that is sent SIGINT 0.3 s after its start, and the seconds from then."""
    command = [sys.executable, "-P", "-c", INTERRUPTED, str(n), str(d), how, handler]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            start = time.perf_counter()
            printed, _ = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 0
    return printed, time.perf_counter() - start


# Without the polls between portions the whole call, of a minute or so, goes on (tried).
@pytest.mark.parametrize(
    ("n", "d", "how"),
    [
        (1, 5e10, "gufunc"),
        (5e4, 1e6, "gufunc"),
        (4e4, 1e6, "outer"),
        (1e9, 16, "facade"),
        (4e6, 1e4, "gradients"),
        (1e7, 64, "matrices"),
        (300, 1500, "matrices"),
    ],
)
def test_an_interrupt_ends_a_long_call(n, d, how):
    printed, seconds = interrupted(n, d, how, "raises")
    assert printed == "interrupted\n"
    assert seconds < 5


def test_a_signal_handler_that_returns_lets_the_call_finish():
    printed, _ = interrupted(1, 2**32, "facade", "stays")
    assert printed == f"done True {float(2**31)}\n"


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


LAZY = """
import sys, threading
import gkl

assert "gkl.reference" not in sys.modules and "ml_dtypes" not in sys.modules
assert not set(vars(gkl.ufuncs)) & set(gkl.ufuncs.__all__)
assert set(gkl.ufuncs.__all__) < set(dir(gkl.ufuncs))
start, found = threading.Barrier(8), []

def ask():
    start.wait()
    found.append([gkl.ufuncs.kl_diag_var, gkl.ufuncs.kl_full_tril_grad])

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
first = [gkl.ufuncs.kl_diag_var, gkl.ufuncs.kl_full_tril_grad]
assert all(x is y for each in found for x, y in zip(each, first, strict=True))
print(len(found))
"""


def test_gufuncs_are_made_when_asked_for_and_once():
    assert python(LAZY) == "8\n"
    assert pickle.loads(pickle.dumps(ufuncs.kl_low_rank)) is ufuncs.kl_low_rank
    everything = {}
    exec("from gkl.ufuncs import *", everything)
    assert all(everything[name] is getattr(ufuncs, name) for name in NAMES)
    with pytest.raises(AttributeError, match=r"'gkl\.ufuncs' has no attribute 'kl_diag'"):
        _ = ufuncs.kl_diag
