# SPDX-License-Identifier: BSD-3-Clause
"""kl_and_grad: each gradient in the shape of its own parameter, as autograd has it."""

import itertools
import math

import numpy as np
import pytest
from helpers import FLOATS, LAYOUTS, in_layout, same_bits

import gkl
from gkl import DiagNormal, InvalidGaussianError, _core, reference, ufuncs

KINDS = ("var", "std", "logvar")
PAIRS = [*itertools.product(KINDS, KINDS), *((kind, None) for kind in KINDS)]
NUMBER = "number"
# shapes of mean_p, scale_p, mean_q, scale_q; the last two are left out for q = None
SHAPES = {
    "alike": [(6, 5)] * 4,
    "one q for all": [(6, 5), (6, 5), (5,), (5,)],
    "q in a batch of one": [(6, 5), (6, 5), (1, 5), (1, 5)],
    "one p for all": [(5,), (5,), (6, 5), (6, 5)],
    "each with each": [(3, 1, 5), (3, 1, 5), (1, 4, 5), (1, 4, 5)],
    "each with each, p deeper": [(2, 3, 1, 5), (3, 1, 1), (4, 5), (4, 1)],
    "numbers for scales": [(6, 5), NUMBER, (5,), NUMBER],
    "numbers for q": [(6, 5), (6, 5), NUMBER, NUMBER],
    "numbers": [NUMBER] * 4,
    "arrays without axes": [(6, 5), (), (), ()],
    "isotropic": [(6, 5), (6, 1), (6, 5), (1, 1)],
    "a mean for all dimensions": [(6, 1), (6, 5), (1, 1), (5,)],
    "a scale for all dimensions of one": [(5,), (1,), (5,), (1,)],
    "univariate": [(6, 1), (6, 1), (1,), ()],
    "mean and scale differ": [(6, 5), (5,), (5,), (6, 1)],
    "three ways of repeating": [(3, 1, 5), (1, 4, 5), (5,), (3, 4, 1)],
}


@pytest.fixture(autouse=True)
def default_threads():
    yield
    _core.set_threads(0)


def make(kinds, shapes, dtype=np.float64, seed=0):
    """p and q (None where its kind is) with parameters of these shapes."""
    rng = np.random.default_rng(seed)
    found = []
    for kind, mean_shape, scale_shape in zip(kinds, shapes[::2], shapes[1::2], strict=True):
        values = []
        for name, shape in (("mean", mean_shape), (kind, scale_shape)):
            x = rng.normal(size=() if shape == NUMBER else shape)
            x = np.exp(x / 2) if name in ("var", "std") else np.asarray(x)
            values.append(float(x) if shape == NUMBER else x.astype(dtype))
        found.append(None if kind is None else DiagNormal(values[0], **{kind: values[1]}))
    return found


def parameters(*gaussians):
    return [y for x in gaussians if x is not None for y in (x.mean, getattr(x, x.parameter))]


def batch_of(p, q):
    return np.broadcast_shapes(p.batch_shape, () if q is None else q.batch_shape)


def pair_name(p, q):
    if q is None:
        return f"unit_{p.parameter}"
    return f"diag_{p.parameter}" + (f"_{q.parameter}" if q.parameter != p.parameter else "")


def spread(p, q):
    """All parameters in the whole shape."""
    d = max(p.dim, 1 if q is None else q.dim)
    return [np.broadcast_to(x, (*batch_of(p, q), d)) for x in parameters(p, q)]


def sum_to(x, shape):
    """Summed over what is repeated, in the widest type there is."""
    x = np.asarray(x, np.longdouble)
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return x.sum(axis=axes, keepdims=True)


