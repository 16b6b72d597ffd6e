# SPDX-License-Identifier: BSD-3-Clause
"""Full and low-rank covariances by the facade: every pair, gradients, errors, lazy arrays."""

import itertools
import pickle

import gaussians as oracle
import numpy as np
import pytest
from gaussians import (
    DIAG,
    OTHERS,
    PAIRS,
    SOME,
    VALUES,
    all_near,
    arrays,
    gaussian,
    near,
    over,
    pair,
    rebuilt,
    repeated,
    spoiled,
)  # fmt: skip
from helpers import FLOATS, HALVES, LAYOUTS, in_layout, python, same_bits

import gkl
from gkl import DiagNormal, FullNormal, InvalidGaussianError, LowRankNormal, lazy, ufuncs

# --- values


@pytest.mark.parametrize("dtype", FLOATS)
@over(PAIRS)
def test_values_of_every_pair(kinds, dtype):
    p, q = pair(kinds, (3, 7), d=5, dtype=dtype)
    expected = oracle.kl(p, q)
    value = gkl.kl(p, q)
    assert value.dtype == dtype
    near(value, expected, dtype)
    back = oracle.kl(DiagNormal(np.zeros(5), var=1.0) if q is None else q, p)
    near(gkl.jeffreys(p, q), expected + back, dtype)
    near(gkl.cross_entropy(p, q), expected + oracle.entropy(p), dtype)
    near(gkl.entropy(p), oracle.entropy(p), dtype)
    terms = gkl.kl_terms(p, q)
    all_near((terms.mahalanobis, terms.trace, terms.logdet), oracle.terms(p, q), dtype)
    same_bits(terms.kl, value)
    near(terms.mean_part, oracle.terms(p, q)[0] / 2, dtype)
    near(terms.mean_part + terms.cov_part, expected, dtype)
    assert terms.dim == 5


@over(PAIRS)
def test_functions_are_their_gufuncs_in_every_layout(kinds):
    p, q = pair(kinds, (3, 7), d=5)
    for prefix, function in VALUES.items():
        gufunc = getattr(ufuncs, lazy._name(prefix, p, q))
        expected = gufunc(*arrays(p, q))
        out = np.empty(expected.shape)
        for how in LAYOUTS:
            views = [rebuilt(x, lambda y, _, how=how: in_layout(y, how)) for x in (p, q)]
            same_bits(function(*views), expected, how)
            assert function(*views, out=out) is out
            same_bits(out, expected)
        same_bits(function(p[1, 2], q and q[1, 2]), expected[1, 2])
        assert type(function(p[1, 2], q and q[1, 2])) is np.float64
        narrow = np.empty(expected.shape, np.float32)
        function(p, q, out=narrow)
        same_bits(narrow, expected.astype(np.float32))
    entropy = getattr(ufuncs, lazy._name("entropy", p, None))
    same_bits(gkl.entropy(p), entropy(*arrays(p)[1:]))
    name = lazy._name("kl", p, q)
    terms = gkl.kl_terms(p, q)
    same_bits((terms.mahalanobis, terms.trace, terms.logdet),
              getattr(ufuncs, name + "_terms")(*arrays(p, q)))  # fmt: skip
    value, *grads = gkl.kl_and_grad(p, q)
    same_bits((value, *arrays(*grads)), getattr(ufuncs, name + "_grad")(*arrays(p, q)))


