# SPDX-License-Identifier: BSD-3-Clause
"""The named views of full and low-rank covariances, and prepared factors."""

import concurrent.futures
import copy
import pickle

import gaussians as oracle
import numpy as np
import pytest
from gaussians import (
    CORE,
    DIAG,
    EVERY,
    FULL,
    OTHERS,
    PAIRS,
    VALUES,
    arrays,
    gaussian,
    near,
    over,
    pair,
    rebuilt,
    spoiled,
)  # fmt: skip
from helpers import FLOATS, HALVES, same_bits

import gkl
from gkl import DiagNormal, FullNormal, InvalidGaussianError, LowRankNormal

EYE = np.eye(2)


# --- the named views


@pytest.mark.parametrize("kind", FULL)
def test_a_full_view_holds_the_arrays_that_it_was_given(kind):
    mean, scale = np.zeros((4, 2), np.float32), np.broadcast_to(EYE, (3, 1, 2, 2))
    p = FullNormal(mean, **{kind: scale})
    assert p.mean is mean
    assert getattr(p, kind) is scale
    assert [getattr(p, other) for other in FULL if other != kind] == [None, None]
    assert (p.parameter, p.structure, p.batch_shape, p.dim) == (kind, "full", (3, 4), 2)
    assert (p.dtype, p.scalar, p.foreign, p.cholesky) == (np.float64, False, False, None)
    assert list(p.parameters) == ["mean", kind]
    assert repr(p) == f"FullNormal(mean, {kind}; batch_shape=(3, 4), dim=2, dtype=float64)"


