# SPDX-License-Identifier: BSD-3-Clause
"""Every function against the exact result, on every ISA.

The promise: value, KL by dimension and each component of the gradients within 4 eps of the exact
result, relatively (the gradient of q's scale: to |u| + m), wherever delta, delta/v_q (delta/s_q,
delta e^(-l_q/2)), the ratio and the result are normal numbers; elsewhere 0 or inf in the right
direction, and never NaN. Entropies and textbook terms: relatively to the sum of the absolute
summands. Where a log-variance meets another parameter: 4 eps (1 + 1/|u|) in each dimension.
The Jeffreys divergence, which has the square of u, is within 6 eps.
"""

import functools
import itertools
import re

import numpy as np
import pytest
from exact import HAS_WIDE, MP, WIDE, WIDE_ERROR, Wide, item, to_wide, variance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gkl import _core, reference, ufuncs

BOUND = 4  # eps
JEFFREYS_BOUND = 6
NAMES = reference.names("diag")
KINDS = ("var", "std", "logvar")
DTYPES = (np.float32, np.float64)
PAIRS = [*itertools.product(KINDS, KINDS), *((p, None) for p in KINDS)]
GRADIENTS = ["d_mean_p", "d_scale_p", "d_mean_q", "d_scale_q"]
RESULTS = {
    "kl": ["kl"],
    "kl_per_dim": ["kl_per_dim"],
    "kl_grad": ["kl", *GRADIENTS],
    "kl_grad_p": ["kl", *GRADIENTS[:2]],
    "kl_grad_q": ["kl", *GRADIENTS[2:]],
    "kl_vjp": GRADIENTS,
    "kl_terms": ["mahalanobis", "trace", "logdet"],
    "kl_parts": ["kl", "mean_part", "cov_part"],
    "jeffreys": ["jeffreys"],
    "cross_entropy": ["cross_entropy"],
    "entropy": ["entropy"],
}
BY_DIMENSION = {"kl_per_dim", *GRADIENTS}
NAME = re.compile(
    r"(?P<prefix>[a-z_]+?)_(?P<family>diag|unit)_(?P<p>var|std|logvar)(_(?P<q>var|std|logvar))?"
    r"(?P<suffix>(_[a-z]+)*)"
)

pytestmark = pytest.mark.thread_unsafe  # the instruction set is the process's
needs_wide = pytest.mark.skipif(
    not HAS_WIDE, reason="np.longdouble is no wider than double here: no fast oracle"
)


def every_isa():
    """The same for a loop within a test, where the oracle is the larger part of the work."""
    before = _core.isa()
    try:
        for name in _core.isas():
            _core.use_isa(name)
            yield name
    finally:
        _core.use_isa(before)


def parse(name):
    """The two kinds (None: q = N(0, I)) and the results of a function."""
    part = NAME.fullmatch(name)
    assert part, f"{name}: no accuracy test knows what it is"
    pair = part["p"], None if part["family"] == "unit" else part["q"] or part["p"]
    results = RESULTS[part["prefix"] + part["suffix"]]
    return pair, [r for r in results if pair[1] or not r.endswith("_q")]


def pair_name(kind_p, kind_q):
    if kind_q is None:
        return f"unit_{kind_p}"
    return f"diag_{kind_p}" if kind_p == kind_q else f"diag_{kind_p}_{kind_q}"


# Families of Gaussians: mean_p, log-variance of p, mean_q, log-variance of q; means may be in
# units of q's standard deviation.  A kind's parameter is the rounded one, also for the oracle.


def to_kind(kind, logvar, dtype):
    if kind == "logvar":
        return logvar.astype(dtype)
    return np.exp(logvar / (1 if kind == "var" else 2)).astype(dtype)


def signs(rng, n):
    return rng.choice([-1.0, 1.0], n)


def generic(rng, n, dtype):
    return rng.normal(size=(4, *n))


