# SPDX-License-Identifier: BSD-3-Clause
"""Memory, sizes, processes, threads, the state of the process, lazy arrays."""

import concurrent.futures
import mmap
import os
import platform
import sys

import numpy as np
import pytest
from helpers import close, python, same_bits

import gkl
from gkl import DiagNormal, InvalidGaussianError, _core, reference, ufuncs

BIG = 2**31 + 5  # more than an int counts

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


# --- memory

PEAK = """
import re, sys
import numpy as np, gkl

def status(name):
    with open("/proc/self/status") as f:
        return int(re.search(name + r":\\s+(\\d+) kB", f.read())[1]) / 1024

def filled(shape, dtype=np.float32):
    x = np.empty(shape, dtype)
    x[...] = 0.5
    return x

n, d = 1 << 18, 128  # 128 MiB an array of float32
what = sys.argv[1]
D = gkl.DiagNormal
dtype = np.float16 if what == "halves" else np.float32
mean, logvar = filled((n, d), dtype), filled((n, d), dtype)
shared = filled(d, dtype), filled(d, dtype)
if what == "F order":
    mean, logvar = (filled((d, n)).T for _ in range(2))
p, q = D(mean, logvar=logvar), D(shared[0], logvar=shared[1])
outs = [filled((n, d)) for _ in range(2)] if what == "gradients" else None
if what == "scale of each":
    p = D(mean, std=filled((n, 1)))
if what == "full":
    m, cov = mean[: n // 64, :64], filled((n // 64, 64, 64))
    cov[:] += 64 * np.eye(64, dtype=dtype)
    few, all_of_it = (gkl.FullNormal(m[:k], cov=cov[:k]) for k in (300, n // 64))
    prior = few[0].prepare()
    gkl.kl_and_grad(few, prior)
gkl.kl(D(mean[:3000], logvar=logvar[:3000]), q)  # threads and their stacks
if what == "gradients":
    gkl.kl_and_grad(D(mean[:3000], logvar=logvar[:3000]), q)
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")  # the peak starts anew
before = status("VmRSS")
if what in ("value", "F order", "halves"):
    gkl.kl(p, q)
elif what == "shared q":
    gkl.kl_and_grad(p, q, wrt=("q",))
elif what == "gradients":
    gkl.kl_and_grad(p, q, out=(None, D(outs[0], logvar=outs[1]), None))
elif what == "scale of each":
    gkl.kl_and_grad(p, q, out=(None, D(filled((n, d)), std=filled((n, 1))), None))
    before += 128
elif what == "fresh":
    gkl.kl_and_grad(p, wrt=("p",))
    before += 256
elif what == "full":
    gkl.FullNormal(m, cov=cov, check_symmetric=True)
    gkl.kl(all_of_it)
    gkl.kl_and_grad(all_of_it, prior, wrt=("q",))
    cov[-1, 63, 62] = np.nan
    try:
        gkl.kl(all_of_it)
    except gkl.InvalidGaussianError as e:
        assert e.reason == "p.cov[4095, 63, 62] = nan is not finite", e
elif what == "gufunc":
    gkl.ufuncs.kl_diag_logvar(mean[::-1], logvar[::-1], np.broadcast_to(shared[0], (n, d)),
                              np.broadcast_to(shared[1], (n, d)))
elif what == "an error":
    mean[-1, -1] = np.nan
    try:
        gkl.kl(D(mean.reshape(4, -1), logvar=0.0))
    except gkl.InvalidGaussianError as e:
        assert e.reason.startswith("p.mean[3, 8388607] = nan"), e
elif what == "a q of its own":
    gkl.kl_and_grad(p, D(filled((1, d)), logvar=filled((n, 1))), wrt=("q",))
print(status("VmHWM") - before)
"""


@linux
@pytest.mark.parametrize(
    "what",
    [
        "value", "F order", "halves", "shared q", "gradients", "scale of each", "fresh", "gufunc",
        "a q of its own", "an error", "full",
    ],
)  # fmt: skip
def test_no_batch_sized_temporary(what):
    """Beyond inputs and outputs: the value (1 MiB) and less than 8 MiB, a 16th of one array."""
    assert float(python(PEAK, what)) < 9


# --- more than 2^31 elements


def test_rows_of_more_elements_than_an_int_counts():
    x, y = (np.broadcast_to(np.float32(v), (BIG,)) for v in (1, 0))
    assert gkl.kl(DiagNormal(x, logvar=y)) == np.float32(BIG / 2)
    negative = DiagNormal(x, var=np.broadcast_to(np.float32(-1), (BIG,)))
    assert np.isnan(gkl.kl(negative, on_error="nan"))