def test_a_low_rank_view_holds_the_arrays_that_it_was_given():
    mean, factor, var = np.zeros(4, np.float32), np.ones((5, 4, 2), np.float32), np.ones((3, 1, 1))
    p = LowRankNormal(mean, factor=factor, var=var)
    assert p.mean is mean
    assert p.factor is factor
    assert p.var is var
    assert (p.parameter, p.structure, p.batch_shape) == ("var", "low_rank", (3, 5))
    assert (p.dim, p.rank, p.dtype) == (4, 2, np.float64)
    assert list(p.parameters) == ["mean", "factor", "var"]
    words = "mean, factor, var; batch_shape=(3, 5), dim=4, rank=2, dtype=float64"
    assert repr(p) == f"LowRankNormal({words})"
    assert LowRankNormal(0, factor=factor[0], var=2).dtype == np.float32


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FullNormal(np.zeros(2), cov=np.ones((2, 3))),
         r"cov is not square.*\(2, 3\), that of mean \(2,\)"),
        (lambda: FullNormal(np.zeros(2), tril=np.ones(2)), r"tril is not square.*\(2,\)"),
        (lambda: FullNormal(np.zeros(2), precision=1.0), r"precision is not square.*\(\)"),
        (lambda: FullNormal(np.zeros(3), cov=EYE),
         r"mean and cov do not fit: shapes \(3,\) and \(2, 2\)"),
        (lambda: FullNormal(np.zeros(3), cov=[[1.0]]), r"shapes \(3,\) and \(1, 1\)"),
        (lambda: FullNormal(np.zeros((4, 2)), cov=np.ones((3, 2, 2))),
         r"shapes \(4, 2\) and \(3, 2, 2\)"),
        (lambda: LowRankNormal(0.0, factor=np.ones(2), var=1.0), r"of shape .*d, r\).*\(2,"),
        (lambda: LowRankNormal(np.zeros(2), factor=1.0, var=1.0), r"of shape .*d, r\).*\(\)"),
        (lambda: LowRankNormal(np.zeros(3), factor=np.ones((2, 1)), var=1.0),
         r"mean, var and factor do not fit: shapes \(3,\), \(\) and \(2, 1\)"),
        (lambda: LowRankNormal(np.zeros((4, 2)), factor=np.ones((2, 1)), var=np.ones((3, 2))),
         r"shapes \(4, 2\), \(3, 2\) and \(2, 1\)"),
        (lambda: LowRankNormal(np.zeros(3), factor=np.ones((1, 2)), var=1.0), "do not fit"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_what_is_no_parameter_is_refused():
    with pytest.raises(TypeError, match=r"one of cov=, tril= and precision=, and got none"):
        FullNormal(0.0)
    with pytest.raises(TypeError, match="got cov and precision"):
        FullNormal(0.0, cov=EYE, precision=EYE)
    with pytest.raises(TypeError):
        FullNormal(0.0, EYE)
    with pytest.raises(TypeError):
        LowRankNormal(0.0, factor=np.ones((2, 1)))
    with pytest.raises(TypeError, match="tril is a masked array"):
        FullNormal(0.0, tril=np.ma.masked_array(EYE))
    with pytest.raises(TypeError, match="factor has dtype complex128"):
        LowRankNormal(0.0, factor=EYE * 1j, var=1.0)
    with pytest.raises(TypeError, match="share"):
        gkl._core.Gaussian()
    for cls in (FullNormal, LowRankNormal):
        with pytest.raises(TypeError):
            type("Sub", (cls,), {})


@pytest.mark.parametrize("kind", OTHERS)
def test_a_view_is_frozen(kind):
    p = gaussian(kind, (3,))
    for name in (*p.parameters, "batch_shape", "dim", "parameters", "cholesky", "new"):
        with pytest.raises(AttributeError):
            setattr(p, name, 1)


def test_lists_integers_and_numbers():
    p = FullNormal([0, 1], cov=[[2, 1], [1, 3]])
    assert p.dtype == np.float64
    same_bits(gkl.kl(p), gkl.kl(FullNormal(np.array([0.0, 1]), cov=np.array([[2.0, 1], [1, 3]]))))
    cov = np.array([[2, 1], [1, 3]], np.float32)
    expected = gkl.kl(FullNormal(np.full(2, 3, np.float32), cov=cov))
    for mean in (3, 3.0, np.float32(3), np.full(1, 3, np.float32)):
        same_bits(gkl.kl(FullNormal(mean, cov=cov)), expected)
    for q in (DiagNormal(0.0, var=1.0), DiagNormal(np.zeros(1), std=np.ones(1))):
        if q.scalar:
            near(gkl.kl(p, q), oracle.kl(p, None))
        else:
            with pytest.raises(ValueError, match=r"d = 2.*d = 1"):
                gkl.kl(p, q)
    with pytest.raises(ValueError, match=r"d = 2.*d = 4"):
        gkl.kl(p, gaussian("low_rank"))
    with pytest.raises(ValueError, match=r"shapes \(3,\) and \(2,\)"):
        gkl.kl(gaussian("cov", (3,)), gaussian("cov", (2,)))


@pytest.mark.parametrize(
    "index",
    [0, -1, slice(None, None, -1), ..., None, (1, 2), (..., 1), (None, 1), [2, 0, 0],
     np.array([True, False, True, False]), np.ones((4, 3), bool), (slice(0, 0),)],
)  # fmt: skip
@pytest.mark.parametrize("shapes", [((4, 3), (4, 3)), ((4, 3), ()), ((), (4, 3)), ((3,), (4, 1))])
@pytest.mark.parametrize("kind", OTHERS)
def test_indexing_is_over_the_batch(kind, shapes, index):
    p = gaussian(kind, mean=shapes[0], scale=shapes[1])
    for x in (p, p.prepare()):
        found = x[index]
        assert found.batch_shape == np.zeros((4, 3))[index].shape
        assert (type(found), found.parameter, found.dim) == (type(p), p.parameter, 4)
        same_bits(gkl.kl(found), gkl.kl(p)[index])
        if kind in ("cov", "precision"):
            assert (found.cholesky is None) == (x is p)


@pytest.mark.parametrize("kind", OTHERS)
def test_reshape_and_iteration(kind):
    p = gaussian(kind, (6,), scale=())
    for x in (p, p.prepare()):
        for shape in ((2, 3), (-1, 2), (6, 1)):
            same_bits(gkl.kl(x.reshape(*shape)), gkl.kl(p).reshape(*shape))
        assert np.shares_memory(x.reshape(2, 3).mean, p.mean)
        assert len(x) == len(list(x)) == 6
        same_bits(np.array([gkl.kl(each) for each in x]), gkl.kl(p))
    single = gaussian(kind)
    assert single.reshape(1).batch_shape == (1,)
    same_bits(gkl.kl(single.prepare().reshape(1, 1)), gkl.kl(single).reshape(1, 1))
    whole = gaussian(kind, (6,)).prepare()
    same_bits(gkl.kl(whole.reshape(3, 2)), gkl.kl(whole).reshape(3, 2))
    with pytest.raises(TypeError, match=f"single {type(p).__name__} has no len"):
        len(single)


@pytest.mark.parametrize("kind", OTHERS)
def test_equality_pickle_and_copies(kind):
    p = gaussian(kind, (4,))
    assert p == rebuilt(p, lambda x, _: x.copy())
    for name in p.parameters:
        assert p != rebuilt(p, lambda x, n, name=name: x + (n == name))
    assert p != p[:2]
    assert p != gaussian("var", (4,))
    for x in (p, p.prepare()):
        for other in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
            assert other == p
            assert repr(other) == repr(p)
            same_bits(gkl.kl(other), gkl.kl(p))
    with pytest.raises(TypeError, match="unhashable"):
        hash(p)


def test_only_the_lower_triangle_is_read():
    for kind in FULL:
        p = gaussian(kind, (5,), d=7)
        above = np.where(np.tri(7, dtype=bool), 0, np.nan)
        spoiled = rebuilt(p, lambda x, name, above=above: x + above if name in CORE else x)
        for function in (*VALUES.values(), gkl.entropy):
            same_bits(function(spoiled), function(p))
        same_bits(gkl.kl(p, spoiled), gkl.kl(p, p))
        for x, y in zip(gkl.kl_and_grad(spoiled)[:2], gkl.kl_and_grad(p)[:2], strict=True):
            assert np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y
        same_bits(gkl.kl(spoiled.prepare()), gkl.kl(p))


@pytest.mark.parametrize("kind", ["cov", "precision"])
@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES])
def test_symmetry_is_looked_at_when_that_is_asked(kind, dtype):
    x = np.array(np.broadcast_to([[4, 1], [1, 4]], (300, 2, 2)), dtype)
    eps = 2.0**-7 if np.dtype(dtype).name == "bfloat16" else float(np.finfo(dtype).eps)
    FullNormal(0.0, **{kind: x}, check_symmetric=True)
    x[7, 0, 1] = 1 + 16 * eps  # 8 eps sqrt(4 4) = 32 eps
    FullNormal(0.0, **{kind: x}, check_symmetric=True)
    x[7, 0, 1] = 1 + 48 * eps
    FullNormal(0.0, **{kind: x})
    entry = rf"{kind}\[7, 1, 0\] = 1.0 and {kind}\[7, 0, 1\] = 1\.\d+$"
    for shape in ((300, 2, 2), (300, 1, 2, 2)):
        with pytest.raises(ValueError, match=r"\[7(, 0)?\] is not symmetric: "):
            FullNormal(0.0, **{kind: x.reshape(shape)}, check_symmetric=True)
    with pytest.raises(ValueError, match=entry):
        FullNormal(0.0, **{kind: x}, check_symmetric=True)
    with pytest.raises(ValueError, match=rf"^{kind} is not symmetric: {kind}\[1, 0\] = 1.0 and"):
        FullNormal(0.0, **{kind: x[7]}, check_symmetric=True)
    x[7] = np.nan  # is not a matter of symmetry
    FullNormal(0.0, **{kind: x}, check_symmetric=True)
    x[9, 0, 1] = np.nan
    with pytest.raises(ValueError, match=r"1.0 and .* = nan"):
        FullNormal(0.0, **{kind: x}, check_symmetric=True)
    with pytest.raises(TypeError, match="does not go with a tril"):
        FullNormal(0.0, tril=EYE, check_symmetric=True)


