# SPDX-License-Identifier: BSD-3-Clause
"""The table of docs/parameterization.md is that of the last measurement; its programs are run by
test_readme.py."""

import json

import pytest
from helpers import in_checkout

ROOT = in_checkout("benchmarks").parent


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    pytest.importorskip("ml_dtypes")
    import table_parameters

    return table_parameters


def test_the_page_has_what_was_measured(table):
    measured = json.loads((ROOT / "benchmarks" / "results" / "table_parameters.json").read_text())
    assert table.costs(measured["rows"]) in (ROOT / "docs" / "parameterization.md").read_text()


def test_every_parameter_is_measured(table):
    kinds = {kind for p, q, _ in (*table.DIAGONAL, *table.FULL) for kind in (p, q)}
    assert kinds >= {"var", "std", "logvar", "cov", "tril", "precision", None}
    for kind in kinds - {None}:
        assert len(table.gaussian(kind, "float32", 2, 5, 0)) == 2