def near(rng, n, dtype):
    """Relative differences from 1e-1 down to 1e-12 (float32: 1e-6)."""
    small = -12 if dtype == np.float64 else -6
    l_q, mean_q = rng.normal(size=(2, *n))
    shift, turn = 10.0 ** rng.uniform(small, -1, (2, *n)) * signs(rng, (2, *n))
    turn[rng.random(n) < 0.3] = 0
    shift[rng.random(n) < 0.3] = 0
    return mean_q * (1 + shift), l_q + turn, mean_q, l_q


def close_logvars(rng, n, dtype):
    """Log-variances up to +-80 (float64: +-600) with close partners."""
    most = 600 if dtype == np.float64 else 80
    l_q = rng.uniform(-most, most, n)
    turn = 10.0 ** rng.uniform(-6, 0, n) * signs(rng, n)
    delta = rng.normal(size=n) * np.exp(l_q / 2)
    return delta, l_q + turn, np.zeros(n), l_q


def distant_logvars(rng, n, dtype):
    """The same, log-variances far from one another."""
    most = 600 if dtype == np.float64 else 80
    l_p, l_q = rng.uniform(-most, most, (2, *n))
    delta = rng.normal(size=n) * np.exp(np.maximum(l_p, l_q) / 2)
    return delta, l_p, np.zeros(n), l_q


def apart(rng, n, dtype):
    """Standard deviations far apart: by up to 1e150 (float32: 1e18)."""
    most = 345 if dtype == np.float64 else 42
    s_p, s_q = rng.uniform(-most / 2, most / 2, (2, *n))
    return rng.normal(size=n), 2 * s_p, rng.normal(size=n), 2 * s_q


def scales(rng, n, dtype):
    """Parameters from 1e-300 to 1e300 (float32: 1e-37 to 1e37), partners within 1e3."""
    most = 690 if dtype == np.float64 else 85
    l_q = rng.uniform(-most, most, n)
    return rng.normal(size=n) * np.exp(l_q / 2), l_q + rng.uniform(-7, 7, n), np.zeros(n), l_q


def offset(rng, n, dtype):
    """Means with 1e4 in common."""
    mean_p, l_p, mean_q, l_q = rng.normal(size=(4, *n))
    return 1e4 + mean_p, l_p, 1e4 + mean_q, l_q


def switches(rng, n, dtype):
    """Ratios of variances and of standard deviations where the functions change their form."""
    powers = np.log(2) * np.array([-2, -1, -0.5, 0.5, 1, 2, 3, 40])
    at = rng.choice([*powers, *(2 * powers), -2, -1, 1, 2], n)
    l_q = rng.normal(size=n)
    turn = rng.choice([1e-3, 1e-2, 0.1], n) * rng.normal(size=n)
    delta = np.where(rng.random(n) < 0.7, 0, rng.normal(size=n))
    return delta, l_q + at + turn, np.zeros(n), l_q


FAMILIES = (generic, near, close_logvars, distant_logvars, apart, scales, offset, switches)


def brink(rng, n, dtype):
    """Ratios and mean parts at the limits of the type's range."""
    ends = np.log(np.finfo(dtype).max), np.log(np.finfo(dtype).tiny)
    l_p, l_m = rng.choice(ends, (2, *n)) + rng.uniform(-2, 2, (2, *n))
    which = rng.integers(3, size=n)
    l_p, l_m = np.where(which == 0, 0.5, l_p), np.where(which == 1, 0.5, l_m)
    return np.exp(l_m / 2), l_p / 2, np.zeros(n), -l_p / 2


def anywhere(rng, n, dtype):
    """Everything over the whole range, so that delta^2/v_q may leave it while others stay."""
    end = np.log(np.finfo(dtype).max) - 1
    l_q, l_delta = rng.uniform(-end, end, (2, *n))
    l_p = l_q + rng.choice([0.0, 1e-4, 1.0, end / 2], n) * rng.uniform(-1, 1, n)
    return signs(rng, n) * np.exp(l_delta), l_p, np.zeros(n), l_q


