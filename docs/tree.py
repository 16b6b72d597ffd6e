# SPDX-License-Identifier: BSD-3-Clause
"""The tree in CONTRIBUTING.md: a line for each file, which is the first sentence of its head.

    python docs/tree.py

writes it anew. What has no head, such as pictures and data, is left out.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
TOP = {  # what stands in none of the folders, and what it is where it has no head
    "setup.py": "",
    "pyproject.toml": "What the package is called and needs, and the settings of the tools",
    ".ci/run": "",
    ".ci/portable": "",
    ".ci/wheels": "",
    ".github/workflows/": "When GitHub runs them, and the site",
}
FOLDERS = {  # in this order
    "src_c": "the C core, without Python",
    "gkl": "the package",
    "tests": "what must hold",
    "benchmarks": "what is measured",
    "docs": "the site, and what makes it",
    "examples": "programs to start from",
}
HEADS = {
    r'"""(.*?)(?:"""|\n\n)': (".py", ".pyi"),
    r"/\* SPDX[^\n]*\n \*\n(.*?)(?:\*/|\n \*\n)": (".c", ".h", ".def"),
    r"(?:#|//) SPDX[^\n]*\n(?:(?:#|//)\n|# cython: [^\n]*\n)*((?:(?:#|//) [^\n]*\n)+)": (
        ".cpp", ".pxi", ".pxd", "Makefile", "run", "portable", "wheels",
    ),
    r'""(".*?)"""': (".pyx",),
    r"^# ([^\n]*)": (".md",),
}  # fmt: skip
# of a long sentence what stands before a colon is enough, if it is not short
SHORT, LONG = 30, 110
HIDDEN = {"build", "_generated", "templates", "__pycache__"}


def sentence(path: Path) -> str:
    """The first sentence of a file's head, or nothing."""
    for head, names in HEADS.items():
        if path.name.endswith(names):
            found = re.search(head, path.read_text(), re.S | re.M)
            text = re.sub(r"^ ?(?:\*|#|//) ?", "", found[1] if found else "", flags=re.M)
            words = re.split(r"(?<=[.?])\s|:$", " ".join(text.split()).strip(' "'))[0]
            start = words.split(": ")[0]
            return (start if len(words) > LONG and len(start) > SHORT else words).rstrip(".:")
    return ""


def tree() -> str:
    """In Markdown."""
    lines = ["### Building and checking", ""]
    lines += [f"* `{name}`: {what or sentence(ROOT / name)}" for name, what in TOP.items()]
    lines.append("")
    for folder, what in FOLDERS.items():
        lines += [f"### {folder}/: {what}", ""]
        for path in sorted((ROOT / folder).rglob("*"), key=lambda x: (len(x.parts), x)):
            at = path.relative_to(ROOT)
            if path.is_file() and not HIDDEN & {*at.parts} and (words := sentence(path)):
                lines.append(f"* `{at.relative_to(folder)}`: {words}")
        lines.append("")
    return "\n".join(lines)


def page() -> str:
    """CONTRIBUTING.md as it should be."""
    before, _, after = re.split(
        r"(?<=<!-- tree -->\n)(.*)(?=<!-- /tree -->)", PAGE.read_text(), flags=re.S
    )
    return before + tree() + after


if __name__ == "__main__":
    PAGE.write_text(page())