SHAPES = {  # batches of mean and scale of p, then of q; several groups of every type
    "one q for all": [(37,), (37,), (), ()],
    "one p for all": [(), (), (37,), (37,)],
    "each with each": [(5, 1), (5, 1), (1, 9), (9,)],
    "means differ alone": [(37,), (), (37,), ()],
    "matrices differ alone": [(), (37,), (), (37,)],
    "three ways of repeating": [(5, 1), (1, 9), (), (5, 9)],
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@over(PAIRS)
def test_batches_broadcast(kinds, shapes):
    p, q = repeated(kinds, shapes)
    weight = np.random.default_rng(2).normal(size=oracle.kl(p, q).shape)
    near(gkl.kl(p, q), oracle.kl(p, q))
    for prepared in ((p, q), (p.prepare(), q and q.prepare())):
        value, *grads = gkl.kl_and_grad(*prepared, weight=weight)
        same_bits(value, gkl.kl(p, q))
        all_near(arrays(*grads), oracle.gradients(p, q, weight))


@pytest.mark.parametrize("kind", OTHERS)
def test_rank_and_size_at_their_ends(kind):
    for d in (1, 2, 33):
        for q in (None, gaussian("tril", (5,), d=d, seed=1), gaussian("std", (5,), d=d, seed=1)):
            p = gaussian(kind, (5,), d=d)
            near(gkl.kl(p, q), oracle.kl(p, q))
            all_near(arrays(*gkl.kl_and_grad(p, q)[1:]), oracle.gradients(p, q))
    for batch in ((0,), (3, 0)):
        p = gaussian(kind, batch)
        assert gkl.kl(p).shape == gkl.entropy(p.prepare()).shape == batch
        _, grad, _ = gkl.kl_and_grad(p, gaussian("cov"))
        assert [x.shape for x in arrays(grad)] == [x.shape for x in arrays(p)]
        _, _, grad = gkl.kl_and_grad(p, gaussian(kind))
        assert not any(x.any() for x in arrays(grad))  # empty sums


@pytest.mark.parametrize("kind", OTHERS)
def test_no_dimensions(kind):
    p = gaussian(kind, (3,), d=0)
    for q in (None, p, gaussian("var", (3,), d=0)):
        assert gkl.kl(p, q).tolist() == [0] * 3
        value, *grads = gkl.kl_and_grad(p, q)
        assert value.tolist() == [0] * 3
        assert [x.size for x in arrays(*grads)] == [0] * len(arrays(*grads))
    assert gkl.entropy(p.prepare()).tolist() == [0] * 3


@pytest.mark.parametrize("ranks", [(0, 0), (0, 2), (1, 3), (4, 6)])
def test_ranks_may_differ(ranks):
    p, q = (gaussian("low_rank", (5,), seed=seed, rank=r) for seed, r in enumerate(ranks))
    near(gkl.kl(p, q), oracle.kl(p, q))
    near(gkl.entropy(p), oracle.entropy(p))
    all_near(arrays(*gkl.kl_and_grad(p, q)[1:]), oracle.gradients(p, q))
    if not any(ranks):
        near(gkl.kl(p, q), gkl.kl(*(DiagNormal(x.mean, var=x.var) for x in (p, q))))


@pytest.mark.parametrize("small", HALVES)
@over(SOME)
def test_halves_are_computed_in_float32(kinds, small):
    p, q = pair(kinds, (5,), dtype=small)
    wide = [rebuilt(x, lambda y, _: y.astype(np.float32)) for x in (p, q)]
    for function in VALUES.values():
        same_bits(function(p, q), function(*wide))
    found, expected = gkl.kl_and_grad(p, q), gkl.kl_and_grad(*wide)
    same_bits((found[0], *arrays(*found[1:])), (expected[0], *arrays(*expected[1:])))
    same_bits(gkl.kl(p.prepare(), q), gkl.kl(*wide))


@over([*itertools.product(("cov", "tril"), DIAG)])
def test_a_diagonal_covariance_is_like_a_diagonal_gaussian(kinds):
    full, kind = kinds
    x = gaussian(kind, (6,))
    cov = oracle.dense(x, 4)[1]
    p = FullNormal(x.mean, **{full: np.sqrt(cov) if full == "tril" else cov})
    near(gkl.kl(p), gkl.kl(x))
    near(gkl.entropy(p), gkl.entropy(x))
    assert (np.abs(gkl.kl(p, x)) < 1e-14).all()


def test_dimensions_have_no_share_of_a_correlated_divergence():
    with pytest.raises(TypeError, match=r"p is a FullNormal.*wants a DiagNormal"):
        gkl.kl_per_dim(gaussian("cov"))
    with pytest.raises(TypeError, match=r"q is a LowRankNormal.*wants a DiagNormal"):
        gkl.kl_per_dim(gaussian("var"), gaussian("low_rank"))


# --- gradients


@pytest.mark.parametrize("dtype", FLOATS)
@over(PAIRS)
def test_gradients_of_every_pair(kinds, dtype):
    p, q = pair(kinds, (21,), d=5, dtype=dtype)
    for weight in (None, 0.5, np.random.default_rng(2).normal(size=21)):
        value, *grads = gkl.kl_and_grad(p, q, weight=weight)
        same_bits(value, gkl.kl(p, q))
        all_near(arrays(*grads), oracle.gradients(p, q, 1.0 if weight is None else weight), dtype)
        for grad, x in zip(grads, (p, q), strict=True):
            assert type(grad) is type(x)
            assert grad is None or list(grad.parameters) == list(x.parameters)
            for name in grad.parameters if grad else ():
                y = getattr(grad, name)
                assert y.dtype == dtype
                if name in ("cov", "precision"):
                    same_bits(y, np.ascontiguousarray(y.swapaxes(-1, -2)))
                elif name == "tril":
                    assert not np.triu(y, 1).any()
    p_only, q_only = gkl.kl_and_grad(p, q, wrt=("p",)), gkl.kl_and_grad(p, q, wrt=["q"])
    assert p_only[2] is None
    assert q_only[1] is None
    both = gkl.kl_and_grad(p, q)
    assert (p_only[1], q_only[2]) == both[1:]


@over(SOME)
def test_gradients_are_those_of_finite_differences(kinds):
    """An element of a symmetric matrix stands for two, since the one above is not read."""
    p, q = pair(kinds, (3,), d=3)
    weight = np.array([0.5, -2.0, 1.0])
    _, *grads = gkl.kl_and_grad(p, q, weight=weight)
    for x, gradient in zip(arrays(p, q), arrays(*grads), strict=True):
        symmetric = any(x is getattr(y, n, None) for y in (p, q) for n in ("cov", "precision"))
        for index in np.ndindex(x.shape):
            i, j = index[-2:]
            if x.shape[-2:] == (3, 3) and x.ndim == 3 and j > i:
                continue
            own, values = x[index], []
            for sign in (1, -1):
                x[index] = own + sign * 1e-5
                values.append((weight * gkl.kl(p, q)).sum())
            x[index] = own
            slope = (values[0] - values[1]) / 2e-5
            twice = 2 if symmetric and i != j else 1
            np.testing.assert_allclose(twice * gradient[index], slope, 1e-6, 1e-6)


def test_gradients_of_means_and_variances_for_all_dimensions():
    factor = np.random.default_rng(0).normal(size=(6, 4, 2))
    for mean, var in ((1.0, 2.0), (np.ones(1), np.full((6, 1), 2.0)), (np.ones((6, 1)), 2.0)):
        for p in (LowRankNormal(mean, factor=factor, var=var),
                  FullNormal(mean, cov=gaussian("cov", (6,)).cov)):  # fmt: skip
            for q in (gaussian("tril", (6,)), gaussian("low_rank"), None):
                for a, b in ((p, q), (q, p))[: 1 + (q is not None)]:
                    _, *grads = gkl.kl_and_grad(a, b)
                    all_near(arrays(*grads), oracle.gradients(a, b))


@over(SOME)
def test_gradients_go_where_out_says(kinds):
    p, q = repeated(kinds, SHAPES["one q for all"])
    expected = gkl.kl_and_grad(p, q)
    for dtype in FLOATS:
        for how in LAYOUTS:
            places = [rebuilt(x, lambda y, _, how=how, dtype=dtype: in_layout(
                np.full(y.shape, 7, dtype), how)) for x in (p, q)]  # fmt: skip
            value = np.empty(37, dtype)
            found = gkl.kl_and_grad(p, q, out=(value, *places))
            assert found[0] is value
            for x, y, z in zip(arrays(*found[1:]), arrays(*places), arrays(*expected[1:]),
                               strict=True):  # fmt: skip
                assert x is y
                same_bits(x, z.astype(dtype))
    with pytest.raises(TypeError, match=rf"out= wants a {type(p).__name__} with {p.parameter}="):
        other = gaussian("tril" if p.parameter == "cov" else "cov", (37,))
        gkl.kl_and_grad(p, q, out=(None, other, None))
    with pytest.raises(ValueError, match="out= has a gradient of p, which is not asked for"):
        gkl.kl_and_grad(p, q, wrt=("q",), out=(None, places[0], None))


def test_gradients_may_overwrite_the_parameters():
    p = gaussian("cov", (5,))
    expected = gkl.kl_and_grad(p)
    found = gkl.kl_and_grad(p, out=(None, p, None))
    assert found[1].cov is p.cov
    same_bits(arrays(found[1]), arrays(expected[1]))
    with pytest.raises(ValueError, match="two outputs share memory"):
        gkl.kl_and_grad(p, out=(None, FullNormal(p.cov[:, 0], cov=p.cov), None))


# --- errors in the data


@pytest.mark.parametrize("name", [*VALUES, "entropy", "kl_terms", "kl_and_grad"])
@pytest.mark.parametrize("kind", OTHERS)
def test_an_error_counts_points_and_carries_the_result(kind, name):
    p, reason = spoiled(kind)
    function = getattr(gkl, name)
    quiet = function(p, on_error="nan")
    with pytest.raises(InvalidGaussianError) as caught:
        function(p)
    e = caught.value
    assert str(e) == f"2 of 12 Gaussians are invalid; first: {reason}"
    assert e.index.tolist() == [[1, 2], [2, 0]]
    value = quiet[0] if name == "kl_and_grad" else quiet.kl if name == "kl_terms" else quiet
    same_bits(e.kl, value)
    good = np.ones((3, 4), bool)
    good[1, 2] = good[2, 0] = False
    assert np.array_equal(np.isnan(value), ~good)
    same_bits(value[good], _value(function(p[good])))
    if name == "kl_and_grad":
        for x, y in zip(arrays(quiet[1]), arrays(e.result[1]), strict=True):
            np.testing.assert_array_equal(x, y)
            assert np.isnan(x[~good]).any()
        same_bits(tuple(x[good] for x in arrays(quiet[1])), arrays(function(p[good])[1]))
    elif name != "kl_terms":
        out = np.full((3, 4), 7.0)
        with pytest.raises(InvalidGaussianError):
            function(p, out=out)
        same_bits(out, quiet)
    assert str(pickle.loads(pickle.dumps(e))) == str(e)


def _value(found):
    found = getattr(found, "kl", found)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("kind", [*OTHERS, "var"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda q: q.cov.__setitem__((2, 1), np.nan), "q.cov[2, 1] = nan is not finite"),
        (lambda q: q.cov.__setitem__((0, 0), -1), "q.cov is not positive definite "
                                                  "(leading minor 1)"),
        (lambda q: q.mean.__setitem__(2, np.inf), "q.mean[2] = inf is not finite"),
        (lambda q: q.cov.__setitem__((1, 2), np.nan), ""),  # is not read
    ],
)  # fmt: skip
def test_a_shared_q_is_named_as_it_is(kind, change, reason):
    p, q = gaussian(kind, (5,)), gaussian("cov", seed=1)
    change(q)
    if not reason:
        gkl.kl(p, q)
        return
    for function in (*VALUES.values(), gkl.kl_terms, gkl.kl_and_grad):
        with pytest.raises(InvalidGaussianError) as caught:
            function(p, q)
        assert (caught.value.reason, caught.value.count) == (reason, 5)


