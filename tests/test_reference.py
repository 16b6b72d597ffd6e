# SPDX-License-Identifier: BSD-3-Clause
"""The NumPy twins: complete, in agreement with the gufuncs, and their docstrings run."""

import itertools

import helpers
import numpy as np
import pytest
import test_accuracy
import test_full_accuracy
import test_low_rank
from helpers import MATRICES, core_ndims, kind_of, operand_names, several, through_matrices

from gkl import reference, ufuncs

NAMES = helpers.BATCH_NAMES
PAIRS = ("diag_var", "diag_std", "diag_logvar", "full_cov", "full_tril", "full_precision")
PAIRS += ("low_rank",)


def test_every_gufunc_has_a_twin_a_docstring_and_an_accuracy_test():
    assert list(ufuncs.__all__) == NAMES + reference.names("pairwise")
    pairs = {x.removeprefix("kl_").removesuffix("_grad") for x in NAMES if x.endswith("_grad")}
    with_accuracy_test = {x.removeprefix("kl_").removesuffix("_grad") for x in test_accuracy.NAMES}
    with_accuracy_test |= set(test_full_accuracy.PAIRS)
    with_accuracy_test |= {test_low_rank.pair_name(*pair) for pair in test_low_rank.PAIRS}
    docs = {name: getattr(ufuncs, name).__doc__ for name in NAMES}
    lacking = {
        "a twin": [name for name in NAMES if not callable(reference.twin(name))],
        "a docstring": [name for name in NAMES if not reference.docstring(name).strip()],
        "its docstring": [name for name in NAMES if reference.docstring(name) not in docs[name]],
        "an accuracy test": sorted(set(reference.names("diag")) - set(test_accuracy.NAMES)),
        "one of the pair": sorted(pairs - with_accuracy_test),
    }
    assert not any(lacking.values()), lacking


def operands(name, dtype, batch=(6,), d=5, seed=0):
    """Generic operands of a function; the last but the weight is for broadcasting."""
    found = helpers.operands(name, batch, d, dtype, seed)
    last = -2 if operand_names(name)[-1] == "weight" else -1
    if len(found) > 1:
        found[last] = found[last][(0,) * len(batch)]
    return found


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


def wrong_places(name, d):
    """An operand and where it may be wrong, by its core dimensions."""
    for i, operand in enumerate(operand_names(name)):
        kind = kind_of(operand)
        if kind in MATRICES:
            yield from ((i, (d - 2, d - 2)), (i, (d - 1, 1)))
        elif kind != "weight":
            yield i, (d - 2, 0) if kind == "factor" else (d - 2,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_bad_items_are_nan_in_twins_and_gufuncs(name, dtype):
    """The same results are NaN, whatever is wrong, and nothing warns."""
    wrongs = (np.nan, np.inf, -np.inf, 0.0, -1.0)
    if through_matrices(name):  # more of them in test_gufuncs.py
        wrongs = (np.nan, -9.0) if dtype == np.float64 else (-np.inf, 9.0)
    gufunc = getattr(ufuncs, name)
    for (i, at), wrong in itertools.product(wrong_places(name, 5), wrongs):
        arrays = operands(name, dtype)
        shape = arrays[i].shape[-core_ndims(gufunc)[i] :]
        arrays[i] = np.broadcast_to(arrays[i], (6, *shape)).copy()
        arrays[i][(2, *at)] = wrong
        expected = several(reference.twin(name)(*arrays))
        for isa in test_accuracy.every_isa():
            found = several(gufunc(*arrays))
            for x, y in zip(expected, found, strict=True):
                message = f"{isa}: operand {i} is {wrong} at {at}"
                np.testing.assert_array_equal(np.isnan(x), np.isnan(y), message)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_twin_of_an_entropy_and_a_cross_entropy(pair):
    """KL = cross-entropy - entropy, and Jeffreys = KL both ways, in the twins alone."""
    arrays = operands(f"kl_{pair}", np.float64)
    p, q = arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]
    twin = reference.twin
    kl = twin(f"kl_{pair}")(*p, *q)
    cross = twin(f"cross_entropy_{pair}")(*p, *q)
    np.testing.assert_allclose(kl, cross - twin(f"entropy_{pair}")(*p[1:]), rtol=1e-12)
    back = twin(f"kl_{pair}")(*q, *p)
    np.testing.assert_allclose(twin(f"jeffreys_{pair}")(*p, *q), kl + back, rtol=1e-12)
    mahalanobis, trace, logdet = twin(f"kl_{pair}_terms")(*p, *q)
    np.testing.assert_allclose(kl, (mahalanobis + trace + logdet - 5) / 2, rtol=1e-12)
    value, mean_part, cov_part = twin(f"kl_{pair}_parts")(*p, *q)
    np.testing.assert_allclose(value, kl)
    np.testing.assert_allclose(mean_part + cov_part, kl)


