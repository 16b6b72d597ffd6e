# SPDX-License-Identifier: BSD-3-Clause
r"""The value of a formula in TeX, as far as docs/derivations/ needs TeX.

    >>> import math
    >>> Row(r"f = \frac12 \left[u - \log(1 + u)\right]").values({"u": 1.0, "log": math.log})
    [0.15342640972002736]

A symbol is the name without its backslash, with its subscript: ``\mu_p`` is mu_p.  Subscripts
after a comma, or of letters that are bound, are indices: ``v_{p,j}`` is v_p[j], ``(L_q)_{ik}``
L_q[i, k]; a small letter may stand for the elements of the capital one.  Sums and minima go over
indices that are not bound.  A product of matrices is one of matrices, and a vector a column.
Anything else is a ValueError: nothing is guessed.
"""

import itertools
import keyword
import re

import numpy as np

TOKEN = re.compile(r"\\(?:operatorname|mathrm|mathbb)\{(\w+)\}|(\\[a-zA-Z]+|\\.|\S)")
SKIPPED = {r"\left", r"\right", r"\,", r"\;", r"\!", r"\:", r"\ ", "&", r"\quad", r"\qquad"}
RELATIONS = {"=": "=", "<": "<", ">": ">", r"\le": "<", r"\ge": ">"}
OPEN = {"(": ")", "[": "]", r"\lVert": r"\rVert", r"\lvert": r"\rvert", r"\{": r"\}"}
ENDS = {"+", "-", ")", "]", "}", ",", r"\rVert", r"\rvert", r"\}", *RELATIONS}
OVER = {r"\sum": sum, r"\min": min, r"\max": max}


def tokens_of(tex):
    found = [name or other for name, other in TOKEN.findall(tex)]
    return [x for x in found if x not in SKIPPED]


def rows(tex):
    """The rows of a display that are formulas of their own, not a chain that goes on."""
    tex = re.sub(r"\\(begin|end)\{split\}", "", tex)
    lines = [Row(line) for line in re.split(r"\\\\(?:\[\w+\])?", tex) if line.strip()]
    whole = []
    for line in lines:
        if line.sides[0]:
            whole.append(line)
        else:
            whole[-1].sides += line.sides[1:]
            whole[-1].relations += line.relations
    return whole


class Row:
    """``left = right``, or a chain of such relations; the left side is what is meant."""

    def __init__(self, tex):
        self.tex, self.sides, self.relations, depth = tex, [[]], [], 0
        for token in tokens_of(tex):
            depth += {"{": 1, "}": -1}.get(token, 0)
            if token in RELATIONS and not depth:
                self.relations.append(RELATIONS[token])
                self.sides.append([])
            else:
                self.sides[-1].append(token)

    def values(self, names):
        """Of all sides but the first."""
        return [value(side, names) for side in self.sides[1:]]

    def left(self, names):
        return value(self.sides[0], names)


def value(tokens, names):
    reader = Reader(tokens, names)
    found = reader.expression()
    if reader.rest():
        raise ValueError(f"{' '.join(tokens)}: {' '.join(reader.rest())} is left")
    return plain(found)


def plain(x):
    """A number of a matrix of one element, a vector of a column."""
    if isinstance(x, np.ndarray) and x.shape[-1:] == (1,):
        return x[0, 0] if x.shape == (1, 1) else x[:, 0]
    return x


def column(x):
    return x[:, np.newaxis] if isinstance(x, np.ndarray) and x.ndim == 1 else x


def number(x):
    """Of a matrix of one element, its element."""
    return x[0, 0] if np.shape(x) == (1, 1) else x


def plus(x, y):
    return number(x) + number(y)


def times(x, y):
    x, y = number(x), number(y)
    return x @ y if np.ndim(x) == np.ndim(y) == 2 else x * y


