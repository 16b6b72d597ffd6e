# SPDX-License-Identifier: BSD-3-Clause
"""The scalar functions of src_c/math.inc.h, float over all inputs, double over chosen ones.

phi(u) = u - log1p(u) for u > -1, psi(y) = expm1(y) - y, log x for x > 0, exp and expm1. Errors are
in units of u = eps/2 = 2^-24 or 2^-53, relatively to the exact result; below the normal range in
units of the smallest subnormal.
"""

import numpy as np
import pytest
from exact import MP

from gkl import _core

FUNCTIONS = ("phi", "psi", "log", "exp", "expm1")
BOUNDS = {"phi": 4.5, "psi": 4.5, "log": 1.75, "exp": 2.5, "expm1": 2.75}
SUBNORMAL_BOUND = 1.5
CHUNK = 1 << 20


def series(x, coefficients):
    """x^2 (c[0] + c[1] x + ...)"""
    total = np.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return x * x * total


INVERSE_FACTORIALS = 1 / np.cumprod(np.arange(1.0, 20))[1:]


def in_double(name, x):
    """The function of float32 numbers in double: series where the closed form cancels."""
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        if name == "phi":
            near = np.abs(x) < 0.05
            terms = [(-1) ** k / k for k in range(2, 14)]
            return np.where(near, series(np.where(near, x, 0), terms), x - np.log1p(x))
        if name == "psi":
            near = np.abs(x) < 0.25
            return np.where(
                near, series(np.where(near, x, 0), INVERSE_FACTORIALS), np.expm1(x) - x
            )
        return {"log": np.log, "exp": np.exp, "expm1": np.expm1}[name](x)


def in_mpmath(name, x):
    x = MP.mpf(float(x))
    cancels = 0 if x == 0 else max(0, int(-2 * MP.log10(abs(x))))
    with MP.workdps(MP.dps + cancels):
        return {
            "phi": lambda: x - MP.log(1 + x),
            "psi": lambda: MP.exp(x) - 1 - x,
            "log": lambda: MP.log(x),
            "exp": lambda: MP.exp(x),
            "expm1": lambda: MP.exp(x) - 1,
        }[name]()


def domain(name, x):
    return {"phi": x > -1, "log": x > 0}.get(name, np.ones(x.shape, bool))


def errors(got, exact, dtype):
    """Errors in units of u where the exact result is normal, and in subnormal steps elsewhere.

    inf counts as the next number after the largest: a result may overflow only when it is
    within the bound of it, and has to beyond."""
    limits = np.finfo(dtype)
    end = 2.0 * 2.0 ** (limits.maxexp - 1)
    got = np.clip(got.astype(np.float64), -end, end)
    exact = np.clip(exact, -end, end)
    normal = np.abs(exact) >= limits.tiny
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(got - exact)
        relative = np.where(normal, error / np.abs(exact) / (limits.eps / 2), 0)
    return relative, np.where(normal, 0, error / float(limits.smallest_subnormal))


