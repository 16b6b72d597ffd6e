# SPDX-License-Identifier: BSD-3-Clause
"""The site: sphinx-build -W --keep-going -n docs build/docs"""

import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "extensions"))

project = "gkl"
author = "the gkl developers"
release = metadata.version("gkl")
html_title = f"gkl {release}"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "mathml",
    "generated",
]
exclude_patterns = ["_generated/*.md"]

# Markdown as GitHub shows it: $...$, fenced math, <img>, links to headings
myst_enable_extensions = ["amsmath", "dollarmath", "html_image"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3
suppress_warnings = ["toc.empty_glob"]

nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(numpy|scipy)\..*")]  # their pages are elsewhere
autodoc_mock_imports = [name for name in ("torch",) if find_spec(name) is None]
autodoc_typehints = "none"  # numpydoc says what a parameter is
autosummary_generate = True
templates_path = ["templates"]
numpydoc_show_class_members = False

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
