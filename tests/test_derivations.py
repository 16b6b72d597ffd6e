# SPDX-License-Identifier: BSD-3-Clause
"""Every numbered formula of docs/derivations/ against an independent value, and gkl itself.

A page is a notebook. ``<!-- inputs: NAME -->`` begins with fresh parameters, those of
`derivations.inputs.INPUTS`; from there on every numbered formula, ``$$ ... $$ (label)``, is
followed by the same in Python, which is executed. Each row of the formula is evaluated from its
TeX, too, and has to have the value of the Python. What it has to be beyond that, by integrals of
the densities alone or by another computation that does not know the formula, and by gkl itself,
`derivations.truths.TRUTHS` says by label; labels of definitions begin with ``def-`` and have none.
"""

import ast
import itertools
import re

import numpy as np
import pytest
from derivations import (
    tex,
    truths_closed_forms,  # noqa: F401 enter what they have
    truths_gradients,  # noqa: F401
    truths_mixtures,  # noqa: F401
    truths_pairwise,  # noqa: F401
    truths_rounding,  # noqa: F401
    truths_vae,  # noqa: F401
)
from derivations.inputs import INPUTS
from derivations.truths import TRUTHS
from helpers import in_checkout

DOCS = in_checkout("docs")
PAGES = [DOCS / "derivations.md", *sorted((DOCS / "derivations").glob("*.md"))]
PART = re.compile(
    r"^<!-- inputs: (?P<inputs>.*?) -->$"
    r"|^\$\$\n(?P<tex>.*?)^\$\$(?: \((?P<label>[\w-]+)\))?$"
    r"|^```python\n(?P<python>.*?)^```$(?P<shows>\n\n```text$)?",
    re.M | re.S,
)
SEEDS = (1, 2, 4)  # u, y and d of either kind: near and far, 2 and 3; every order
DEFINITION = "def-"
INDICES = set("ijk")


def results(page):
    """(name of the inputs, label, TeX, Python) of every numbered formula."""
    inputs, formula = None, None
    for part in PART.finditer(page.read_text()):
        where = f"{page.name}: {part[0][:60]!r}"
        if part["shows"]:  # a program of its own: test_readme.py
            continue
        if formula and not part["python"]:
            raise ValueError(f"{where}: formula {formula[0]} has no Python beneath it")
        if part["inputs"]:
            inputs = part["inputs"]
        elif part["python"]:
            if not formula:
                raise ValueError(f"{where}: no numbered formula stands above this")
            yield inputs, *formula, part["python"]
            formula = None
        elif part["label"]:
            formula = part["label"], part["tex"]
    if formula:
        raise ValueError(f"{page.name}: formula {formula[0]} has no Python beneath it")


def sections(page):
    """Results by the inputs that they begin with."""
    return [
        pytest.param(name, [result[1:] for result in group], id=f"{page.stem}: {name}")
        for name, group in itertools.groupby(results(page), lambda result: result[0])
    ]


ALL = [x for page in PAGES for x in results(page)]


def test_every_result_has_a_truth_and_every_truth_a_result():
    labels = [label for _, label, _, _ in ALL]
    assert len(set(labels)) == len(labels)
    assert {x for x in labels if not x.startswith(DEFINITION)} == set(TRUTHS)
    assert len(labels) > 60


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("inputs", "formulas"), [x for page in PAGES for x in sections(page)])
def test_formulas(inputs, formulas, seed):
    given = INPUTS[inputs](np.random.default_rng(seed))
    names = dict(given)
    tolerance = given["tolerance"]
    for label, formula, python in formulas:
        exec(compile(python, label, "exec"), names)
        names = {x: y for x, y in names.items() if x not in INDICES or type(y) is not int}
        rows = tex.rows(formula)
        assigned = assigned_names(python)
        assigned = [None] * (len(rows) - len(assigned)) + assigned[-len(rows) :]
        for row, name in zip(rows, assigned, strict=True):
            check_tex(label, row, name, names, tolerance)
        truth = {} if label.startswith(DEFINITION) else TRUTHS[label](given)
        relation = dict(zip(assigned, (row.relations[0] for row in rows), strict=True))
        for name, values in truth.items():
            for value in values if isinstance(values, tuple) else (values,):
                check(f"{label}: {name}", names[name], value, tolerance, relation.get(name, "="))


def assigned_names(python):
    """The last as many as there are rows belong to the rows."""
    targets = [x.targets[0] for x in ast.parse(python).body if isinstance(x, ast.Assign)]
    return [x.id for x in targets if isinstance(x, ast.Name)]


def check_tex(label, row, name, names, tolerance):
    """The row by the evaluator is the value of the Python, or its two sides are equal."""
    free = [x for x in index_letters(row) if x not in names]
    if not free:
        values = row.values(names)
        for value in [*left_value(row, names), *values]:
            check(f"{label}: {row.tex}", value, names[name], tolerance)
        slope = re.fullmatch(r".*partial\\?(.*?)\}", "".join(row.sides[0]).replace("ell", "l"))
        assert not slope or "KL" not in slope[0] or name == f"d_{slope[1]}", row.tex
        return
    sizes = names["sizes"]
    for at in itertools.product(*(range(sizes.get(x, sizes[""])) for x in free)):
        if free == ["i", "k"] and at[0] < at[1] and names.get("triangular"):
            continue
        bound = names | dict(zip(free, at, strict=True))
        for value in row.values(bound):
            check(f"{label}: {row.tex} at {at}", value, row.left(bound), tolerance)


def left_value(row, names):
    """Of a left side that is no more than a symbol, or what Python knows."""
    try:
        return [] if "(" in row.sides[0] else [row.left(names)]
    except (ValueError, KeyError):
        return []


def index_letters(row):
    """i and k of a left side such as t_{ik}: single letters in subscripts, in this order."""
    left = "".join(row.sides[0])
    if left.startswith(r"\frac"):  # a derivative, a mean
        return []
    return sorted({x for sub in re.findall(r"_\{([a-z+1]+)\}|_([a-z])", left)
                   for x in "".join(sub) if x in INDICES})  # fmt: skip


def check(message, found, expected, tolerance, relation="="):
    """Numbers of mpmath, NumPy or arrays; `expected` relation `found` is what is said."""
    found, expected = np.asarray(found), np.asarray(expected)
    if expected.dtype == float and found.dtype == object:  # gkl's
        tolerance = 1e-13
    shape = np.broadcast_shapes(found.shape, expected.shape)
    assert shape == expected.shape or not expected.shape, message
    if relation != "=":
        assert np.all(expected >= found if relation == ">" else expected <= found), message
        return
    size = max(abs(x) for x in np.ravel(expected)) if expected.size else 0
    error = max(abs(x) for x in np.ravel(found - expected)) if expected.size else 0
    assert error <= tolerance * max(size, 1e-2), f"{message}: {found} is not {expected}"