def test_batches_of_more_elements_than_an_int_counts():
    d = 2**30 + 1
    x, y = (np.broadcast_to(np.float32(v), (3, d)) for v in (1, 0))
    assert ufuncs.kl_unit_logvar(x, y).tolist() == [np.float32(d / 2)] * 3


@pytest.mark.slow
def test_more_items_than_an_int_counts():
    """Where the value goes has a stride of 0, too; the sums of the gradients tell."""
    x, y = (np.broadcast_to(np.float64(v), (BIG, 1)) for v in (1, 0))
    out = np.lib.stride_tricks.as_strided(np.zeros(1), (BIG,), (0,))
    q = DiagNormal(np.zeros(1), logvar=np.zeros(1))
    value, _, grad = gkl.kl_and_grad(DiagNormal(x, logvar=y), q, wrt=("q",), out=(out, None, None))
    assert value[BIG - 1] == 0.5
    assert grad.mean.tolist() == [-BIG]
    assert grad.logvar.tolist() == [-BIG / 2]


@pytest.mark.slow
@linux
def test_an_item_past_the_int_range_is_found():
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 14 << 30:
        pytest.skip("14 GiB of memory are not free")
    x = np.zeros((BIG, 1), np.float16)
    x[-1] = 3
    value = gkl.kl(DiagNormal(x, logvar=0.0))
    assert value.shape == (BIG,)
    assert value[-1] == 4.5
    assert not value[:-1:997].any()


# --- processes and threads


def large(seed=0):
    rng = np.random.default_rng(seed)
    mean, logvar = rng.normal(size=(2, 3000, 100))
    return DiagNormal(mean, logvar=logvar)


FORK = """
import os, signal
import numpy as np, gkl
x = np.ones((3000, 100))
p = gkl.DiagNormal(x, logvar=x)
expected = gkl.kl(p, threads=2)
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that hangs is killed
        good = (gkl.kl(p, threads=2) == expected).all()
        gkl.kl_and_grad(p, p[0], threads=3)
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if (gkl.kl(p, threads=2) == expected).all() else 3)
        _, status = os.waitpid(grandchild, 0)
        os._exit(0 if good and status == 0 else 4)
    _, status = os.waitpid(child, 0)
    print(status, (gkl.kl(p, threads=2) == expected).all())
"""


# libgomp's threads do not live in the child: without the flag that pthread_atfork sets, the
# child waits for them without end (tried).
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_fork_after_use():
    assert python(FORK).split("\n")[:-1] == ["0 True"] * 3


# in a new process, where no library but gkl has threads
FORKED_WORKERS = """
import multiprocessing
import numpy as np, gkl

def value(seed):
    mean, logvar = np.random.default_rng(seed).normal(size=(2, 3000, 100))
    return gkl.kl(gkl.DiagNormal(mean, logvar=logvar), threads=2)

expected = [value(seed) for seed in range(4)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map_async(value, range(4)).get(timeout=50)
print(*(x.tobytes() == y.tobytes() for x, y in zip(found, expected)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_workers():
    assert python(FORKED_WORKERS).split() == ["True"] * 4


def test_many_python_threads_at_once():
    """Values, gradients and counts of bad items of one thread are not another's."""
    gaussians = [large(seed) for seed in range(8)]
    for i, p in enumerate(gaussians):
        p.mean[: i + 1, 0] = np.nan
    expected = [gkl.kl_and_grad(p, p[-1], on_error="nan") for p in gaussians]

    def work(i):
        p, (value, grad_p, grad_q) = gaussians[i % 8], expected[i % 8]
        with gkl.num_threads(1 + i % 3), pytest.raises(InvalidGaussianError) as caught:
            gkl.kl_and_grad(p, p[-1])
        assert caught.value.count == i % 8 + 1
        found = caught.value.result
        same_bits((found[0], found[1].mean, found[1].logvar, found[2].mean, found[2].logvar),
                  (value, grad_p.mean, grad_p.logvar, grad_q.mean, grad_q.logvar))  # fmt: skip
        return True

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        assert all(pool.map(work, range(128), timeout=100))


THREADS = """
import concurrent.futures
import numpy as np, gkl
x = np.random.default_rng(0).normal(size=(3000, 100))
expected = gkl.ufuncs.kl_unit_logvar(x, x)

def work(i):
    with gkl.num_threads(1 + i % 3):
        return all((gkl.ufuncs.kl_unit_logvar(x, x) == expected).all() for _ in range(5))

with concurrent.futures.ThreadPoolExecutor(64) as pool:
    print(all(pool.map(work, range(256))))
"""