def test_what_rounding_leaves_is_symmetric_enough():
    rng = np.random.default_rng(0)
    for dtype in FLOATS:
        x = rng.normal(size=(1000, 32)).astype(dtype)
        FullNormal(0.0, cov=x.T @ (rng.random((1000, 1)).astype(dtype) * x), check_symmetric=True)
        vectors = np.linalg.qr(x[:32])[0]
        FullNormal(0.0, cov=vectors * np.exp(x[0]) @ vectors.T, check_symmetric=True)


# --- prepared factors


@pytest.mark.parametrize("kind", ["cov", "precision"])
@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, ">f8"])
def test_prepare(kind, dtype):
    q = gaussian(kind, (6,), d=5, dtype=dtype, scale=())
    prepared = q.prepare()
    assert prepared == q
    assert repr(prepared) == repr(q)
    assert not np.shares_memory(getattr(prepared, kind), getattr(q, kind))
    result = np.float64 if q.dtype == np.float64 else np.float32
    factor = prepared.cholesky
    assert (factor.shape, factor.dtype, factor.flags.writeable) == ((5, 5), result, False)
    with pytest.raises(ValueError, match="read-only"):
        factor[...] = 0
    near(factor, np.linalg.cholesky(getattr(q, kind).astype(np.float64)), result)
    assert not np.triu(factor, 1).any()
    assert prepared.prepare() is prepared
    _, grad, _ = gkl.kl_and_grad(prepared)
    assert grad.cholesky is None