def check(p, q, weight, dtype, **options):
    """Against the twin, summed: the error relatively to the sum of the absolute summands."""
    value, *grads = gkl.kl_and_grad(p, q, weight=weight, **options)
    same_bits(value, gkl.kl(p, q))
    name = pair_name(p, q)
    w = np.asarray(1.0 if weight is None else weight, np.float64)
    wide = [x.astype(np.float64) for x in spread(p, q)]
    exact = reference.twin(f"kl_{name}_vjp")(*wide, np.broadcast_to(w, batch_of(p, q)))
    assert (grads[1] is None) == (q is None)
    found = parameters(*grads)
    for x, y, parameter in zip(found, exact, parameters(p, q), strict=True):
        shape = np.shape(parameter)
        assert np.shape(x) == shape
        assert x.dtype == dtype
        scale = sum_to(np.abs(y), shape)
        scale += sum_to(np.broadcast_to(np.abs(w)[..., None], y.shape), shape)
        assert (np.abs(x - sum_to(y, shape)) <= 60 * np.finfo(dtype).eps * scale).all()
    for grad, x in zip(grads, (p, q), strict=True):
        assert grad is None or (type(grad), grad.parameter) == (DiagNormal, x.parameter)
    return value, *grads


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kinds", PAIRS)
def test_gradients_of_every_shape(kinds, shapes, dtype):
    p, q = make(kinds, shapes, dtype)
    if all(isinstance(x, float) for x in parameters(p, q)):
        dtype = np.float64
    check(p, q, None, dtype)
    check(p, q, 0.5, dtype)
    batch = batch_of(p, q)
    rng = np.random.default_rng(3)
    ones = (1,) * len(batch)
    for weight_shape in {(), batch, batch[1:], ones, batch[:1] + ones[1:], ones[:-1] + batch[-1:]}:
        check(p, q, rng.normal(size=weight_shape), dtype)


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kinds", [("var", "std"), ("logvar", "logvar"), ("std", None)])
def test_gradients_are_those_of_finite_differences(kinds, shapes):
    p, q = make(kinds, shapes)
    weight = np.random.default_rng(4).normal(size=batch_of(p, q))
    _, *grads = gkl.kl_and_grad(p, q, weight=weight)
    given = [np.array(x, float) for x in parameters(p, q)]
    arrays = [np.array(x) for x in given]

    def objective():
        views = [DiagNormal(m, **{x.parameter: s}) if x is not None else None for x, m, s in
                 zip((p, q), arrays[::2], [*arrays[1::2]], strict=False)]  # fmt: skip
        views += [None] * (2 - len(views))
        wide = [np.broadcast_to(x, y.shape) for x, y in
                zip(parameters(*views), spread(p, q), strict=True)]  # fmt: skip
        return float((weight * reference.twin(f"kl_{pair_name(p, q)}")(*wide)).sum())

    step = 1e-5
    for k, found in enumerate(parameters(*grads)):
        for index in itertools.islice(np.ndindex(np.shape(found)), 7):
            values = []
            for sign in (1, -1):
                arrays[k][index] = given[k][index] + sign * step
                values.append(objective())
            arrays[k][index] = given[k][index]
            slope = (values[0] - values[1]) / (2 * step)
            assert math.isclose(found[index], slope, rel_tol=1e-5, abs_tol=1e-5), (k, index)