# Before Python 3.12 PyThreadState_GetDict() != NULL says that some thread holds the lock, not that
# this one does: a loop that believes it releases another's, and the process dies (tried).
def test_gufuncs_in_many_python_threads_at_once():
    for _ in range(2):
        assert python(THREADS) == "True\n"


# --- the state of the process

STATE = """
import ctypes, ctypes.util, os, sys, threading
libm = ctypes.CDLL(ctypes.util.find_library("m"))

def state():
    env = (ctypes.c_uint32 * 8)()  # x86-64's fenv_t; the last word is MXCSR
    libm.fegetenv(env)
    return env[7] & 0xffc0, env[0] & 0xffff  # without the flags

import numpy as np, scipy
before, environment = state(), dict(os.environ)
loaded = {name.partition(".")[0] for name in sys.modules}
import gkl
assert state() == before, "import"
assert dict(os.environ) == environment
new = {name.partition(".")[0] for name in sys.modules} - loaded
assert not new & {"dask", "torch", "jax", "numba", "tqdm", "matplotlib", "pandas"}, new
tiny = np.array([2.0**-1060, 2.0**-1074])
x = np.ones((3000, 100), np.float32)
seen = []
for threads in (1, 2, 3):
    gkl.kl_and_grad(gkl.DiagNormal(x, logvar=x), threads=threads)
    gkl.ufuncs.kl_unit_var(x, x)
    assert state() == before, "call"
    assert (tiny / 2).tolist() == [2.0**-1061, 0] and (tiny > 0).all(), "denormals"
    thread = threading.Thread(target=lambda: seen.append(state()))
    thread.start()
    thread.join()
assert seen == [before] * 3
small = gkl.kl(gkl.DiagNormal(np.full((3000, 100), 1e-160), std=1.0), threads=2)
assert (small > 0).all() and (small < 1e-300).all(), "denormals in the core"
print("fine")
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="fenv_t is x86-64's")
def test_denormals_and_the_state_of_the_process_are_left_alone():
    assert python(STATE) == "fine\n"


def test_the_size_of_openmp_teams_of_others_is_left_alone():
    program = """
import gkl, numpy as np, threadpoolctl
before = [(x["user_api"], x["num_threads"]) for x in threadpoolctl.threadpool_info()]
gkl.set_num_threads(3)
x = np.ones((3000, 100))
gkl.kl(gkl.DiagNormal(x, var=x))
assert before == [(x["user_api"], x["num_threads"]) for x in threadpoolctl.threadpool_info()]
"""
    pytest.importorskip("threadpoolctl")
    python(program)
    program = "import gkl; print(gkl.get_num_threads())"
    if _core.has_openmp():
        assert python(program, OMP_NUM_THREADS="3").strip() == "3"


# --- pages that must not be touched

GUARDED = """
import ctypes, mmap
import numpy as np, gkl
from gkl import ufuncs

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

class Room:
    '''Pages between two that cannot be touched.'''
    def __init__(self, pages=5):
        self.size = pages * PAGE
        self.map = mmap.mmap(-1, self.size + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for guard in (start, start + self.size + PAGE):
            assert libc.mprotect(guard, PAGE, 0) == 0
    def array(self, shape, dtype, at_end):
        n = int(np.prod(shape)) * np.dtype(dtype).itemsize
        offset = PAGE + (self.size - n if at_end else 0)
        return np.ndarray(shape, dtype, self.map, offset)

rooms = [Room() for _ in range(9)]
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64, np.float16):
    result = np.promote_types(dtype, np.float32)
    for d in range(1, 131):
        for n in (1, 2 if dtype != np.float64 and d % 2 else 11):
            shapes = [(n, d)] * 2 + [(d,)] * 2
            data = [np.exp(rng.normal(size=s) / 4).astype(dtype) for s in shapes]
            a, b, c, e = data
            wide = np.broadcast_to(c, (n, d)), np.broadcast_to(e, (n, d))
            expected = ufuncs.kl_diag_std_grad(a, b, *wide)
            sums = gkl.kl_and_grad(gkl.DiagNormal(a, std=b), gkl.DiagNormal(c, std=e))
            for at_end in (True, False):
                views = [r.array(x.shape, dtype, at_end) for r, x in zip(rooms, data)]
                for v, x in zip(views, data):
                    v[...] = x
                outs = [r.array(x.shape, result, at_end) for r, x in zip(rooms[4:], expected)]
                a2, b2, c2, e2 = views
                spread = np.broadcast_to(c2, (n, d)), np.broadcast_to(e2, (n, d))
                ufuncs.kl_diag_std_grad(a2, b2, *spread, out=tuple(outs))
                for x, y in zip(outs, expected):
                    assert x.tobytes() == y.tobytes(), (dtype, d, n, at_end)
                p, q = gkl.DiagNormal(a2, std=b2), gkl.DiagNormal(c2, std=e2)
                for x in outs:
                    x[...] = 7
                own = [rooms[7].array((d,), result, at_end), rooms[8].array((d,), result, at_end)]
                grads = gkl.DiagNormal(outs[1], std=outs[2]), gkl.DiagNormal(own[0], std=own[1])
                gkl.kl_and_grad(p, q, out=(outs[0], *grads))
                assert outs[0].tobytes() == expected[0].tobytes()
                assert grads == sums[1:], (dtype, d, n, at_end)
                gkl.kl(p, q, out=outs[0])
                assert outs[0].tobytes() == expected[0].tobytes()
                gkl.kl_per_dim(p, q, out=outs[1])
                backwards = ufuncs.kl_diag_std(a2[::-1, ::-1], b2[::-1, ::-1],
                                               spread[0][:, ::-1], spread[1][:, ::-1])
                turned = ufuncs.kl_unit_std(a2.T.copy().T, b2)
                assert np.isfinite(backwards).all() and np.isfinite(turned).all()
                square = min(n, d)
                ufuncs.kl_unit_std(a2.T[:, :square], b2.T[:, :square])  # columns