def as_full(kind, x):
    """The covariance, a matrix, of variances or the like."""
    variances = {"var": x, "std": x**2, "logvar": np.exp(x)}[kind]
    return variances[..., None] * np.eye(x.shape[-1])


@pytest.mark.parametrize("kind", ["var", "std", "logvar"])
def test_the_families_of_twins_agree(kind):
    mean_p, x_p, mean_q, x_q = helpers.operands(f"kl_diag_{kind}", (6,), 5)
    cov_p, cov_q = as_full(kind, x_p), as_full(kind, x_q)
    twin = reference.twin
    for prefix, suffix in (("kl", ""), ("kl", "_parts"), ("kl", "_terms"), ("jeffreys", ""),
                           ("cross_entropy", "")):  # fmt: skip
        expected = several(twin(f"{prefix}_diag_{kind}{suffix}")(mean_p, x_p, mean_q, x_q))
        for pair, scales in (("full_cov", (cov_p, cov_q)), (f"diag_full_{kind}_cov", (x_p, cov_q)),
                             (f"full_diag_cov_{kind}", (cov_p, x_q))):  # fmt: skip
            call = twin(f"{prefix}_{pair}{suffix}")
            found = several(call(mean_p, scales[0], mean_q, scales[1]))
            np.testing.assert_allclose(found, expected, rtol=1e-10, err_msg=f"{prefix}_{pair}")
    none = np.zeros((5, 0))
    if kind == "var":
        found = twin("kl_low_rank")(mean_p, none, x_p, mean_q, none, x_q)
        np.testing.assert_allclose(found, twin("kl_full_cov")(mean_p, cov_p, mean_q, cov_q))


GRADIENTS = [f"kl_{p}" for p in ("diag_var_std", "diag_logvar", "full_cov_tril", "full_tril_cov",
                                "full_precision", "diag_full_logvar_cov", "full_diag_cov_std",
                                "diag_full_std_precision", "full_diag_tril_logvar",
                                "unit_precision", "low_rank", "low_rank_diag_var")]  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_the_twins_against_differences(name):
    """An entry below the diagonal of a symmetric matrix stands for the one above it, too."""
    arrays = helpers.operands(name, (), 3)
    _, *gradients = reference.twin(f"{name}_grad")(*arrays)
    step = 1e-5
    for i, (operand, x) in enumerate(zip(operand_names(name), arrays, strict=True)):
        symmetric = kind_of(operand) in ("cov", "precision")
        for at in np.ndindex(x.shape):
            values = []
            for change in (-step, step):
                moved = [y.copy() for y in arrays]
                moved[i][at] += change
                values.append(reference.twin(name)(*moved))
            slope = (values[1] - values[0]) / (2 * step)
            expected = gradients[i][at]
            if kind_of(operand) in MATRICES and at[1] > at[0]:
                expected = 0.0  # not read
            elif symmetric and at[1] < at[0]:
                expected *= 2
            np.testing.assert_allclose(slope, expected, 1e-6, 1e-8, err_msg=f"{operand}{at}")


def test_a_twin_refuses_the_wrong_number_of_operands():
    with pytest.raises(TypeError, match="mean_p, var_p, mean_q, logvar_q"):
        reference.twin("kl_diag_var_logvar")(1.0, 2.0)


@pytest.mark.thread_unsafe  # a doctest takes the process's stdout
@pytest.mark.parametrize("name", NAMES)
def test_docstrings(name):
    text = reference.docstring(name)
    for section in ("Parameters", "Returns", "Notes", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text
    assert max(map(len, text.splitlines())) <= 99
