# SPDX-License-Identifier: BSD-3-Clause
"""The traps of gufuncs: overlaps, bad items, flags, the lock, interrupts, making them late.

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
    BATCH_NAMES,
    MATRICES,
    SOME,
    SOME_MATRICES,
    core_ndims,
    kind_of,
    operand_names,
    operands,
    python,
    same_bits,
    several,
    sizes,
    twin,
)

import gkl
from gkl import ufuncs

NAMES = BATCH_NAMES


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
    [batch] = sizes(name, [(5,)], [(19,)])  # some vectors of one matrix a lane
    for d in sizes(name, (3, 40, 600), (3, 10)):
        at = {"factor": (2, d - 2, 0)} | dict.fromkeys(MATRICES, (2, d - 2, d - 2))
        for which, wrong in cases if d == 3 else cases[::3]:
            arrays = operands(name, batch, d, dtype)
            for i in which:
                arrays[i][at.get(kinds[i], (2, d - 2))] = wrong
            yield d, arrays, f"operands {which} are {wrong}, d = {d}"
        for i in [i for i in rows if kinds[i] in MATRICES]:
            for wrong in (np.nan, np.inf, -np.inf, 90.0):  # the last is not positive definite
                arrays = operands(name, batch, d, dtype)
                arrays[i][2, d - 1, 0] = wrong
                yield d, arrays, f"operand {i} is {wrong} below the diagonal, d = {d}"


# Lanes that hold a bad item, and those beyond the end of a row, raise flags that NumPy would
# turn into warnings: the core puts the flags back (tried), and the loops are registered without
# floating-point errors, so that NumPy does not look.
@pytest.mark.parametrize("name", NAMES)
def test_bad_items_are_nan_without_a_warning(name):
    gufunc = getattr(ufuncs, name)
    all_d = sizes(name, (3, 40, 600), (3, 10))
    [batch] = sizes(name, [(5,)], [(19,)])
    good = {d: several(gufunc(*operands(name, batch, d, np.float32))) for d in all_d}
    for d, arrays, message in bad_operands(name, np.float32):
        with np.errstate(all="raise"):
            found = several(gufunc(*arrays))
        expected = several(twin(name, *(x[:5] for x in arrays)))
        for x, y, z in zip(found, expected, good[d], strict=True):
            np.testing.assert_array_equal(np.isnan(x[:5]), np.isnan(y), message)
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


@pytest.mark.parametrize(("n", "d"), [(1, 1200), (3000, 96)])
def test_few_matrices_release_the_lock(n, d):
    mean, cov = np.zeros((n, d)), np.broadcast_to(np.eye(d), (n, d, d))
    assert any(progress_during(lambda: ufuncs.kl_unit_cov(mean, cov)) >= 3 for _ in range(8))


INTERRUPTED = """
import signal, sys, time
import numpy as np, gkl
import scipy.linalg.cython_lapack  # which a first call imports, and the interrupt is for the rest
from gkl import ufuncs

calls = []
n, d, how = int(float(sys.argv[1])), int(float(sys.argv[2])), sys.argv[3]
x = np.broadcast_to(np.float32(1), (n, d))
y = np.broadcast_to(np.float32(0), (n, d))
out = np.lib.stride_tricks.as_strided(np.empty(1, np.float32), (n,), (0,))
# in any case: a test run in the background of a shell has interrupts ignored
stays = sys.argv[4] == "stays"
raises = signal.default_int_handler
signal.signal(signal.SIGINT, (lambda *args: calls.append(args)) if stays else raises)
p = gkl.DiagNormal(x, logvar=y)
try:
    print("ready", flush=True)
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
            printed, _ = process.communicate(timeout=600)
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
    assert seconds < 20  # and not a minute or so


def test_an_interrupt_whose_handler_returns_lets_the_call_finish():
    printed, _ = interrupted(1, 2**31, "facade", "stays")
    assert printed == f"done True {float(2**30)}\n"


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
