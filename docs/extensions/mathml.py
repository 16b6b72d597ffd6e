# SPDX-License-Identifier: BSD-3-Clause
"""Mathematics as MathML, made at build time: pages need no script, no font and no network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml import converter
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number

FUNCTION = re.compile(r"<mi>(cosh|det|exp|log|max|min|sinh)</mi>(?!<mo stretchy)")


def convert(tex: str, display: str = "inline") -> str:
    """A function that has no parenthesis gets the thin space of an operator after its name."""
    return FUNCTION.sub(
        r'<mi>\1</mi><mspace width="0.17em"/>', converter.convert(tex, display=display)
    )


def visit_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_displaymath(translator: Any, node: nodes.math_block) -> None:
    body = translator.body
    body.append('<div class="math">')  # within the one that has the id
    body.append(convert(node.astext(), display="block"))
    if node["number"]:
        body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        body.append("</span>")
    body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