LARGE = {
    "shared q": [(9000, 64), (9000, 64), (64,), (64,)],
    "shared q, few dimensions": [(200_000, 2), (200_000, 2), (2,), (2,)],
    "a number for all": [(3000, 100), NUMBER, NUMBER, NUMBER],
    "isotropic": [(3000, 100), (3000, 1), (100,), (1,)],
    "each with each": [(70, 1, 40), (70, 1, 40), (1, 80, 40), (1, 80, 40)],
    "long rows": [(5, 40000), (5, 1), (40000,), ()],
    "one long row": [(150_001,), (), (150_001,), (1,)],
    "many groups": [(2000, 1, 30), (2000, 1, 30), (2000, 4, 30), (1, 4, 1)],
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shapes", LARGE.values(), ids=LARGE)
def test_sums_are_the_same_bits_for_any_threads_and_strides(shapes, dtype):
    p, q = make(("logvar", "var"), shapes, dtype)
    weight = np.random.default_rng(1).normal(size=batch_of(p, q)).astype(dtype)
    value, *grads = check(p, q, weight, dtype, threads=1)
    expected = (value, *parameters(*grads))
    for n in (2, 3, 5):
        gkl.set_num_threads(n)
        value, *grads = gkl.kl_and_grad(p, q, weight=weight)
        same_bits((value, *parameters(*grads)), expected, f"{n} threads")
    for how in LAYOUTS[1:]:
        views = [DiagNormal(*(y if isinstance(y, float) else in_layout(y, how) for y in [x.mean]),
                            **{x.parameter: s if isinstance(s := getattr(x, x.parameter), float)
                               else in_layout(s, how)}) for x in (p, q)]  # fmt: skip
        value, *grads = gkl.kl_and_grad(*views, weight=in_layout(weight, how))
        same_bits((value, *parameters(*grads)), expected, how)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_are_exact_to_a_rounding(dtype):
    """In float32 the sum of 300,000 gradients has the error of one."""
    p, q = make(("var", "var"), [(300_000, 1), (300_000, 1), (1,), (1,)], dtype)
    _, _, grad = gkl.kl_and_grad(p, q)
    each = ufuncs.kl_diag_var_grad_q(p.mean, p.var, q.mean[None], q.var[None])
    for x, y in zip((grad.mean, grad.var), each[1:], strict=True):
        exact = math.fsum(y.ravel().tolist())
        assert abs(float(x[0]) - exact) <= np.finfo(dtype).eps * abs(exact)


def test_wrt():
    p, q = make(("var", "std"), SHAPES["one q for all"])
    value, grad_p, grad_q = gkl.kl_and_grad(p, q)
    for wrt, with_p, with_q in (
        (("p",), 1, 0), (["q"], 0, 1), ({"q", "p"}, 1, 1), ((), 0, 0), ("p", 1, 0)
    ):  # fmt: skip
        found = gkl.kl_and_grad(p, q, wrt=wrt)
        same_bits(found[0], value)
        assert found[1] == (grad_p if with_p else None)
        assert found[2] == (grad_q if with_q else None)
    assert gkl.kl_and_grad(p, wrt=("q",))[1:] == (None, None)
    with pytest.raises(ValueError, match="wrt= takes 'p' and 'q', not"):
        gkl.kl_and_grad(p, wrt=("p", "r"))


def test_weights_that_do_not_fit():
    p, q = make(("var", "std"), SHAPES["alike"])
    for shape in ((5,), (6, 1), (1, 6), (2, 6)):
        with pytest.raises(ValueError, match=r"weight does not fit the batch: shapes"):
            gkl.kl_and_grad(p, q, weight=np.ones(shape))
    for wrong in (1j, "a", [None] * 6):
        with pytest.raises(TypeError, match="weight has dtype"):
            gkl.kl_and_grad(p, q, weight=wrong)
    expected = gkl.kl_and_grad(p, q, weight=np.array([1.0, 0, 1, 0, 1, 1]))
    same_bits(expected[0], gkl.kl(p, q))  # the value is not weighted
    assert gkl.kl_and_grad(p, q, weight=[1, 0, 1, 0, 1, 1])[1:] == expected[1:]
    assert gkl.kl_and_grad(p, q, weight=np.array([1, 0, 1, 0, 1, 1], bool))[1:] == expected[1:]


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_out(shapes, dtype):
    p, q = make(("logvar", "std"), shapes, np.float64)
    expected = gkl.kl_and_grad(p, q)
    for how in LAYOUTS:

        def room(x, how=how):
            return in_layout(np.full(np.shape(x), 7, dtype), how)

        out = (room(expected[0]), *(DiagNormal(room(x.mean), **{x.parameter: room(
            getattr(x, x.parameter))}) for x in (p, q)))  # fmt: skip
        found = gkl.kl_and_grad(p, q, out=out)
        assert found[0] is out[0]
        for x, y, z in zip(found[1:], out[1:], expected[1:], strict=True):
            assert x.mean is y.mean
            same_bits(tuple(parameters(x)), tuple(y.astype(dtype) for y in parameters(z)), how)
        same_bits(found[0], np.asarray(expected[0], dtype), how)


def test_out_that_does_not_fit():
    p, q = make(("var", "std"), SHAPES["one q for all"])
    good, small = DiagNormal(np.empty((6, 5)), var=np.empty((6, 5))), np.empty(5)
    for out, error, words in (
        ((None, None), ValueError, "out= takes three"),
        (np.empty(3), ValueError, "out= takes three"),
        ((None, good, good), TypeError, "wants a DiagNormal with std= for the gradient of q"),
        ((None, np.empty((6, 5)), None), TypeError, "with var= for the gradient of p"),
        ((None, DiagNormal(small, var=small), None), ValueError, r"out, p.mean, has shape \(5,\)"),
        ((None, None, DiagNormal(np.empty((6, 5)), std=small)), ValueError, r"the result \(5,\)"),
        (
            (None, DiagNormal(0.0, var=np.empty((6, 5))), None),
            TypeError,
            "p.mean, is of type float",
        ),
    ):
        with pytest.raises(error, match=words):
            gkl.kl_and_grad(p, q, out=out)
    with pytest.raises(ValueError, match="gradient of p, which is not asked for"):
        gkl.kl_and_grad(p, q, wrt=("q",), out=(None, good, None))
    with pytest.raises(ValueError, match="gradient of q, which is not asked for"):
        gkl.kl_and_grad(p, out=(None, None, good))


@pytest.mark.parametrize("d", [5, 700, 40000])
def test_a_bad_item_spoils_its_own_gradients_and_the_sums_it_is_in(d):
    p, q = make(("var", "std"), [(3, 1, d), (3, 1, d), (1, 4, d), (1, 4, 1)])
    _, good_p, good_q = gkl.kl_and_grad(p, q)
    p.var[1, 0, d // 2] = -1
    value, grad_p, grad_q = gkl.kl_and_grad(p, q, on_error="nan")
    assert np.isnan(value).tolist() == [[False] * 4, [True] * 4, [False] * 4]
    for x, y in ((grad_p.mean, good_p.mean), (grad_p.var, good_p.var)):
        assert np.isnan(x[1]).all()
        same_bits(x[::2], y[::2])
    assert np.isnan(grad_q.mean).all()
    assert np.isnan(grad_q.std).all()
    assert good_q.std.shape == (1, 4, 1)
    with pytest.raises(InvalidGaussianError) as caught:
        gkl.kl_and_grad(p, q, wrt=("q",))
    assert caught.value.index.tolist() == [[1, j] for j in range(4)]
    assert caught.value.result[1] is None


@pytest.mark.parametrize(
    "shapes",
    [
        [(0, 5), (0, 5), (5,), ()],
        [(3, 0, 5), (3, 1, 5), (1, 5), NUMBER],
        [(4, 0), (4, 1), (0,), (1,)],
    ],
)
def test_sums_over_nothing_are_zero(shapes):
    p, q = make(("var", "std"), shapes)
    out = (None, *(DiagNormal(np.full(np.shape(x.mean), 7.0), **{x.parameter: np.full(
        np.shape(getattr(x, x.parameter)), 7.0)}) for x in (p, q)))  # fmt: skip
    value, *grads = gkl.kl_and_grad(p, q, out=out)
    assert not np.any(value)
    for x in parameters(*grads):
        assert not np.any(x)
