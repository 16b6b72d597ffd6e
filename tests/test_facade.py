# SPDX-License-Identifier: BSD-3-Clause
"""The named views, the functions over them, their errors, and the settings."""

import copy
import itertools
import pickle
import threading

import numpy as np
import pytest
from helpers import FLOATS, HALVES, LAYOUTS, close, in_layout, operands, python, same_bits

import gkl
from gkl import DiagNormal, InvalidGaussianError, _core, reference, ufuncs

KINDS = ("var", "std", "logvar")
PAIRS = [*itertools.product(KINDS, KINDS), *((kind, None) for kind in KINDS)]
VALUES = {
    "kl": gkl.kl,
    "jeffreys": gkl.jeffreys,
    "cross_entropy": gkl.cross_entropy,
    "kl_per_dim": gkl.kl_per_dim,
}


@pytest.fixture(autouse=True)
def default_threads():
    yield
    _core.set_threads(0)


def gaussian(kind, shape, scale_shape=None, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    scale = rng.normal(size=shape if scale_shape is None else scale_shape)
    scale = scale if kind == "logvar" else np.exp(scale)
    return DiagNormal(np.asarray(rng.normal(size=shape), dtype), **{kind: scale.astype(dtype)})


def pair(kinds, shape, dtype=np.float64):
    p, q = kinds
    return gaussian(p, shape, dtype=dtype), q and gaussian(q, shape, dtype=dtype, seed=1)


def parameters(*gaussians):
    return [y for x in gaussians if x is not None for y in (x.mean, getattr(x, x.parameter))]


def gufunc_name(prefix, p, q):
    if q is None:
        return f"{prefix}_unit_{p.parameter}"
    same = p.parameter == q.parameter
    return f"{prefix}_diag_{p.parameter}" + ("" if same else f"_{q.parameter}")


# --- the named views


def test_a_view_holds_the_arrays_that_it_was_given():
    mean, scale = np.zeros((4, 3), np.float32), np.ones(3, np.float32)
    p = DiagNormal(mean, std=scale)
    assert p.mean is mean
    assert p.std is scale
    assert p.var is None
    assert p.logvar is None
    assert (p.parameter, p.batch_shape, p.dim, p.dtype) == ("std", (4,), 3, np.float32)
    assert repr(p) == "DiagNormal(mean, std; batch_shape=(4,), dim=3, dtype=float32)"
    assert len(p) == 4
    assert DiagNormal(0.0, var=1).batch_shape == ()


@pytest.mark.parametrize(
    "index",
    [
        0, -1, slice(1, 3), slice(None, None, -1), ..., None, (1, 2), (slice(None), -1),
        (..., 1), (1, ...), (None, 1), [2, 0, 0], np.array([True, False, True, False]),
        ([0, 1], [2, 2]), np.ones((4, 3), bool), (slice(0, 0),),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scale_shape", [(4, 3, 5), (5,), (3, 5), (4, 1, 1), ()])
def test_indexing_is_over_the_batch(index, scale_shape):
    p = gaussian("var", (4, 3, 5), scale_shape)
    whole = np.broadcast_to(p.var, (4, 3, 5))
    key = index if isinstance(index, tuple) else (index,)
    expected = np.zeros((4, 3))[index].shape
    found = p[index]
    assert found.batch_shape == expected
    assert found.parameter == "var"
    full = (*key, slice(None)) if any(i is ... for i in key) else (*key, ..., slice(None))
    np.testing.assert_array_equal(np.broadcast_to(found.mean, (*expected, 5)), p.mean[full])
    np.testing.assert_array_equal(np.broadcast_to(found.var, (*expected, 5)), whole[full])
    same_bits(gkl.kl(found), gkl.kl(p)[index])


def test_indexing_makes_no_copy_and_keeps_within_bounds():
    p = gaussian("std", (4, 3, 5))
    assert np.shares_memory(p[1:, 0].mean, p.mean)
    assert [x.batch_shape for x in p] == [(3,)] * 4
    with pytest.raises(IndexError):
        p[4]
    with pytest.raises(IndexError):
        p[0, 0, 0]
    for wrong in (lambda x: x[0], len):
        with pytest.raises((IndexError, TypeError), match="single DiagNormal"):
            wrong(gaussian("std", (5,)))


def test_reshape():
    p = gaussian("var", (6, 4), (4,))
    for shape, expected in (
        ((2, 3), (2, 3)), (((3, 2),), (3, 2)), ((-1, 2), (3, 2)), ((6, 1), (6, 1))
    ):  # fmt: skip
        found = p.reshape(*shape)
        assert found.batch_shape == expected
        same_bits(gkl.kl(found), gkl.kl(p).reshape(*shape))
    assert np.shares_memory(p.reshape(2, 3).mean, p.mean)
    assert gaussian("var", (2, 3, 4), (3, 4)).reshape(-1).batch_shape == (6,)
    with pytest.raises(ValueError, match=r"shape \(6,\) cannot be reshaped to \(4,\)"):
        p.reshape(4)


def test_reshape_of_a_single_gaussian_gives_a_batch_of_one():
    assert gaussian("var", (4,)).reshape(1).batch_shape == (1,)
    assert gaussian("var", (1, 4)).reshape(()).batch_shape == ()


def test_equality_pickle_and_copies():
    p = gaussian("var", (4, 3))
    again = DiagNormal(p.mean.copy(), var=p.var.copy())
    assert p == again
    assert (p != again) is False
    assert p != DiagNormal(p.mean, std=p.var)
    assert p != DiagNormal(p.mean, var=p.var + 1)
    assert p != p[:2]
    assert p != 3
    for other in (pickle.loads(pickle.dumps(p)), copy.copy(p), copy.deepcopy(p)):
        assert other == p
    assert pickle.loads(pickle.dumps(DiagNormal(0.0, logvar=1))) == DiagNormal(0.0, logvar=1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(p)


def test_a_view_is_frozen():
    p = gaussian("var", (4, 3))
    for name in ("mean", "var", "std", "batch_shape", "dim", "dtype", "parameter", "new"):
        with pytest.raises(AttributeError):
            setattr(p, name, 1)
    with pytest.raises(TypeError):
        type("Sub", (DiagNormal,), {})


def test_lists_integers_and_numbers():
    for p in (
        DiagNormal([[0, 1], [2, 3]], var=[1, 2]),
        DiagNormal(np.array([[0, 1], [2, 3]], np.int8), var=np.array([1, 2], np.uint16)),
        DiagNormal(((0.0, 1.0), (2.0, 3.0)), var=np.array([1.0, 2.0])),
    ):
        assert p.dtype == np.float64
        same_bits(gkl.kl(p), ufuncs.kl_unit_var([[0.0, 1.0], [2.0, 3.0]], [[1.0, 2.0]] * 2))
    x = gaussian("var", (4, 3), dtype=np.float32).mean
    expected = gkl.kl(DiagNormal(x, var=np.full((4, 3), 2, np.float32)))
    for number in (2, 2.0, np.float32(2), np.array(2, np.float32), np.full((1, 1), 2, "f")):
        same_bits(gkl.kl(DiagNormal(x, var=number)), expected, repr(number))
    assert gkl.kl(DiagNormal(x, var=np.float64(2))).dtype == np.float64
    assert gkl.kl(DiagNormal(1.0, var=True)) == 0.5  # univariate
    assert type(gkl.kl(DiagNormal(1.0, var=1))) is np.float64
    five = gkl.kl(DiagNormal(np.zeros((2, 5)), var=1.0), DiagNormal(1.0, var=1.0))
    assert five.tolist() == [2.5, 2.5]


# Without removing Python numbers first, NumPy takes bfloat16 with a float for float64.
@pytest.mark.parametrize("small", HALVES)
def test_a_python_number_is_weak_beside_a_half_too(small):
    x = gaussian("var", (4, 3)).mean.astype(small)
    expected = gkl.kl(DiagNormal(x.astype(np.float32), var=np.float32(2)))
    same_bits(gkl.kl(DiagNormal(x, var=2.0)), expected)
    value, grad, _ = gkl.kl_and_grad(DiagNormal(x, var=2.0))
    same_bits(value, expected)
    assert grad.mean.dtype == grad.var.dtype == np.float32


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (np.ma.masked_array([1.0, 2.0], [0, 1]), TypeError, r"var is a masked array.*filled"),
        (np.ones(2, complex), TypeError, "var has dtype complex128"),
        (1j, TypeError, "var has dtype complex128"),
        (["1", "2"], TypeError, "var has dtype <U1"),
        (np.array([1, None]), TypeError, "var has dtype object"),
        (np.ones(2, np.longdouble), TypeError, "up to float64 are wanted"),
        (np.zeros(2, "M8[s]"), TypeError, "var has dtype datetime64"),
        ([[1, 2], [3]], ValueError, "var is not an array of numbers"),
        (np.ones(3), ValueError, r"mean and var do not fit: shapes \(4, 2\) and \(3,\)"),
        (np.ones((3, 2)), ValueError, r"shapes \(4, 2\) and \(3, 2\)"),
    ],
)
def test_what_is_no_parameter_is_refused_in_words(wrong, error, words):
    with pytest.raises(error, match=words):
        DiagNormal(np.zeros((4, 2)), var=wrong)


def test_exactly_one_scale_by_name():
    with pytest.raises(TypeError, match="exactly one of var=, std= and logvar=, and got none"):
        DiagNormal(0.0)
    with pytest.raises(TypeError, match="got var and logvar"):
        DiagNormal(0.0, var=1.0, logvar=0.0)
    with pytest.raises(TypeError):
        DiagNormal(0.0, 1.0)


# --- values


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kinds", PAIRS)
def test_functions_are_their_gufuncs(kinds, dtype):
    p, q = pair(kinds, (3, 4, 21), dtype)
    for name, function in VALUES.items():
        prefix, suffix = ("kl", "_per_dim") if name == "kl_per_dim" else (name, "")
        gufunc = getattr(ufuncs, gufunc_name(prefix, p, q) + suffix)
        expected = gufunc(*parameters(p, q))
        for how in LAYOUTS:
            views = [x and DiagNormal(in_layout(x.mean, how), **{x.parameter: in_layout(
                getattr(x, x.parameter), how)}) for x in (p, q)]  # fmt: skip
            same_bits(function(*views), expected, how)
        same_bits(function(p, q and q[0, 0]), gufunc(*parameters(p, q and q[:1, :1])), "shared")
        out = np.empty(expected.shape, dtype)
        assert function(p, q, out=out) is out
        same_bits(out, expected)
        same_bits(function(p[0, 0], q and q[0, 0]), expected[0, 0])
    scale = getattr(p, p.parameter)
    same_bits(gkl.entropy(p), getattr(ufuncs, f"entropy_diag_{p.parameter}")(scale))
    terms = gkl.kl_terms(p, q)
    name = gufunc_name("kl", p, q)
    found = (terms.mahalanobis, terms.trace, terms.logdet)
    same_bits(found, getattr(ufuncs, name + "_terms")(*parameters(p, q)))
    same_bits((terms.kl, terms.mean_part, terms.cov_part),
              getattr(ufuncs, name + "_parts")(*parameters(p, q)))  # fmt: skip


@pytest.mark.parametrize("kinds", PAIRS)
def test_terms_entropies_and_divergences_agree(kinds):
    p, q = pair(kinds, (40, 9))
    terms = gkl.kl_terms(p, q)
    kl = gkl.kl(p, q)
    assert terms.dim == 9
    same_bits(terms.kl, kl)
    total = terms.mahalanobis + terms.trace + terms.logdet - terms.dim
    np.testing.assert_allclose(total / 2, kl, rtol=1e-12)
    np.testing.assert_allclose(terms.mean_part + terms.cov_part, kl, rtol=1e-14)
    np.testing.assert_allclose(terms.mean_part, terms.mahalanobis / 2, rtol=1e-14)
    np.testing.assert_allclose(gkl.cross_entropy(p, q) - gkl.entropy(p), kl, rtol=1e-12)
    np.testing.assert_allclose(gkl.kl_per_dim(p, q).sum(axis=-1), kl, rtol=1e-13)
    back = gkl.kl(q, p) if q is not None else gkl.kl(DiagNormal(0.0, var=1.0), p)
    np.testing.assert_allclose(gkl.jeffreys(p, q), kl + back, rtol=1e-12)
    if q is None:
        unit = DiagNormal(0.0, **{p.parameter: float(p.parameter != "logvar")})
        np.testing.assert_allclose(gkl.kl(p, unit), kl, rtol=1e-14)


@pytest.mark.parametrize("small", HALVES)
@pytest.mark.parametrize("kinds", PAIRS)
def test_halves_are_computed_in_float32(kinds, small):
    p, q = pair(kinds, (5, 33), small)
    wide = [x and DiagNormal(x.mean.astype(np.float32), **{x.parameter: getattr(
        x, x.parameter).astype(np.float32)}) for x in (p, q)]  # fmt: skip
    for function in VALUES.values():
        same_bits(function(p, q), function(*wide))
    found, expected = gkl.kl_and_grad(p, q), gkl.kl_and_grad(*wide)
    same_bits(found[0], expected[0])
    for x, y in zip(found[1:], expected[1:], strict=True):
        assert (x is None) == (y is None)
        assert x is None or x == y


def test_shapes_that_do_not_fit_name_both():
    p = gaussian("var", (4, 3))
    for function in (*VALUES.values(), gkl.kl_terms, gkl.kl_and_grad):
        with pytest.raises(ValueError, match=r"shapes \(4,\) and \(5,\)"):
            function(p, gaussian("var", (5, 3)))
        with pytest.raises(ValueError, match=r"d = 3.*d = 2"):
            function(p, gaussian("var", (4, 2)))
        with pytest.raises(TypeError, match="q is a ndarray, not a gkl distribution"):
            function(p, np.zeros(3))
        with pytest.raises(TypeError, match="p is a int"):
            function(3)
        with pytest.raises(ValueError, match="on_error= takes 'raise' or 'nan', not 'warn'"):
            function(p, on_error="warn")
        with pytest.raises(ValueError, match="between 1 and 4096, not 0"):
            function(p, threads=0)
        with pytest.raises(TypeError, match="is an integer, not 'many'"):
            function(p, threads="many")


# --- out=


def calls_with_out():
    """name: a call with out= for the value, the shape of it."""
    p, q = gaussian("var", (4, 3)), gaussian("std", (4, 3), seed=1)
    calls = {name: (lambda o, f=f: f(p, q, out=o), f(p, q)) for name, f in VALUES.items()}
    calls["entropy"] = (lambda o: gkl.entropy(p, out=o), gkl.entropy(p))
    calls["kl_and_grad"] = (lambda o: gkl.kl_and_grad(p, q, out=(o, None, None))[0], gkl.kl(p, q))
    return calls


@pytest.mark.parametrize("name", list(calls_with_out()))
def test_out(name):
    call, expected = calls_with_out()[name]
    for dtype in (np.float64, np.float32):
        for how in LAYOUTS:
            out = in_layout(np.full(expected.shape, 7, dtype), how)
            assert call(out) is out
            same_bits(out, expected.astype(dtype))
    shape = expected.shape
    for wrong, error, words in (
        (np.empty((5, *shape[1:])), ValueError, r"out.* has shape \(5.*the result \(4"),
        (np.empty(()), ValueError, r"out.* has shape"),
        (np.empty(shape, int), TypeError, r"out.* has dtype int64, which cannot hold float64"),
        (list(expected), TypeError, r"out.* is of type list, not a NumPy array"),
    ):
        with pytest.raises(error, match=words):
            call(wrong)
    expected.flags.writeable = False
    with pytest.raises(ValueError, match=r"out.* is read-only"):
        call(expected)


def test_out_may_overlap_the_parameters():
    mean, var = operands("kl_unit_var", (6,), 6)
    expected = gkl.kl_and_grad(DiagNormal(mean, var=var))
    m, v = mean.copy(), var.copy()
    p = DiagNormal(m, var=v)
    value, grad, _ = gkl.kl_and_grad(p, out=(None, DiagNormal(v, var=m), None))
    assert grad.mean is v
    same_bits((value, grad.mean, grad.var), (expected[0], expected[1].mean, expected[1].var))
    m = mean.copy()
    same_bits(gkl.kl(DiagNormal(m, var=var), out=m[3]), expected[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_two_outputs_in_one_place_are_refused(dtype):
    """Also where results are computed elsewhere first: another type, or an input."""
    p = gaussian("logvar", (4, 3), dtype=np.float32)
    for a in (np.empty((4, 3), dtype), p.mean):
        with pytest.raises(ValueError, match="two outputs share memory"):
            gkl.kl_and_grad(p, out=(None, DiagNormal(a, logvar=a), None))


def test_outputs_may_lie_side_by_side_in_one_array():
    """A chunked [mean | logvar] tensor: bounds overlap, memory does not."""
    p = gaussian("logvar", (4, 3))
    room = np.empty((4, 6))
    out = DiagNormal(room[:, :3], logvar=room[:, 3:])
    _, expected, _ = gkl.kl_and_grad(p)
    _, found, _ = gkl.kl_and_grad(p, out=(None, out, None))
    assert found == expected
    assert found.mean is out.mean


# --- errors in the data


def spoiled():
    p = gaussian("var", (5, 4, 3))
    p.var[1, 2, 0] = -1
    p.var[3, 0, 2] = 0
    return p


@pytest.mark.parametrize("name", [*VALUES, "entropy", "kl_terms", "kl_and_grad"])
def test_an_error_counts_points_and_carries_the_result(name):
    p = spoiled()
    function = getattr(gkl, name)
    quiet = function(p, on_error="nan")
    with pytest.raises(InvalidGaussianError) as caught:
        function(p)
    e = caught.value
    assert str(e) == "2 of 20 Gaussians are invalid; first: p.var[1, 2, 0] = -1.0 is not positive"
    assert e.reason == "p.var[1, 2, 0] = -1.0 is not positive"
    assert e.index.tolist() == [[1, 2], [3, 0]]
    assert (e.count, e.total) == (2, 20)
    assert isinstance(e, np.linalg.LinAlgError)
    assert isinstance(e, ValueError)
    value = quiet[0] if name == "kl_and_grad" else quiet.kl if name == "kl_terms" else quiet
    same_bits(e.kl, value)
    bad = np.isnan(value) if name != "kl_per_dim" else np.isnan(value).any(axis=-1)
    assert np.argwhere(bad).tolist() == e.index.tolist()
    if name == "kl_and_grad":
        same_bits(e.result[0], quiet[0])
        np.testing.assert_array_equal(e.result[1].mean, quiet[1].mean)
    elif name == "kl_terms":
        same_bits(e.result.trace, quiet.trace)
    else:
        same_bits(e.result, quiet)
        out = np.full(quiet.shape, 7.0)
        with pytest.raises(InvalidGaussianError):
            function(p, out=out)
        same_bits(out, quiet)
        out = np.full(quiet.shape, 7, np.float32)
        with pytest.raises(InvalidGaussianError):
            function(p, out=out)
        same_bits(out, quiet.astype(np.float32))
    again = pickle.loads(pickle.dumps(e))
    assert str(again) == str(e)


@pytest.mark.parametrize(
    ("change", "reason", "count"),
    [
        (lambda p, q: p.mean.__setitem__((2, 1), np.nan), "p.mean[2, 1] = nan is not finite", 1),
        (lambda p, q: p.mean.__setitem__((0, 0), -np.inf), "p.mean[0, 0] = -inf is not finite", 1),
        (lambda p, q: q.std.__setitem__(1, 0), "q.std[1] = 0.0 is not positive", 4),
        (lambda p, q: q.std.__setitem__(1, np.inf), "q.std[1] = inf is not finite", 4),
        (lambda p, q: q.mean.__setitem__(2, np.nan), "q.mean[2] = nan is not finite", 4),
    ],
)
def test_the_first_reason_names_the_parameter_that_the_caller_gave(change, reason, count):
    p, q = gaussian("logvar", (4, 3)), gaussian("std", (3,))
    change(p, q)
    for function in (*VALUES.values(), gkl.kl_terms, gkl.kl_and_grad):
        with pytest.raises(InvalidGaussianError) as caught:
            function(p, q)
        assert (caught.value.reason, caught.value.count) == (reason, count)


def test_errors_of_single_gaussians_and_of_numbers():
    with pytest.raises(InvalidGaussianError, match=r"^1 of 1 Gaussians is inv.*p.var = -1"):
        gkl.kl(DiagNormal(0.0, var=-1.0))
    with pytest.raises(InvalidGaussianError) as caught:
        gkl.kl(DiagNormal(np.zeros((2, 2)), var=1.0), DiagNormal(0.0, std=0))
    assert caught.value.reason == "q.std = 0.0 is not positive"
    with pytest.raises(InvalidGaussianError) as caught:
        gkl.kl(DiagNormal(np.zeros(3), var=np.array([1.0, 1.0, -2.0])))
    assert caught.value.index.shape == (1, 0)
    assert gkl.entropy(DiagNormal(np.nan, var=1.0)) == gkl.entropy(DiagNormal(0.0, var=1.0))


def test_an_infinite_divergence_is_no_error():
    assert gkl.kl(DiagNormal(np.full(3, 1e30, "f"), var=np.full(3, 1e-20, "f"))) == np.inf
    p = DiagNormal(np.array([[1e300], [0.0]]), var=1.0)
    value, grad, _ = gkl.kl_and_grad(p)
    assert value.tolist() == [np.inf, 0]
    assert grad.mean.tolist() == [[1e300], [0]]


def test_an_error_after_another_counts_anew():
    for _ in range(2):
        with pytest.raises(InvalidGaussianError, match="2 of 20"):
            gkl.kl(spoiled())
    assert gkl.kl(spoiled()[0]).shape == (4,)


# --- settings


@pytest.mark.thread_unsafe  # it switches what is the process's
def test_the_number_of_threads():
    with gkl.num_threads(1):
        assert gkl.get_num_threads() == 1
        with gkl.num_threads(2):
            assert gkl.get_num_threads() == 2
        assert gkl.get_num_threads() == 1
        gkl.set_num_threads(5)
        assert gkl.get_num_threads() == 1  # this thread's own goes before
        seen = []
        thread = threading.Thread(target=lambda: seen.append(gkl.get_num_threads()))
        thread.start()
        thread.join()
        assert seen == [5]
    assert gkl.get_num_threads() == 5
    with pytest.raises(KeyError), gkl.num_threads(3):
        raise KeyError
    assert gkl.get_num_threads() == 5
    gkl.set_num_threads(np.int64(2))
    for wrong, error in ((0, ValueError), (-1, ValueError), (10**6, ValueError),
                         (1.5, TypeError), ("2", TypeError), (None, TypeError)):  # fmt: skip
        for function in (gkl.set_num_threads, gkl.num_threads(wrong).__enter__):
            with pytest.raises(error, match="a number of threads is"):
                function() if function != gkl.set_num_threads else function(wrong)
    assert gkl.get_num_threads() == 2


def test_show_config(capsys):
    config = gkl.show_config(mode="dicts")
    assert capsys.readouterr().out == ""
    assert config["gkl"]["version"] == gkl.__version__
    assert config["ISA"]["chosen"] in config["ISA"]["available"]
    assert config["ISA"]["available"][0] == "baseline"
    with gkl.num_threads(3):
        assert gkl.show_config(mode="dicts")["Threads"]["number"] == 3
    assert gkl.show_config() is None
    printed = capsys.readouterr().out
    for words in (gkl.__version__, *config["ISA"]["available"], "OpenMP", np.__version__):
        assert str(words) in printed
    with pytest.raises(ValueError, match="mode= takes"):
        gkl.show_config("json")


@pytest.mark.parametrize("isa", [*_core.isas(), ""])
def test_an_instruction_set_can_be_chosen(isa):
    program = "import gkl; print(gkl.show_config(mode='dicts')['ISA']['chosen'])"
    assert python(program, GKL_ISA=isa).strip() == (isa or _core.isas()[-1])


@pytest.mark.parametrize("isa", ["sse9", *({"neon", "avx512", "avx2"} - {*_core.isas()})])
def test_an_instruction_set_that_is_not_here_is_an_import_error(isa):
    program = "try:\n import gkl\nexcept ImportError as e:\n print(e)"
    printed = python(program, GKL_ISA=isa)
    assert printed.startswith("GKL_ISA: ")
    assert f"'{isa}'" in printed


def test_the_facade_computes_what_the_twins_do():
    p, q = pair(("std", "logvar"), (6, 5))
    close(gkl.kl(p, q), reference.twin("kl_diag_std_logvar")(*parameters(p, q)), np.float64)


def test_numbers_that_the_arrays_type_does_not_have():
    half = np.zeros((2, 3), np.float16)
    for var in (1e-10, 1e6, 0.1):
        expected = gkl.kl(DiagNormal(half.astype(np.float32), var=var))
        np.testing.assert_array_equal(gkl.kl(DiagNormal(half, var=var)), expected)
    with pytest.raises(InvalidGaussianError, match=r"p\.var = 1e-50 is not positive as float32"):
        gkl.kl(DiagNormal(half, var=1e-50))
    with pytest.raises(InvalidGaussianError, match=r"p\.mean = 1e\+39 is not finite as float32"):
        gkl.kl(DiagNormal(1e39, var=half + 1))
