# SPDX-License-Identifier: BSD-3-Clause
"""The programs of docs/recipes.md run as they stand, and find what gkl finds in NumPy arrays."""

import importlib.util
import os
import re
import shutil
import sys

import helpers
import numpy as np
import pytest

import gkl

TEXT = helpers.in_checkout("docs/recipes.md").read_text()
RECIPES = dict(re.findall(r"^## (.*?)\n.*?^```python\n(.*?)^```", TEXT, re.S | re.M))
NEEDS = {"xarray": ["xarray"], "polars": ["polars"], "DuckDB": ["duckdb", "pyarrow"],
         "Ray Data": ["ray", "pyarrow"], "Spark": ["pyspark", "pyarrow"]}  # fmt: skip
SHOW = """
import sys
np.save(sys.argv[1], np.asarray(kl))
"""


def wanted(name):
    """From the same random numbers."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(1000, 8))
    if name == "polars":
        return gkl.kl(gkl.DiagNormal(mean, std=rng.gamma(2, size=(1000, 8))))
    return gkl.kl(gkl.DiagNormal(mean, logvar=rng.normal(size=(1000, 8))))


def test_every_recipe_is_tested():
    assert list(RECIPES) == list(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_recipe(tmp_path, name):
    for package in NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    environment = {}
    if name == "Spark":
        if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
            pytest.skip("Spark needs Java")
        environment = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    if name == "Ray Data":
        environment = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    # elsewhere: workers of Ray start without -P, and would find the source folder gkl/
    program = RECIPES[name] + SHOW
    helpers.python(program, tmp_path / "kl.npy", timeout=300, cwd=tmp_path, **environment)
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted(name))
