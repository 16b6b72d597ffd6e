# SPDX-License-Identifier: BSD-3-Clause
"""Docstrings: the examples of all run, and what is public has one in numpydoc's form; the tree in
CONTRIBUTING.md; the bounds that pages state are those of the tests."""

import doctest
import importlib
import pkgutil
import re
import runpy

import pytest
import test_accuracy
import test_full_accuracy
import test_low_rank
import test_pairwise
import test_scalar
from helpers import in_checkout

import gkl
from gkl import reference, ufuncs

MODULES = ["gkl", *(x.name for x in pkgutil.walk_packages(gkl.__path__, "gkl."))]
MODULES.remove("gkl.__main__")
PUBLIC = ("gkl", "gkl.vae", "gkl.torch", "gkl.jax")
OPTIONAL = ("h5py", "pyarrow", "zarr")
RESULTS = ("InvalidGaussianError", "KLTerms", "Neighbors")  # nobody makes one
# of numpydoc: sections in order, a summary of one line, parameters, results, an example
CHECKS = {"GL03", "GL05", "GL06", "GL07", "GL08", "SS01", "SS03", "SS04", "SS06"}
CHECKS |= {"PR01", "PR05", "PR10", "RT01", "EX01"}


def module(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if "pip install 'gkl[" in str(error) or error.name in OPTIONAL:
            pytest.skip(str(error))
        raise


def run(tests):
    """How many examples there are; all print what they show."""
    lines, examples = [], 0
    for test in tests:
        examples += len(test.examples)
        doctest.DocTestRunner(verbose=False).run(test, out=lines.append)
    assert not lines, "".join(lines)
    return examples


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name):
    run(doctest.DocTestFinder().find(module(name), name))


@pytest.mark.parametrize("name", ufuncs.__all__)
def test_examples_of_a_gufunc(name):
    text = reference.docstring(name)
    assert run([doctest.DocTestParser().get_doctest(text, {}, name, None, 0)])


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_numpydoc(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    for member in set(module(name).__all__) - {"ufuncs"}:
        checks = CHECKS
        if re.search(r"^:class:|those of :", getattr(module(name), member).__doc__):
            checks = checks - {"PR01", "RT01"}  # it says what its parameters are by a reference
        if member in RESULTS:
            checks = checks - {"PR01", "EX01"}
        if name in ("gkl.torch", "gkl.jax") and member.endswith("Normal"):
            checks = checks - {"EX01"}  # their examples are those of the functions
        found = validate(f"{name}.{member}")["errors"]
        assert [x for x in found if x[0] in checks] == [], f"{name}.{member}"


def test_modules_are_found():
    assert {"gkl._core", "gkl.divergence", "gkl.vae.schemes", "gkl.reference"} <= {*MODULES}


def test_the_tree_is_that_of_the_files():
    tree = runpy.run_path(str(in_checkout("docs/tree.py")))
    assert tree["PAGE"].read_text() == tree["page"](), "run python docs/tree.py"


def test_bounds_on_the_page_are_those_of_the_tests():
    """Row by row, in order, of the table of docs/accuracy.md."""
    diag, full, low = test_accuracy, test_full_accuracy, test_low_rank
    both, near = "(k_q + k_p)", "(k_q + k_p/max(1, KL))"
    both_types = "{:.0e} in float32, {:.0e} in float64"
    wanted = [
        ("test_scalar.py", f"{max(test_scalar.BOUNDS[x] for x in ('phi', 'psi')) / 2} eps"),
        ("test_accuracy.py", f"{diag.BOUND} eps;"),
        ("test_accuracy.py", f"{diag.BOUND} eps (1 + 1/"),
        ("test_accuracy.py", f"{diag.JEFFREYS_BOUND} eps"),
        ("test_accuracy.py", f"{diag.BOUND} eps of the sum"),
        ("test_full_accuracy.py", f"{full.BOUND} eps {near}"),
        ("test_full_accuracy.py", f"{full.BOUND} eps {both} (1 + 1/√KL)"),
        ("test_full_accuracy.py", f"{full.GRADIENT_BOUND} eps {both}"),
        ("test_full_accuracy.py", f"{full.GRADIENT_BOUND} eps {both} (1 + 1/√cov_part)"),
        ("test_full_accuracy.py", f"{full.JEFFREYS_BOUND} eps {both}"),
        ("test_full_accuracy.py", f"{full.BOUND} eps {both} of the sum"),
        ("test_low_rank.py", f"{low.BOUND} eps {near}"),
        ("test_low_rank.py", f"{low.BOUND} eps {both} (1 + e²/KL)"),
        ("test_low_rank.py", f"{low.GRADIENT_BOUND} eps {both}"),
        ("test_low_rank.py", f"{low.BOUND} eps {both}"),
        ("test_pairwise.py", both_types.format(*test_pairwise.TOLERANCE.values())),
        ("test_pairwise.py", "(1 + 1/"),
        ("test_pairwise.py", both_types.format(*test_pairwise.FULL_TOLERANCE.values())),
    ]  # fmt: skip
    page = in_checkout("docs/accuracy.md").read_text()
    rows = re.findall(r"(?m)^\| (?!what|:)[^|]* \| (.*) \| `(test_\w+\.py)` \|$", page)
    for (bound, file), (test, beginning) in zip(rows, wanted, strict=True):
        assert file == test
        assert bound.startswith(beginning), bound
    assert f"at most {full.LOST}" in page
    for text in (gkl.kl.__doc__, in_checkout("README.md").read_text()):
        assert f"{diag.BOUND} eps" in text
    for x in (f"{full.BOUND} eps (kq + kp/max(1, KL))", f"{full.BOUND} eps (kq + kp) (1 +"):
        assert x in gkl.kl.__doc__
    for x in (f"{diag.BOUND} eps", f"{full.GRADIENT_BOUND} eps (kq + kp)"):
        assert x in gkl.kl_and_grad.__doc__