@pytest.mark.parametrize("kind", ["tril", "low_rank", *DIAG])
def test_what_needs_no_preparation_is_returned(kind):
    p = gaussian(kind)
    assert p.prepare() is p


@pytest.mark.parametrize("dtype", FLOATS)
@over([x for x in PAIRS if {*x} & {"cov", "precision"}])
def test_prepared_factors_change_no_bits(kinds, dtype):
    p, q = pair(kinds, (21,), d=5, dtype=dtype)
    for a, b in ((p, q and q.prepare()), (p.prepare(), q), (p.prepare(), q and q.prepare())):
        for function in (*VALUES.values(), lambda p, q: gkl.entropy(p)):
            same_bits(function(a, b), function(p, q))
        found, expected = gkl.kl_and_grad(a, b), gkl.kl_and_grad(p, q)
        same_bits((found[0], *arrays(*found[1:])), (expected[0], *arrays(*expected[1:])))


@pytest.mark.parametrize("d", [4, 70])  # side by side, and by BLAS
@pytest.mark.parametrize("kind", ["cov", "precision"])
def test_prepared_factors_are_what_is_computed_with(kind, d):
    """With others in their place, results are others."""
    q = gaussian(kind, (5,), d=d)
    prepared, expected = q.prepare(), gkl.entropy(q)
    for x in (prepared, pickle.loads(pickle.dumps(prepared))):
        same_bits(gkl.entropy(x), expected)
        restore, (structure, parameters, factors) = x.__reduce__()
        other = restore(structure, parameters, factors / 2)
        assert (np.abs(gkl.entropy(other) - expected) > 1e-3).all()
        same_bits(gkl.entropy(other[1:].reshape(2, 2)), gkl.entropy(other)[1:].reshape(2, 2))
        assert not x.cholesky.flags.writeable
        assert not x[1:].cholesky.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            getattr(x[1:], kind)[...] = 0


def test_factors_of_another_type_are_not_used():
    p, q = gaussian("cov", (5,)), gaussian("cov", (5,), dtype=np.float32, seed=1)
    same_bits(gkl.kl(p, q.prepare()), gkl.kl(p, q))
    same_bits(gkl.kl_and_grad(q.prepare(), p)[0], gkl.kl(q, p))
    wide = FullNormal(q.mean.astype(np.float64), cov=q.cov).prepare()
    assert wide.cholesky.dtype == np.float64
    same_bits(gkl.kl(wide, p), gkl.kl(q, p))


@pytest.mark.parametrize("kind", ["cov", "precision"])
def test_prepare_refuses_what_the_functions_do(kind):
    p, reason = spoiled(kind)
    with pytest.raises(InvalidGaussianError) as caught:
        p.prepare()
    assert caught.value.reason == reason.removeprefix("p.")
    assert caught.value.index.tolist() == [[1, 2], [2, 0]]
    prepared = p.prepare(on_error="nan")
    assert type(caught.value.result) is FullNormal
    assert np.isnan(prepared.cholesky[1, 2]).any()
    with pytest.raises(InvalidGaussianError):
        prepared.prepare()
    with pytest.raises(InvalidGaussianError, match=r"p\." + kind + r"\[1, 2\] is not positive"):
        gkl.kl(prepared)
    same_bits(gkl.kl(prepared, on_error="nan"), gkl.kl(p, on_error="nan"))
    with pytest.raises(ValueError, match="on_error= takes"):
        p.prepare(on_error="warn")


def test_many_threads_read_one_prepared_object():
    q = gaussian("cov", d=12, seed=1).prepare()
    batches = [gaussian(EVERY[i % 7], (40,), d=12, seed=i) for i in range(14)]
    expected = [gkl.kl_and_grad(p, q) for p in batches]

    def work(i):
        with gkl.num_threads(1 + i % 3):
            value, *grads = gkl.kl_and_grad(batches[i % 14], q)
        same_bits((value, *arrays(*grads)), (expected[i % 14][0], *arrays(*expected[i % 14][1:])))
        return True

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(140), timeout=100))
