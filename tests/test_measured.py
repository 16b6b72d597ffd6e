# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of pages are those of benchmarks/results."""

import importlib
import json
import re
import shutil

import pytest
from helpers import in_checkout

ROOT = in_checkout("benchmarks").parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """A module of benchmarks, whose imports are of that folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.parametrize("name", ["README.md", "benchmarks/README.md", "docs/parameterization.md"])
def test_tables_are_those_of_the_results(load, name):
    """python benchmarks/readme.py writes them."""
    pytest.importorskip("ml_dtypes")
    readme = load("readme")
    assert set(readme.reports()) == set(readme.TABLES)
    path = ROOT / name
    text, tables = path.read_text(), readme.pages()[path]
    assert tables
    for table in tables:
        assert table in text, "python benchmarks/readme.py"
    assert readme.written(text, tables) == text


def test_every_parameter_is_measured(load):
    pytest.importorskip("ml_dtypes")
    table = load("table_parameters")
    kinds = {kind for p, q, _ in (*table.DIAGONAL, *table.FULL) for kind in (p, q)}
    assert kinds >= {"var", "std", "logvar", "cov", "tril", "precision", None}
    for kind in kinds - {None}:
        assert len(table.gaussian(kind, "float32", 2, 5, 0)) == 2


def test_words_about_torch_are_those_of_the_table():
    """README.md on the KL step of a VAE: gkl.torch.kl, the drop-in, torch's own, compiled."""
    start = "| 4,096 x 128 f32, 2 threads | value and gradients |"
    [row] = [x for x in (BENCHMARKS / "README.md").read_text().splitlines() if x.startswith(start)]
    measured = [row.split(" | ")[2:7][k] for k in (0, 1, 2, 4)]
    readme = (ROOT / "README.md").read_text()
    words = re.search(r"The KL step of a VAE, 4,096 x 128,[^(]*", readme)[0]
    assert re.findall(r"([\d.]+) ms", words) == [f"{float(x) / 1e3:.2g}" for x in measured]


def test_words_about_the_cost_of_a_call():
    """docs/embedding.md on a call of a function of rows, alone."""
    limit = re.search(r"less than (\d+) ns", (ROOT / "docs" / "embedding.md").read_text())[1]
    rows = json.loads((BENCHMARKS / "results" / "call_cost.json").read_text())["rows"]
    assert len(rows) == 16
    for row in rows:
        kernel, table, job = row["alone"]
        assert table - kernel < float(limit) < job - kernel, row["work"]


def test_operations_are_counted_in_the_source(load):
    if not shutil.which("c++"):
        pytest.skip("there is no C++ compiler")
    assert load("flops").counted() == json.loads((BENCHMARKS / "results/flops.json").read_text())