ENDS = (brink, anywhere)


@functools.cache
def gaussians(family, pair, dtype, shape):
    """Operands of one family, and the oracle for them."""
    rng = np.random.default_rng([(*FAMILIES, *ENDS).index(family), *shape])
    kind_p, kind_q = pair
    with np.errstate(over="ignore", under="ignore"):
        mean_p, l_p, mean_q, l_q = family(rng, shape, dtype)
        if kind_q is None:  # what was between p and q is between p and N(0, I)
            if family in (near, close_logvars, switches):
                mean_p, l_p = mean_p - mean_q, l_p - l_q
            operands = [mean_p.astype(dtype), to_kind(kind_p, l_p, dtype)]
        else:
            operands = [mean_p.astype(dtype), to_kind(kind_p, l_p, dtype)]
            operands += [mean_q.astype(dtype), to_kind(kind_q, l_q, dtype)]
    for scale, kind in zip(operands[1::2], pair, strict=False):
        if kind != "logvar":  # what has left the type's range comes back to its end
            limits = np.finfo(dtype)
            np.clip(scale, limits.smallest_subnormal, limits.max, out=scale)
    assert all(np.isfinite(x).all() for x in operands)
    return operands, oracle(pair, operands)


def oracle(pair, operands):
    return Wide(pair[0], *operands[:2], pair[1], *operands[2:])


def is_normal(x, dtype, zero=False):
    limits = np.finfo(dtype)
    x = np.abs(x)
    return ((x >= limits.tiny) & (x <= limits.max)) | ((x == 0) & zero)


def in_range(exact, dtype, both_ways=False):
    """Where the promise holds, by dimension, but for the result itself."""
    return exact.once(("in range", both_ways), lambda _: _in_range(exact, dtype, both_ways))


def _in_range(exact, dtype, both_ways):
    good = is_normal(exact.r, dtype) & is_normal(exact.delta, dtype, True)
    scales = (exact.scale_p, exact.scale_q)
    for side in (1, 0)[: 1 + both_ways]:
        x = np.exp(scales[side] / 2) if exact.kinds[side] == "logvar" else scales[side]
        good &= is_normal(exact.delta / x, dtype, True)
    return good & (is_normal(1 / exact.r, dtype) | (not both_ways))


class Report:
    """What is wrong, and by how much at worst; the whole of it is the message of the test."""

    def __init__(self):
        self.lines = []

    def compare(self, label, got, value, tolerance, good, operands, finite=True, there=True):
        """`got` against `value`, within `tolerance` eps where `good`; elsewhere it is not NaN,
        and it is inf or 0 where `value` is too large or too small for the type, as long as what
        it is computed from is `there` (not 0 for what is not) or `finite`."""
        limits = np.finfo(got.dtype)
        wide = got.astype(WIDE)
        self.each(label, "is NaN", np.isnan(got), got, value, operands)
        with np.errstate(all="ignore"):
            error = np.abs(wide - value) / limits.eps
            good = good & is_normal(value, got.dtype, True)
            # the oracle's own error counts in favor of what is tested
            wrong = good & ~(error <= tolerance * (1 + WIDE_ERROR / limits.eps))
            worst = np.where(wrong, error / tolerance, 0).max(initial=0)
            high = (np.abs(value) > 2 * WIDE(limits.max)) & there
            low = (np.abs(value) < limits.tiny / 2) & finite
        self.each(f"{label}: {worst:.3g} times the bound", "wrong", wrong, got, value, operands)
        lost = high & ~(np.isinf(got) & (np.sign(got) == np.sign(value)))
        self.each(label, "did not overflow", lost, got, value, operands)
        large = np.abs(got) > limits.tiny + tolerance * limits.eps
        self.each(label, "did not vanish", low & large, got, value, operands)

    def each(self, label, what, where, got, value, operands):
        if where.any():
            at = tuple(np.argwhere(where)[0])
            given = [x[at] for x in operands]
            self.lines.append(
                f"{label} {what} in {where.sum()} of {where.size}, first {at}: "
                f"{got[at]!r} for {value[at]!r} from {given!r}"
            )

    def finish(self):
        assert not self.lines, "\n".join(["", *self.lines])


