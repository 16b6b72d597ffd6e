# SPDX-License-Identifier: BSD-3-Clause
"""Every kind of call from many Python threads at once: the bits of the same calls one by one.

Without the GIL they do run at once; pytest-run-parallel runs the other tests like this, too."""

import threading

import numpy as np
import pytest
from helpers import python, same_bits

import gkl
from gkl import DiagNormal, FullNormal, LowRankNormal, ufuncs

pytestmark = pytest.mark.thread_unsafe  # it has threads enough of its own

CALLERS = 8
rng = np.random.default_rng(0)
MEAN, LOGVAR = rng.normal(size=(2, 3000, 48))
FACTOR = rng.normal(size=(300, 6, 2))
P = DiagNormal(MEAN, logvar=LOGVAR)
Q = DiagNormal(MEAN[::-1], var=np.exp(LOGVAR))
FULL = FullNormal(MEAN[:300, :6], cov=FACTOR @ FACTOR.swapaxes(1, 2) + np.eye(6))
WIDE = rng.normal(size=(3, 200, 300))  # by BLAS on every ISA
LARGE = FullNormal(WIDE[:, :, 0], cov=WIDE @ WIDE.swapaxes(1, 2))
LOW = LowRankNormal(MEAN[:300, :6], factor=FACTOR, var=0.5)


def gradients(p, q):
    value, *both = gkl.kl_and_grad(p, q)
    return value, *(x for g in both if g is not None for x in g.parameters.values())


CALLS = {
    "kl": lambda: gkl.kl(P, Q),
    "kl of a few": lambda: gkl.kl(P[:2], Q[:2]),
    "kl_and_grad": lambda: gradients(P, Q[0]),
    "gufunc": lambda: ufuncs.kl_diag_logvar_var_terms(MEAN, LOGVAR, Q.mean, Q.var),
    "full": lambda: gradients(FULL, FULL[0]),
    "large": lambda: gradients(LARGE, LARGE[0]),
    "low rank": lambda: gradients(LOW, FULL),
    "prepare": lambda: gkl.kl(FULL, FULL[1].prepare()),
    "pairwise": lambda: gkl.pairwise_kl(P[:150], Q[:170]),
    "nearest": lambda: tuple(gkl.nearest(P[:200], Q[:300], 5)),
    "radius": lambda: tuple(gkl.nearest(P[:100], P[:100], radius=100.0)),
    "pairs": lambda: gkl.pairs_kl(P, Q, np.arange(500), np.arange(500)[::-1]),
}


def many(work):
    """Run work(i) in as many threads as there are callers, at once; what went wrong."""
    barrier, wrong = threading.Barrier(CALLERS), []

    def run(i):
        barrier.wait()
        try:
            work(i)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize("name", CALLS)
def test_one_call_from_many_threads(name):
    call = CALLS[name]
    expected = call()

    def work(i):
        with gkl.num_threads(1 + i % 3):
            for _ in range(3):
                same_bits(call(), expected, name)

    assert many(work) == []


def test_all_calls_side_by_side():
    expected = {name: call() for name, call in CALLS.items()}
    names = list(CALLS)

    def work(i):
        for k in range(len(names)):
            name = names[(i + k) % len(names)]
            same_bits(CALLS[name](), expected[name], name)
            assert gkl.get_num_threads() == before

    before = gkl.get_num_threads()
    assert many(work) == []


FIRST_USE = """
import importlib.util, sys, threading
import gkl  # nothing of it has run yet
import numpy as np

barrier, found = threading.Barrier(8), []
x = np.random.default_rng(0).normal(size=(3, 200, 300))

def work():
    barrier.wait()
    gufunc = gkl.ufuncs.kl_full_cov
    p = gkl.FullNormal(x[:, :, 0], cov=x @ x.swapaxes(1, 2))
    found.append((gufunc, gkl.kl(p).tobytes()))

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and len(set(found)) == 1, "one gufunc, the same bits"
taken = "scipy.linalg.cython_blas" in sys.modules
assert taken or not importlib.util.find_spec("scipy"), "BLAS was not looked for"
"""


def test_the_first_use_by_many_threads():
    """Of the list of kernels, a gufunc, and BLAS, which is looked for when large matrices come."""
    python(FIRST_USE)