print("fine")
"""


GUARDED_MATRICES = """
import gaussians, numpy as np, gkl

def turned(x, name):
    return np.flip(x, (-1, -2)[: gaussians.CORE.get(name, 1)])

rooms = [Room(11) for _ in range(14)]  # 5 x 33 x 33 float64
for dtype in (np.float32, np.float64, np.float16):
    result = np.promote_types(dtype, np.float32)
    for way, d in (*(("lanes", d) for d in (*range(1, 20), 31, 32, 33)),
                   *(("blas", d) for d in (1, 2, 9, 31, 32, 33))):
        gkl._core.set_way(way)
        for n, kinds in ((1, gaussians.FULL), (5, ("cov", "low_rank")), (5, ("std", "tril"))):
            p = gaussians.gaussian(kinds[0], (n,), d, dtype)
            q = gaussians.gaussian(kinds[1], (), d, dtype, seed=1, rank=d % 4)
            expected = gkl.kl_and_grad(p, q)
            for at_end in (True, False):
                left = iter(rooms)
                def placed(x, dtype=dtype):
                    def place(y, name):
                        z = next(left).array(y.shape, dtype, at_end)
                        z[...] = y
                        return z
                    return gaussians.rebuilt(x, place)
                a, b = placed(p), placed(q)
                outs = placed(p, result), placed(q, result)
                value = next(left).array((n,), result, at_end)
                found = gkl.kl_and_grad(a, b, out=(value, *outs))
                for x, y in zip((value, *gaussians.arrays(*found[1:])),
                                (expected[0], *gaussians.arrays(*expected[1:]))):
                    assert x.tobytes() == y.tobytes(), (dtype, way, d, n, kinds, at_end)
                gkl.kl(*(gaussians.rebuilt(x, turned) for x in (a, b)), on_error="nan")
                gkl.entropy(a, out=value)
                gkl.jeffreys(a, b, out=value)