def call(name, operands):
    found = getattr(ufuncs, name)(*operands)
    return found if isinstance(found, tuple) else (found,)


def check(report, label, name, operands, exact, dtype, weight=None):
    """One function against the oracle, in all its results."""
    results = parse(name)[1]
    entropy, jeffreys = results == ["entropy"], results == ["jeffreys"]
    arguments = [operands[1]] if entropy else list(operands)
    if name.endswith("_vjp"):
        arguments.append(weight)
    good = in_range(exact, dtype, both_ways=jeffreys) | entropy
    for result, got in zip(results, call(name, arguments), strict=True):
        value, unit, there = exact[result], exact.unit(result), good
        if result not in BY_DIMENSION:
            value, unit, there = value.sum(-1), unit.sum(-1), good.all(-1)
        elif name.endswith("_vjp"):
            there = there & is_normal(value, dtype, True)
            value, unit = value * weight[..., None], unit * np.abs(weight[..., None])
        assert got.dtype == dtype
        tolerance = unit * (JEFFREYS_BOUND if jeffreys else BOUND)
        report.compare(f"{label}: {name}: {result}", got, value, tolerance, there, operands)


def weights(dtype, n):
    rng = np.random.default_rng(n)
    return (rng.uniform(0.1, 10, n) * signs(rng, n)).astype(dtype)