class Reader:
    """Evaluates while it reads, from the left; `names` holds values, functions, bound indices."""

    def __init__(self, tokens, names):
        self.tokens, self.names, self.at = tokens, names, 0

    def rest(self):
        return self.tokens[self.at :]

    def next(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, wanted=None):
        token = self.next()
        if token is None or wanted not in (None, token):
            raise ValueError(f"{' '.join(self.tokens)}: {wanted} expected, not {token}")
        self.at += 1
        return token

    def expression(self):
        total = None
        while total is None or self.next() in ("+", "-"):
            sign = self.take() if self.next() in ("+", "-") else "+"
            term = self.product()
            term = -term if sign == "-" else term
            total = term if total is None else plus(total, term)
        return total

    def product(self):
        found = self.factor()
        while self.next() is not None and self.next() not in ENDS:
            if self.next() == "/":
                self.take()
                found = found / plain(self.factor())
            else:
                if self.next() == r"\cdot":
                    self.take()
                found = times(found, self.factor())
        return found

    def group(self):
        end = OPEN[self.take()]
        found = [self.expression()]
        while self.next() == ",":
            self.take()
            found.append(self.expression())
        self.take(end)
        return found

    def braced(self):
        """What a brace holds, or one token."""
        if self.next() != "{":
            return [self.take()]
        depth, found = 0, []
        while depth or not found:
            found.append(self.take())
            depth += {"{": 1, "}": -1}.get(found[-1], 0)
        return found[1:-1]

    def argument(self):
        return column(value(self.braced(), self.names))

    def factor(self):
        token = self.next()
        if token in OVER and self.tokens[self.at + 1] == "_":
            return self.over(OVER[self.take()])
        if token == "e" and self.tokens[self.at + 1 : self.at + 2] == ["^"]:
            self.at += 2
            return self.names["exp"](plain(self.argument()))
        if token in (r"\frac", r"\tfrac"):
            self.take()
            top = self.argument()
            return self.scripts(top / self.argument())
        if token == r"\sqrt":
            self.take()
            return self.names["sqrt"](plain(self.argument()))
        if token in OPEN:
            found = self.group()[0]
            if token == r"\lVert":
                if self.next() == "_":
                    self.take(), self.take("F")
                found = self.names["norm"](found)
            elif token == r"\lvert":
                found = abs(plain(found))
            return self.scripts(found)
        if token.isdigit():
            digits = self.take()
            while (self.next() or "").isdigit():
                digits += self.take()
            return self.power(self.names.get("number", int)(digits))
        name = self.take().removeprefix("\\")
        return self.symbol(f"{name}_" if keyword.iskeyword(name) else name)

    def symbol(self, name):
        if callable(self.names.get(name)):
            return self.call(self.names[name])
        subscript = ""
        if self.next() == "_":
            self.take()
            subscript = "".join(self.braced()).replace("\\", "")
        return self.power(column(self.resolve(name, subscript)))

    def call(self, function):
        power = 1
        if self.next() == "^":
            self.take()
            power = plain(self.argument())
        arguments = self.group() if self.next() in OPEN else [self.product()]
        found = function(*map(plain, arguments))
        return column(found if power == 1 else found**power)

    def resolve(self, name, subscript):
        label, _, index = subscript.partition(",")
        whole = f"{name}_{label}" if label else name
        if whole in self.names:
            found = self.names[whole]
            return found[self.index(index)] if index else found
        for elements_of in (name, name.upper()):
            found = self.names.get(elements_of)
            if label and not index and np.ndim(found):
                at = self.index(label)
                if np.ndim(found) >= len(at):
                    return found[at]
        raise ValueError(f"{' '.join(self.tokens)}: what is {whole}?")

    def index(self, text):
        letter, _, more = text.partition("+")
        if more:
            return (self.names[letter] + int(more),)
        return tuple(self.names[letter] for letter in text)

    def scripts(self, found):
        if self.next() == "_":
            self.take()
            found = column(plain(found)[self.index("".join(self.braced()))])
        return self.power(found)

    def power(self, found):
        if self.next() != "^":
            return found
        self.take()
        exponent = self.braced()
        if exponent[-1] == "T":
            if np.ndim(found) < 2:
                return found
            return (self.names["inv"](found) if len(exponent) > 1 else found).T
        n = plain(value(exponent, self.names))
        if np.ndim(plain(found)) == 2:
            if n != -1:
                raise ValueError(f"{' '.join(self.tokens)}: a matrix to the power {n}")
            return self.names["inv"](found)
        return plain(found) ** n

    def over(self, function):
        """A sum or minimum of the product that follows, by ``j``, ``i>k``, ``j<k``."""
        self.take("_")
        condition, begin, found = self.braced(), self.at, []
        letters = [x for x in condition if x not in RELATIONS]
        free = [x for x in letters if x not in self.names]
        sizes = self.names["sizes"]
        for at in itertools.product(*(range(sizes.get(x, sizes[""])) for x in free)):
            names = self.names | dict(zip(free, at, strict=True))
            bound = [names[x] for x in letters]
            if "<" in condition and not bound[0] < bound[1]:
                continue
            if ">" in condition and not bound[0] > bound[1]:
                continue
            part = Reader(self.tokens, names)
            part.at = begin
            found.append(plain(part.product()))
            self.at = part.at
        if self.at == begin:  # nothing to sum: read on all the same
            part = Reader(self.tokens, self.names | dict.fromkeys(free or letters[:1], 0))
            part.at = begin
            part.product()
            self.at = part.at
        return column(function(found)) if found else 0