def test_an_entropy_does_not_look_at_the_mean():
    for kind in OTHERS:
        p = gaussian(kind, (5,))
        expected = gkl.entropy(p)
        p.mean[...] = np.nan
        same_bits(gkl.entropy(p), expected)
        p.prepare()


def test_what_lapack_factors_and_the_core_does_not_is_said_so():
    from gkl.errors import _not_found

    good = gaussian("cov", (5,))
    words = _not_found({"p": good, "q": good}, (3,), np.float64)
    assert words == "p.cov[3] is not positive definite to working precision"
    bad = rebuilt(good, lambda x, name: -x)
    words = _not_found({"p": good, "q": bad}, (3,), np.float64)
    assert words == "q.cov[3] is not positive definite to working precision"
    words = _not_found({"p": gaussian("var"), "q": gaussian("low_rank")}, (), np.float64)
    assert words == "q is not positive definite to working precision"


# --- processes, lazy arrays

FORK = """
import os, signal
import numpy as np, gkl
rng = np.random.default_rng(0)
a = rng.normal(size=(300, 24, 24))
p = gkl.FullNormal(rng.normal(size=(300, 24)), cov=a @ a.swapaxes(-1, -2) + np.eye(24))
q = p[0].prepare()
expected = gkl.kl(p, q, threads=2)
child = os.fork()
if child == 0:
    signal.alarm(20)  # a child that hangs is killed
    os._exit(0 if (gkl.kl(p, q, threads=2) == expected).all() else 3)
print(os.waitpid(child, 0)[1], (gkl.kl(p, q, threads=2) == expected).all())
"""