@needs_wide
@pytest.mark.parametrize("rows", [300, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_accuracy(name, dtype, rows, isa):
    report = Report()
    find = gaussians if rows <= 1000 else gaussians.__wrapped__
    for family in FAMILIES:
        operands, exact = find(family, parse(name)[0], dtype, (rows, 3))
        check(report, family.__name__, name, operands, exact, dtype, weights(dtype, rows))
    report.finish()


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_accuracy_at_the_ends_of_the_range(name, dtype, isa):
    report = Report()
    for family in ENDS:
        operands, exact = gaussians(family, parse(name)[0], dtype, (1000, 1))
        check(report, family.__name__, name, operands, exact, dtype, weights(dtype, 1000))
    report.finish()


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", [(kind, q) for kind in KINDS for q in (kind, None)])
def test_accuracy_at_the_switches(pair, dtype):
    """Many more where the functions change their form: errors are largest there."""
    operands, exact = gaussians.__wrapped__(switches, pair, dtype, (40_000, 1))
    report = Report()
    for isa, name in ((isa, name) for isa in every_isa() for name in ("kl_{}", "jeffreys_{}")):
        check(report, isa, name.format(pair_name(*pair)), operands, exact, dtype)
    report.finish()


DIMENSIONS = (1, 2, 3, 7, 8, 15, 16, 17, 31, 64, 100, 1000, 1025, 20_000)
SUMS = ("kl_{}", "kl_{}_grad", "kl_{}_terms", "kl_{}_parts", "jeffreys_{}", "cross_entropy_{}")


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("d", DIMENSIONS)
def test_dimensions(d, pair, dtype):
    report = Report()
    rows = max(1, min(40, 4000 // d))
    for family in (generic, near):
        operands, exact = gaussians.__wrapped__(family, pair, dtype, (rows, d))
        for isa, name in ((isa, name) for isa in every_isa() for name in SUMS):
            label = f"{isa}: {family.__name__}"
            check(report, label, name.format(pair_name(*pair)), operands, exact, dtype)
    report.finish()


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "pair",
    [
        ("var", "var"),
        ("logvar", None),
        ("std", "logvar"),
        *(pytest.param(pair, marks=pytest.mark.slow) for pair in PAIRS),
    ],
)
def test_a_million_dimensions(pair, dtype):
    operands, exact = gaussians.__wrapped__(near, pair, dtype, (1, 1_000_000))
    report = Report()
    for isa, name in ((isa, name) for isa in every_isa() for name in ("kl_{}", "kl_{}_parts")):
        check(report, isa, name.format(pair_name(*pair)), operands, exact, dtype)
    report.finish()


@needs_wide
@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
@pytest.mark.parametrize("pair", PAIRS)
def test_half_precision_is_read_exactly(pair, storage, isa):
    if storage == "bfloat16":
        storage = pytest.importorskip("ml_dtypes").bfloat16
    report = Report()
    for family in (generic, offset):
        operands = [x.astype(storage) for x in gaussians(family, pair, np.float32, (300, 3))[0]]
        exact = oracle(pair, [x.astype(np.float32) for x in operands])
        for name in SUMS:
            name = name.format(pair_name(*pair))
            check(report, family.__name__, name, operands, exact, np.float32)
    report.finish()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_one_value_whatever_else_is_asked_for(pair, dtype, isa):
    """The KL beside gradients and parts has the bits of the KL alone."""
    for family in FAMILIES:
        operands = gaussians(family, pair, dtype, (300, 3))[0]
        kl = call(f"kl_{pair_name(*pair)}", operands)[0]
        for suffix in ("_grad", "_parts") + ("_grad_p", "_grad_q") * (pair[1] is not None):
            same = call(f"kl_{pair_name(*pair)}{suffix}", operands)[0]
            np.testing.assert_array_equal(kl, same)


# Corners: whatever finite and valid parameters there are.


def corners(dtype):
    limits = np.finfo(dtype)
    big, tiny, least = limits.max, limits.tiny, limits.smallest_subnormal
    some = np.array([1, 3, 1e-5, 1e4, 1e30], dtype)
    scale = [*some, least, 5 * least, tiny, 2 * tiny, np.sqrt(tiny), np.sqrt(big), big / 4, big]
    logvar = [0, least, -tiny, 1, -1, 80, -87.5, -103, 1e3, -1e3, 1e5, -1e5, big, -big]
    mean = [(0, 0), (1, 0), (-3, 1e4), (least, 0), (0, tiny), (big, -big), (-big, big / 2),
            (np.sqrt(big), 0), (1e-30, -1e-30), (big, big)]  # fmt: skip
    by_kind = {"var": scale, "std": scale, "logvar": logvar}
    return mean, {kind: np.array(x, dtype) for kind, x in by_kind.items()}


@functools.cache
def corner_items(pair, dtype):
    """Operands, one dimension each, and the exact results of each."""
    mean, scale = corners(dtype)
    q = scale[pair[1]] if pair[1] else [None]
    cases = [(*m, p, x) for m, p, x in itertools.product(mean, scale[pair[0]], q)]
    mean_p, mean_q, p, q = (np.array(x) for x in zip(*cases, strict=True))
    operands = [mean_p.astype(dtype), p] + ([mean_q.astype(dtype), q] if pair[1] else [])
    items = [item(pair[0], *x[:2], pair[1], *x[2:]) for x in zip(*operands, strict=True)]
    exact = {name: np.array([to_wide(x[name]) for x in items]) for name in items[0]}
    return [x[:, None] for x in operands], exact


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_corners(pair, dtype, isa):
    """Never NaN, and 0 or inf where the exact result is out of range."""
    operands, exact = corner_items(pair, dtype)
    report = Report()
    for name in [x for x in NAMES if parse(x)[0] == pair and not x.endswith("_vjp")]:
        results = parse(name)[1]
        arguments = operands[1:2] if results == ["entropy"] else operands
        on_the_way = ["delta", "whitened", "trace"] + ["whitened_p"] * (results == ["jeffreys"])
        size = np.abs([exact[x] for x in on_the_way])
        finite = (size <= np.finfo(dtype).max).all(axis=0)
        there = ((size >= np.finfo(dtype).tiny) | (size == 0)).all(axis=0)
        for result, got in zip(results, call(name, arguments), strict=True):
            got, label = got.reshape(-1), f"{name}: {result}"
            report.compare(label, got, exact[result], 0, False, operands, finite, there)
            against = np.sign(got) * np.sign(exact[result]) < 0
            report.each(label, "has the wrong sign", against, got, exact[result], operands)
    report.finish()


# Never negative, and zero for equals.


def finite(dtype, kind):
    """Any valid parameter of this kind."""
    limits = np.finfo(dtype)
    low = {"mean": -limits.max, "logvar": -limits.max}.get(kind, limits.smallest_subnormal)
    width = limits.bits
    return st.floats(float(low), float(limits.max), width=width, allow_nan=False)


@st.composite
def any_gaussians(draw):
    pair = draw(st.sampled_from(PAIRS))
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=20))
    kinds = ("mean", pair[0]) + (("mean", pair[1]) if pair[1] else ())
    operands = [draw(hnp.arrays(dtype, shape, elements=finite(dtype, kind))) for kind in kinds]
    if pair[0] == pair[1] and draw(st.booleans()):  # close partners
        steps = draw(hnp.arrays(np.int8, shape))
        bits = operands[1].view(f"i{dtype().itemsize}")
        moved = np.maximum(bits + steps, bits).view(dtype)
        operands[3] = np.where(np.isfinite(moved), moved, operands[1])
    return pair, operands


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_gaussians())
def test_never_negative_never_nan(gaussians):
    pair, operands = gaussians
    for isa in every_isa():
        for name in ("kl_{}", "kl_{}_per_dim", "kl_{}_parts", "jeffreys_{}"):
            for x in call(name.format(pair_name(*pair)), operands):
                assert (x >= 0).all(), (isa, name, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_never_negative_near_equality(pair, dtype, isa):
    operands = gaussians.__wrapped__(near, pair, dtype, (20_000, 5))[0]
    for name in ("kl_{}_per_dim", "kl_{}_parts", "jeffreys_{}"):
        for x in call(name.format(pair_name(*pair)), operands):
            assert (x >= 0).all()


@pytest.mark.parametrize("d", [1, 5, 40, 3000])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_are_at_zero(kind, dtype, d, isa):
    rng = np.random.default_rng(d)
    _, scale = corners(dtype)
    mean = rng.choice([0, 1, -1e4, 1e30, np.finfo(dtype).max], (50, d)).astype(dtype)
    x = rng.choice([*scale[kind], *to_kind(kind, rng.normal(size=50), dtype)], (50, d))
    for name in ("kl_{}", "kl_{}_per_dim", "kl_{}_grad", "kl_{}_parts", "jeffreys_{}"):
        for result in call(name.format(f"diag_{kind}"), [mean, x, mean.copy(), x.copy()]):
            assert (result == 0).all(), name
    mahalanobis, trace, logdet = call(f"kl_diag_{kind}_terms", [mean, x, mean, x])
    assert (mahalanobis == 0).all()
    assert (trace == d).all()
    assert (logdet == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_unit_prior_is_at_zero_from_itself(kind, dtype, isa):
    mean, x = np.zeros((3, 40), dtype), np.full((3, 40), kind != "logvar", dtype)
    for name in ("kl_{}", "kl_{}_per_dim", "kl_{}_grad", "kl_{}_parts", "jeffreys_{}"):
        for result in call(name.format(f"unit_{kind}"), [mean, x]):
            assert (result == 0).all(), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_variance_equals_its_standard_deviation(dtype, isa):
    """Where the square is exact, so is the comparison."""
    s = np.arange(1, 2000).astype(dtype)[:, None] * np.array([2.0**-30, 1, 2.0**30], dtype)
    mean = np.ones_like(s)
    assert (ufuncs.kl_diag_var_std(mean, s * s, mean, s) == 0).all()
    assert (ufuncs.kl_diag_std_var(mean, s, mean, s * s) == 0).all()


# The oracles themselves.

ITEMS = [
    ("var", 0.5, 2.0, "var", -1.0, 0.75),
    ("std", 3.0, 0.25, "logvar", 2.5, 1.5),
    ("logvar", -1.0, -2.0, "std", 0.25, 3.0),
    ("logvar", 1.0, 0.5, None, 0.0, None),
]


def integrals(mean_p, v_p, mean_q, v_q):
    """KL, cross-entropy and entropy of p and q by numerical integration."""

    def log_density(x, mean, v):
        return -((x - mean) ** 2) / (2 * v) - MP.log(2 * MP.pi * v) / 2

    points = [mean_p + k * MP.sqrt(v_p) for k in range(-18, 19, 3)]

    def mean_under_p(f):
        return MP.quad(lambda x: MP.exp(log_density(x, mean_p, v_p)) * f(x), points)

    cross = mean_under_p(lambda x: -log_density(x, mean_q, v_q))
    own = mean_under_p(lambda x: -log_density(x, mean_p, v_p))
    return cross - own, cross, own


@pytest.mark.parametrize("given", ITEMS)
def test_closed_forms_are_the_integrals(given):
    kind_p, mean_p, scale_p, kind_q, mean_q, scale_q = given
    with MP.workdps(30):
        exact = item(*given)
        scale_q = (kind_p != "logvar") if scale_q is None else scale_q
        parameters = [MP.mpf(x) for x in (mean_p, scale_p, mean_q, scale_q)]

        def results(mean_p, scale_p, mean_q, scale_q):
            v_p, v_q = variance(kind_p, scale_p), variance(kind_q or kind_p, scale_q)
            return integrals(mean_p, v_p, mean_q, v_q)

        kl, cross, own = results(*parameters)
        back = results(*parameters[2:], *parameters[:2])[0] if kind_q in (None, kind_p) else None
        close = functools.partial(MP.almosteq, rel_eps=MP.mpf("1e-20"))
        assert close(kl, exact["kl"])
        assert close(cross, exact["cross_entropy"])
        assert close(own, exact["entropy"])
        assert back is None or close(kl + back, exact["jeffreys"])
        for i, name in enumerate(GRADIENTS[: 4 if kind_q else 2]):
            h = MP.mpf("1e-8")
            up, down = ([x + s * h * (i == j) for j, x in enumerate(parameters)] for s in (1, -1))
            slope = (results(*up)[0] - results(*down)[0]) / (2 * h)
            assert MP.almosteq(slope, exact[name], rel_eps=MP.mpf("1e-14"))


@pytest.mark.parametrize("given", ITEMS)
def test_terms_and_parts_make_up_the_whole(given):
    x = item(*given)
    close = functools.partial(MP.almosteq, rel_eps=MP.mpf("1e-50"))
    assert close(x["kl"], (x["mahalanobis"] + x["trace"] + x["logdet"] - 1) / 2)
    assert close(x["kl"], x["mean_part"] + x["cov_part"])
    assert close(x["kl"], x["cross_entropy"] - x["entropy"])


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_fast_oracle_is_exact(pair, dtype):
    for family in FAMILIES:
        operands, wide = gaussians(family, pair, dtype, (300, 3))
        names = {name for results in RESULTS.values() for name in results}
        results = {name: (wide[name], wide.unit(name)) for name in sorted(names)}
        for at in itertools.product(range(5), range(2)):
            exact = item(pair[0], *(x[at] for x in operands[:2]), pair[1],
                         *(x[at] for x in operands[2:]))  # fmt: skip
            for name, (value, unit) in results.items():
                if pair[1] or not name.endswith("_q"):
                    error = abs(value[at] - to_wide(exact[name]))
                    assert error <= WIDE_ERROR * unit[at], (family, name, at)