print("fine")
"""


@linux
@pytest.mark.parametrize("isa", _core.isas())
def test_nothing_beyond_the_ends_of_arrays_is_touched(isa):
    assert mmap.PAGESIZE * 5 >= 11 * 130 * 8
    assert python(GUARDED, GKL_ISA=isa) == "fine\n"


@linux
@pytest.mark.parametrize("isa", _core.isas())
def test_nothing_beyond_the_ends_of_matrices_is_touched(isa):
    program = GUARDED[: GUARDED.index("rooms = ")] + GUARDED_MATRICES
    here = os.path.dirname(__file__)
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    assert python(program, GKL_ISA=isa, PYTHONPATH=path) == "fine\n"


# --- lazy arrays

NAMES = {"kl": gkl.kl, "jeffreys": gkl.jeffreys, "cross_entropy": gkl.cross_entropy}
NAMES |= {"kl_per_dim": gkl.kl_per_dim, "entropy": lambda p, q, **more: gkl.entropy(p, **more)}


@pytest.fixture(scope="module")
def da():
    return pytest.importorskip("dask.array")


def lazy_pair(da, dtype=np.float32):
    rng = np.random.default_rng(0)
    mean, logvar = rng.normal(size=(2, 30, 7)).astype(dtype)
    q = DiagNormal(rng.normal(size=7).astype(dtype), var=np.exp(rng.normal(size=7)).astype(dtype))
    lazy = DiagNormal(*(da.from_array(x, chunks=(8, 7)) for x in [mean]),
                      logvar=da.from_array(logvar, chunks=(8, 7)))  # fmt: skip
    return DiagNormal(mean, logvar=logvar), lazy, q


@pytest.mark.parametrize("name", NAMES)
def test_dask_arrays_stay_lazy(name, da):
    p, lazy, q = lazy_pair(da)
    found = NAMES[name](lazy, q)
    assert type(found) is da.Array
    assert found.chunks[0] == (8, 8, 8, 6)
    same_bits(found.compute(), NAMES[name](p, q))
    with pytest.raises(TypeError, match="out= cannot take lazy results"):
        NAMES[name](lazy, q, out=np.empty(found.shape, np.float32))


@pytest.mark.parametrize(
    "weight", [None, 2.0, np.arange(30.0), np.arange(30, dtype=np.float32), np.ones((1,))]
)
def test_gradients_of_dask_arrays(weight, da):
    p, lazy, q = lazy_pair(da)
    value, grad_p, grad_q = gkl.kl_and_grad(lazy, q, weight=weight)
    expected = gkl.kl_and_grad(p, q, weight=weight)
    assert value.chunks == ((8, 8, 8, 6),)
    assert grad_p.mean.chunks == ((8, 8, 8, 6), (7,))
    same_bits(value.compute(), expected[0])
    for x, y in ((grad_p.mean, expected[1].mean), (grad_p.logvar, expected[1].logvar),
                 (grad_q.mean, expected[2].mean), (grad_q.var, expected[2].var)):  # fmt: skip
        assert x.shape == y.shape
        assert x.dtype == x.compute().dtype == y.dtype
        close(x.compute(), y, y.dtype)
    assert gkl.kl_and_grad(lazy, q, wrt=("q",))[1] is None
    assert gkl.kl_and_grad(lazy)[2] is None
    with pytest.raises(TypeError, match="out= cannot take lazy results"):
        gkl.kl_and_grad(lazy, q, out=(None, None, None))


def test_dask_terms_numbers_and_bad_items(da):
    p, lazy, q = lazy_pair(da)
    terms, expected = gkl.kl_terms(lazy, q), gkl.kl_terms(p, q)
    assert terms.dim == 7
    for name in ("mahalanobis", "trace", "logdet", "kl", "mean_part", "cov_part"):
        same_bits(getattr(terms, name).compute(), getattr(expected, name))
    numbers = DiagNormal(lazy.mean, std=2.0)
    same_bits(gkl.kl(numbers).compute(), gkl.kl(DiagNormal(p.mean, std=2.0)))
    same_bits(gkl.kl(lazy, DiagNormal(0.0, var=1)).compute(), gkl.kl(p, DiagNormal(0.0, var=1)))
    bad = DiagNormal(lazy.mean, var=-abs(lazy.logvar))
    assert np.isnan(gkl.kl(bad).compute()).all()
    assert lazy[3:5].batch_shape == (2,)
    with pytest.raises(ValueError, match="fit"):
        gkl.kl(lazy, DiagNormal(np.zeros((30, 6)), var=1.0))


def test_the_entropy_of_a_dask_array_has_the_batch_of_its_mean(da):
    p, lazy, _ = lazy_pair(da)
    found = gkl.entropy(DiagNormal(lazy.mean, logvar=p.logvar[0]))
    same_bits(np.asarray(found), gkl.entropy(DiagNormal(p.mean, logvar=p.logvar[0])))


def test_a_weight_for_dask_arrays_is_checked(da):
    _, lazy, q = lazy_pair(da)
    with pytest.raises(ValueError, match="weight does not fit"):
        gkl.kl_and_grad(lazy, q, weight=np.ones((2, 30)))
    with pytest.raises(TypeError, match="weight has dtype"):
        gkl.kl_and_grad(lazy, q, weight="a")


def test_gufuncs_of_dask_arrays(da):
    p, lazy, q = lazy_pair(da)
    found = ufuncs.kl_diag_logvar_var_grad(lazy.mean, lazy.logvar, q.mean, q.var)
    wide = [np.broadcast_to(x, (30, 7)) for x in (q.mean, q.var)]
    expected = reference.twin("kl_diag_logvar_var_grad")(p.mean, p.logvar, *wide)
    for x, y in zip(found, expected, strict=True):
        close(x.compute(), y, np.float32)