def worst_over(name, start, step):
    """The largest errors of each ISA over the float32 inputs whose bits are start, start + step
    and so on, each with its input: what is measured, and the message of a failure."""
    worst = dict.fromkeys(_core.isas(), ((0.0, None), (0.0, None)))
    before = _core.isa()
    try:
        for first in range(start, 1 << 32, CHUNK * step):
            last = min(first + CHUNK * step, 1 << 32)
            x = np.arange(first, last, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
            x = x[np.isfinite(x)]
            x = x[domain(name, x)]
            exact = in_double(name, x) if x.size else None
            for isa in worst if x.size else ():
                _core.use_isa(isa)
                found = errors(_core.scalar(name, x), exact, np.float32)
                worst[isa] = tuple(
                    max(so_far, (float(error.max()), float(x[error.argmax()])), key=lambda w: w[0])
                    for so_far, error in zip(worst[isa], found, strict=True)
                )
    finally:
        _core.use_isa(before)
    return worst


def assert_within_bounds(name, worst):
    for isa, (normal, subnormal) in worst.items():
        assert normal[0] <= BOUNDS[name], (name, isa, normal)
        assert subnormal[0] <= SUBNORMAL_BOUND, (name, isa, subnormal)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float_over_every_257th_input(name):
    """257 is odd: all patterns of the low bits come, and the range is that of every input."""
    assert_within_bounds(name, worst_over(name, 91, 257))


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float_over_every_input(name):
    assert_within_bounds(name, worst_over(name, 0, 1))


# Where the functions change their form, and where exponents are split off.
SWITCHES = {
    "phi": [np.sqrt(0.5) - 1, np.sqrt(2) - 1, -0.5, 1, *(2.0 ** np.arange(1, 60, 7) - 1)],
    "psi": [-1, 1, *(np.log(2) / 2 * np.arange(-41, 42, 2))],
    "log": [np.sqrt(0.5), np.sqrt(2), 1, 2, *(2.0 ** np.arange(-1020, 1020, 255) * np.sqrt(2))],
    "exp": [0, *(np.log(2) * np.arange(-41, 42, 2)), *(np.log(2) / 2 * np.arange(-41, 42, 2))],
    "expm1": [-1, 1, *(np.log(2) / 2 * np.arange(-41, 42, 2))],
}


def chosen(name, dtype):
    """Random inputs, dense ones near 0 and around the switches, and the ends of the range."""
    rng = np.random.default_rng(FUNCTIONS.index(name))
    limits = np.finfo(dtype)
    most = np.log(float(limits.max))
    sign = rng.choice([-1.0, 1.0], 600)
    steps = 1 + np.arange(-6, 7) * limits.eps
    around = [x * (1 + 2.0 ** rng.uniform(-50, -3, 20) * sign[:20]) for x in SWITCHES[name]]
    ends = limits.tiny * np.array([0.001, 0.5, 1, 2]), limits.max / np.array([1e3, 2, 1])
    x = np.concatenate(
        [
            sign * 10.0 ** rng.uniform(-300, 2, 600),
            sign * 10.0 ** rng.uniform(-20, 0, 600),
            rng.uniform(-1, 2, 1500),
            rng.uniform(-most, most, 600),
            10.0 ** rng.uniform(-307, 308, 600),
            np.outer(SWITCHES[name], steps).ravel(),
            *around,
            *ends,
            [0.0, -0.0],
        ]
    )
    x = x[domain(name, x)]
    return x[np.abs(x) < 1e6] if name in ("psi", "exp", "expm1") else x


@pytest.fixture(scope="module")
def double_cases():
    """Inputs of every function with their exact results: high and low parts, in double."""
    cases = {}
    for name in FUNCTIONS:
        x = chosen(name, np.float64)
        exact = [in_mpmath(name, value) for value in x]
        high = np.array([float(value) for value in exact])
        low = [
            float(value - MP.mpf(h)) if np.isfinite(h) else 0.0
            for value, h in zip(exact, high, strict=True)
        ]
        cases[name] = x, high, np.array(low)
    return cases


@pytest.mark.parametrize("name", FUNCTIONS)
def test_double(name, double_cases, isa):
    x, high, low = double_cases[name]
    limits = np.finfo(np.float64)
    got = _core.scalar(name, x)
    assert not np.isnan(got).any()
    # what rounds to inf is inf, but for what the bound allows next to the largest number
    beyond = np.isinf(high)
    assert np.isinf(got[beyond]).all() or (got[beyond] >= limits.max).all()
    assert (high[np.isinf(got)] > limits.max * (1 - BOUNDS[name] * limits.eps)).all()
    here = ~beyond & np.isfinite(got)
    error = np.abs((got[here] - high[here]) - low[here])
    normal = np.abs(high[here]) >= limits.tiny
    relative = np.where(normal, error / np.where(normal, np.abs(high[here]), 1), 0)
    worst = relative.argmax()
    assert relative[worst] / (limits.eps / 2) <= BOUNDS[name], (x[here][worst], got[here][worst])
    steps = np.where(normal, 0, error) / limits.smallest_subnormal
    assert steps.max() <= SUBNORMAL_BOUND, x[here][steps.argmax()]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signs_and_ends(name, dtype, isa):
    limits = np.finfo(dtype)

    def at(x):
        return _core.scalar(name, np.array([x], dtype))[0]

    if name == "log":
        assert at(1) == 0
        return
    assert at(0) == (1 if name == "exp" else 0)
    if name in ("psi", "exp", "expm1"):
        assert at(limits.max) == np.inf
        assert at(1e4) == np.inf
    if name in ("exp", "expm1"):
        assert at(-limits.max) == at(-1e4) == (0 if name == "exp" else -1)
    if name == "psi":
        assert at(-limits.max) == limits.max
    if name == "phi":
        assert at(limits.max) == limits.max
        assert np.isfinite(at(np.nextafter(dtype(-1), dtype(0))))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_oracle_in_double_is_exact(name):
    """in_double against mpmath: 1000 times better than float, as the bounds above assume."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 1500, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([bits[np.isfinite(bits)], rng.uniform(-1, 3, 500).astype(np.float32)])
    x = x[domain(name, x) & (np.abs(x) < (1e3 if name in ("psi", "exp", "expm1") else np.inf))]
    for value, got in zip(x, in_double(name, x), strict=True):
        exact = in_mpmath(name, value)
        if np.finfo(np.float64).tiny < abs(exact) < np.finfo(np.float64).max:
            assert abs(MP.mpf(float(got)) - exact) <= 2.0**-45 * abs(exact), (value, got)
