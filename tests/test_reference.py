# SPDX-License-Identifier: BSD-3-Clause
"""The NumPy twins: complete, in agreement with the gufuncs, and their docstrings run."""

import doctest
import itertools

import numpy as np
import pytest
import test_accuracy

from gkl import reference, ufuncs

NAMES = reference.names()
KINDS = ("var", "std", "logvar")


def test_every_gufunc_has_a_twin_a_docstring_and_an_accuracy_test():
    assert list(ufuncs.__all__) == NAMES
    docs = {name: getattr(ufuncs, name).__doc__ for name in NAMES}
    lacking = {
        "a twin": [name for name in NAMES if not callable(reference.twin(name))],
        "a docstring": [name for name in NAMES if not reference.docstring(name).strip()],
        "its docstring": [name for name in NAMES if reference.docstring(name) not in docs[name]],
        "an accuracy test": sorted(set(NAMES) - set(test_accuracy.NAMES)),
    }
    assert not any(lacking.values()), lacking


def operands(name, dtype, shape=(6, 5), seed=0):
    """Generic operands of a function; those of q, and the weight, for broadcasting."""
    rng = np.random.default_rng(seed)
    gufunc = getattr(ufuncs, name)
    ndims = [0 if part == "()" else 1 for part in inputs(gufunc)]
    (kind_p, kind_q), results = test_accuracy.parse(name)
    kinds = [kind_p] if results == ["entropy"] else ["mean", kind_p, "mean", kind_q, "weight"]
    if kind_q is None:
        kinds = ["mean", kind_p, "weight"]
    found = []
    for i, (kind, ndim) in enumerate(zip(kinds[: gufunc.nin], ndims, strict=True)):
        own = shape[:-1] if ndim == 0 or kind == "weight" else shape[1:] if i == 3 else shape
        x = rng.normal(size=own)
        found.append((np.exp(x) if kind in ("var", "std") else x).astype(dtype))
    return found


def several(found):
    return found if isinstance(found, tuple) else (found,)


def inputs(gufunc):
    return gufunc.signature.split("->")[0].replace("),(", ") (").split()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_twins_agree_with_the_gufuncs(name, dtype):
    arrays = operands(name, dtype)
    expected = several(reference.twin(name)(*arrays))
    found = several(getattr(ufuncs, name)(*arrays))
    tolerance = 1e-12 if dtype == np.float64 else 2e-4
    for x, y in zip(expected, found, strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype == dtype
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_bad_items_are_nan_in_twins_and_gufuncs(name, dtype):
    """The same results are NaN, whatever is wrong, and nothing warns."""
    count = inputs(getattr(ufuncs, name)).count("(d)")
    for i, wrong in itertools.product(range(count), (np.nan, np.inf, -np.inf, 0.0, -1.0)):
        arrays = operands(name, dtype)
        arrays[i] = np.broadcast_to(arrays[i], (6, 5)).copy()
        arrays[i][2, 3] = wrong
        expected = several(reference.twin(name)(*arrays))
        for isa in test_accuracy.every_isa():
            found = several(getattr(ufuncs, name)(*arrays))
            for x, y in zip(expected, found, strict=True):
                message = f"{isa}: operand {i} is {wrong}"
                np.testing.assert_array_equal(np.isnan(x), np.isnan(y), message)


@pytest.mark.parametrize("kind", KINDS)
def test_the_twin_of_an_entropy_and_a_cross_entropy(kind):
    """KL = cross-entropy - entropy, and Jeffreys = KL both ways, in the twins alone."""
    mean_p, p, mean_q, q = operands(f"kl_diag_{kind}", np.float64)
    twin = reference.twin
    kl = twin(f"kl_diag_{kind}")(mean_p, p, mean_q, q)
    cross = twin(f"cross_entropy_diag_{kind}")(mean_p, p, mean_q, q)
    np.testing.assert_allclose(kl, cross - twin(f"entropy_diag_{kind}")(p), rtol=1e-12)
    back = twin(f"kl_diag_{kind}")(mean_q, q, mean_p, p)
    jeffreys = twin(f"jeffreys_diag_{kind}")(mean_p, p, mean_q, q)
    np.testing.assert_allclose(jeffreys, kl + back, rtol=1e-12)


def test_a_twin_refuses_the_wrong_number_of_operands():
    with pytest.raises(TypeError, match="mean_p, var_p, mean_q, logvar_q"):
        reference.twin("kl_diag_var_logvar")(1.0, 2.0)


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_run(name):
    text = reference.docstring(name)
    for section in ("Parameters", "Returns", "Notes", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text
    assert max(map(len, text.splitlines())) <= 99
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    assert test.examples
    lines = []
    doctest.DocTestRunner(verbose=False).run(test, out=lines.append)
    assert not lines, "".join(lines)