def test_fork_after_use():
    assert python(FORK) == "0 True\n"


@pytest.fixture(scope="module")
def da():
    return pytest.importorskip("dask.array")


def chunked(da, x):
    """The same with Dask arrays, the batch in chunks of 4."""
    return rebuilt(x, lambda y, _: da.from_array(y, chunks=(4, *y.shape[1:])))


@over(PAIRS)
def test_dask_arrays_stay_lazy(kinds, da):
    p, q = repeated(kinds, [(10,), (10,), (), ()], dtype=np.float32)
    lazy_p = chunked(da, p)
    assert lazy_p.foreign
    assert lazy_p.prepare() is lazy_p
    for function in (*VALUES.values(), lambda p, q: gkl.entropy(p)):
        found = function(lazy_p, q)
        assert type(found) is da.Array
        assert found.chunks == ((4, 4, 2),)
        same_bits(found.compute(), function(p, q))
    weight = np.arange(10, dtype=np.float32)
    for w in (None, weight):
        value, *grads = gkl.kl_and_grad(lazy_p, q, weight=w)
        expected = gkl.kl_and_grad(p, q, weight=w)
        same_bits(value.compute(), expected[0])
        for x, y in zip(arrays(*grads), arrays(*expected[1:]), strict=True):
            assert x.dtype == y.dtype
            near(np.asarray(x), y, np.float32)
    terms, expected = gkl.kl_terms(lazy_p, q), gkl.kl_terms(p, q)
    same_bits(terms.cov_part.compute(), expected.cov_part)


def test_dask_numbers_shapes_and_symmetry(da):
    p = gaussian("cov", (10,), mean=())
    lazy_p = FullNormal(1.0, cov=chunked(da, p).cov)
    same_bits(gkl.kl(lazy_p).compute(), gkl.kl(FullNormal(1.0, cov=p.cov)))
    q = LowRankNormal(2.0, factor=np.ones((4, 1)), var=3.0)
    same_bits(gkl.kl(lazy_p, q).compute(), gkl.kl(FullNormal(1.0, cov=p.cov), q))
    mean = da.from_array(gaussian("cov", (10,)).mean, chunks=(4, 4))
    for x in (FullNormal(mean, cov=p.cov[0]), LowRankNormal(mean, factor=q.factor, var=2.0)):
        assert gkl.entropy(x).compute().shape == (10,)
    assert lazy_p[3:5].batch_shape == (2,)
    with pytest.raises(TypeError, match="lazy"):
        FullNormal(1.0, cov=lazy_p.cov, check_symmetric=True)
    with pytest.raises(TypeError, match="out= cannot take lazy"):
        gkl.kl(lazy_p, out=np.empty(10))
