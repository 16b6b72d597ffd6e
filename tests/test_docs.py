# SPDX-License-Identifier: BSD-3-Clause
"""Docstrings: the examples of all run, and what is public has one in numpydoc's form; the tree in
CONTRIBUTING.md."""

import doctest
import importlib
import pkgutil
import re
import runpy

import pytest
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
