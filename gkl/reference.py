# SPDX-License-Identifier: BSD-3-Clause
"""The slow, obvious NumPy twin of every gufunc: formula, docstring, test oracle, baseline.

For p = N(mean_p, v_p) and q = N(mean_q, v_q), in every dimension::

    delta = mean_p - mean_q      m = delta^2 / v_q
    u = v_p / v_q - 1            y = log(v_p / v_q)
    KL(p || q) = m/2 + (u - y)/2

Whatever parameter carries the scale, u and y come from the difference of the parameters. The
compiled kernels go one step further: there u - y is a function of its own, so that nothing
cancels when p is close to q; here it is a subtraction.

A name is prefix + "_" + pair + suffix, as in ``src_c/kernels.def``; twins and docstrings are put
together from the same pieces, so that every formula stands here once, beside its text.
"""

import functools
import itertools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["docstring", "names", "twin"]


class Kind(NamedTuple):
    """A parameter that carries the scale; in its texts, {p}, {q} and {x} are such parameters."""

    title: str
    unit: int  # its value in N(0, I)
    examples: dict[str, list[float]]
    mahalanobis: tuple[Callable[[Array, Array], tuple[Array, Array]], str]  # delta, x; m, delta/v
    relate: tuple[Callable[[Array, Array], tuple[Array, Array]], str]  # x_p, x_q; u, y
    per_scale: tuple[Callable[[Array, Array], Array], str]  # g, x; g / (2 v) dv/dx


def _m_var(delta: Array, v: Array) -> tuple[Array, Array]:
    slope = delta / v
    return delta * slope, slope


def _m_std(delta: Array, s: Array) -> tuple[Array, Array]:
    z = delta / s
    return z * z, z / s


def _m_logvar(delta: Array, logvar: Array) -> tuple[Array, Array]:
    w = np.exp(-logvar / 2)
    z = delta * w
    return z * z, z * w


def _relate_var(p: Array, q: Array) -> tuple[Array, Array]:
    u = (p - q) / q
    # far from 1 the ratio may be out of range, or u = -1; its logarithm is neither
    return u, np.where(np.abs(u) < 0.5, np.log1p(u), np.log(p) - np.log(q))


def _relate_std(p: Array, q: Array) -> tuple[Array, Array]:
    t, y = _relate_var(p, q)
    return t * (2 + t), 2 * y


def _relate_logvar(p: Array, q: Array) -> tuple[Array, Array]:
    y = p - q
    return np.expm1(y), y


_SCALES = {"p": [0.5, 1.5], "q": [1.0, 2.5]}
_LOGVARS = {"p": [-1.0, 1.0], "q": [0.5, 2.0]}
KINDS = {
    "var": Kind(
        "variances", 1, _SCALES,
        (_m_var, "delta^2 / {x}"),
        (_relate_var, "u = ({p} - {q}) / {q},  y = log1p(u)"),
        (lambda g, v: g / (2 * v), "{g} / (2 {x})"),
    ),
    "std": Kind(
        "standard deviations", 1, _SCALES,
        (_m_std, "(delta / {x})^2"),
        (_relate_std, "t = ({p} - {q}) / {q},  u = t (2 + t),  y = 2 log1p(t)"),
        (lambda g, s: g / s, "{g} / {x}"),
    ),
    "logvar": Kind(
        "log-variances", 0, _LOGVARS,
        (_m_logvar, "(delta exp(-{x} / 2))^2"),
        (_relate_logvar, "y = {p} - {q},  u = expm1(y)"),
        (lambda g, logvar: g / 2, "{g} / 2"),
    ),
}  # fmt: skip

CONVERSIONS: dict[tuple[str, str], tuple[Callable[[Array], Array], str]] = {
    ("std", "var"): (np.square, "{x}^2"),
    ("var", "logvar"): (np.log, "log({x})"),
    ("std", "logvar"): (lambda s: 2 * np.log(s), "2 log({x})"),
}


def _common(*kinds: str) -> str:
    """The kind in which two parameters are compared."""
    return kinds[0] if len(set(kinds)) == 1 else "logvar" if "logvar" in kinds else "var"


class Item:
    """p and q in every dimension; what is not asked for is not computed."""

    def __init__(self, kinds: tuple[str, str], *four: Array) -> None:
        mean_p, scale_p, mean_q, scale_q = four
        self.kinds, self.scales, self.delta = kinds, (scale_p, scale_q), mean_p - mean_q

    def as_kind(self, side: int, to: str) -> Array:
        kind, x = self.kinds[side], self.scales[side]
        return x if kind == to else CONVERSIONS[kind, to][0](x)

    def mahalanobis(self, side: int) -> tuple[Array, Array]:
        return KINDS[self.kinds[side]].mahalanobis[0](self.delta, self.scales[side])

    def per_scale(self, side: int, g: Array) -> Array:
        return KINDS[self.kinds[side]].per_scale[0](g, self.scales[side])

    @functools.cached_property
    def relation(self) -> tuple[Array, Array]:
        to = _common(*self.kinds)
        return KINDS[to].relate[0](self.as_kind(0, to), self.as_kind(1, to))

    @functools.cached_property
    def mahalanobis_q(self) -> tuple[Array, Array]:
        return self.mahalanobis(1)

    @property
    def u(self) -> Array:
        return self.relation[0]

    @property
    def y(self) -> Array:
        return self.relation[1]

    @property
    def m(self) -> Array:
        return self.mahalanobis_q[0]

    @property
    def slope(self) -> Array:
        return self.mahalanobis_q[1]


LOG_2PI = np.log(2 * np.pi).item()


class Result(NamedTuple):
    """Something that functions return: of each dimension, or summed over them."""

    compute: Callable[[Item], Array]
    formula: str
    text: str
    summed: bool = True


_KL = Result(lambda i: (i.m + (i.u - i.y)) / 2, "(m + u - y) / 2", "KL(p || q), in nats")
_SLOPE = "Derivative with respect to {x}, in nats per unit of it"
RESULTS = {
    "kl": _KL,
    "kl_per_dim": _KL._replace(summed=False, text="KL(p || q) of each dimension, in nats"),
    "d_mean_p": Result(lambda i: i.slope, "delta / v_q", _SLOPE, False),
    "d_scale_p": Result(lambda i: i.per_scale(0, i.u), "u", _SLOPE, False),
    "d_mean_q": Result(lambda i: -i.slope, "-delta / v_q", _SLOPE, False),
    "d_scale_q": Result(lambda i: i.per_scale(1, -(i.u + i.m)), "-(u + m)", _SLOPE, False),
    "mahalanobis": Result(lambda i: i.m, "m", "Sum of delta^2 / v_q, a pure number"),
    "trace": Result(lambda i: 1 + i.u, "(1 + u)", "Sum of v_p / v_q, a pure number"),
    "logdet": Result(lambda i: -i.y, "-y", "Sum of log(v_q / v_p), in nats"),
    "mean_part": Result(lambda i: i.m / 2, "m / 2", "Share of the means, in nats"),
    "cov_part": Result(lambda i: (i.u - i.y) / 2, "(u - y) / 2", "Share of the scales, in nats"),
    "jeffreys": Result(
        lambda i: 2 * np.sinh(i.y / 2) ** 2 + (i.m + i.mahalanobis(0)[0]) / 2,
        "2 sinh(y / 2)^2 + (m + delta^2 / v_p) / 2", "KL(p || q) + KL(q || p), in nats",
    ),
    "cross_entropy": Result(
        lambda i: (LOG_2PI + i.as_kind(1, "logvar") + (1 + i.u) + i.m) / 2,
        "(log(2 pi) + log(v_q) + 1 + u + m) / 2", "Mean of -log q under p, in nats",
    ),
    "entropy": Result(
        lambda i: (LOG_2PI + i.as_kind(0, "logvar") + 1) / 2,
        "(log(2 pi) + log(v_p) + 1) / 2", "Mean of -log p under p, in nats",
    ),
}  # fmt: skip


class Output(NamedTuple):
    """A family of functions, prefix_pair + suffix."""

    prefix: str
    suffix: str
    results: tuple[str, ...]
    summary: str
    accuracy: str
    source: str
    unit: bool = True  # is there one for q = N(0, I)?
    weighted: bool = False


_GRADIENTS = ("d_mean_p", "d_scale_p", "d_mean_q", "d_scale_q")
_RELATIVE = "Within 4 eps of the exact result, relatively, also where p is close to q."
_SCALED = _RELATIVE + " The derivative by q's scale: relatively to |u| + m in place of |u + m|."
_SUMMANDS = "Within 4 eps of the exact result, relatively to the sum of the absolute summands."
_JEFFREYS = "Within 6 eps of the exact result, relatively, also where p is close to q."
_1951 = "S. Kullback and R. A. Leibler, On information and sufficiency, 1951"
_2014 = "D. P. Kingma and M. Welling, Auto-encoding variational Bayes, 2014, appendix B"
_1946 = "H. Jeffreys, An invariant form for the prior probability, 1946"
_1948 = "C. E. Shannon, A mathematical theory of communication, 1948"
OUTPUTS = (
    Output("kl", "", ("kl",), "KL divergence", _RELATIVE, _1951),
    Output("kl", "_per_dim", ("kl_per_dim",), "KL divergence by dimension", _RELATIVE, _1951),
    Output("kl", "_grad", ("kl", *_GRADIENTS), "KL divergence and gradients", _SCALED, _1951),
    Output("kl", "_grad_p", ("kl", *_GRADIENTS[:2]), "KL divergence and p's gradients", _SCALED,
           _1951, unit=False),
    Output("kl", "_grad_q", ("kl", *_GRADIENTS[2:]), "KL divergence and q's gradients", _SCALED,
           _1951, unit=False),
    Output("kl", "_vjp", _GRADIENTS, "Weighted gradients of the KL divergence", _SCALED, _1951,
           weighted=True),
    Output("kl", "_terms", ("mahalanobis", "trace", "logdet"),
           "Textbook terms of the KL divergence", _SUMMANDS, _1951),
    Output("kl", "_parts", ("kl", "mean_part", "cov_part"), "KL divergence and its two parts",
           _RELATIVE, _1951),
    Output("jeffreys", "", ("jeffreys",), "Jeffreys divergence", _JEFFREYS, _1946),
    Output("cross_entropy", "", ("cross_entropy",), "Cross-entropy", _SUMMANDS, _1948),
)  # fmt: skip
ENTROPY = Output("entropy", "", ("entropy",), "Entropy", _SUMMANDS, _1948)


class Function(NamedTuple):
    """An output of a pair."""

    output: Output
    kinds: tuple[str, str]  # of p and q; N(0, I) has that of p
    given: int  # how many of mean_p, scale_p, mean_q, scale_q are operands; 0: scale_p alone

    @property
    def operands(self) -> tuple[str, ...]:
        p, q = self.kinds
        all_four = ("mean_p", f"{p}_p", "mean_q", f"{q}_q")
        weight = ("weight",) * self.output.weighted
        return all_four[: self.given] + weight if self.given else all_four[1:2]

    @property
    def results(self) -> list[str]:
        """What it returns, by the key in RESULTS: with scale for var, std or logvar."""
        return [r for r in self.output.results if self.given == 4 or not r.endswith("_q")]


@functools.cache
def _functions() -> dict[str, Function]:
    pairs = {f"diag_{p}" if p == q else f"diag_{p}_{q}": ((p, q), 4)
             for p, q in itertools.product(KINDS, KINDS)}  # fmt: skip
    pairs |= {f"unit_{p}": ((p, p), 2) for p in KINDS}
    functions = {
        f"{output.prefix}_{pair}{output.suffix}": Function(output, kinds, given)
        for (pair, (kinds, given)), output in itertools.product(pairs.items(), OUTPUTS)
        if output.unit or given == 4
    }
    return functions | {f"entropy_diag_{p}": Function(ENTROPY, (p, p), 0) for p in KINDS}


def names() -> list[str]:
    """The names of all gufuncs, in the order of ``src_c/kernels.def``."""
    return list(_functions())


@functools.cache
def twin(name: str) -> Callable[..., Any]:
    """The NumPy function with the operands and the results of the gufunc of this name."""
    function = _functions()[name]

    def compute(*operands: Any) -> Any:
        return _compute(function, operands)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = docstring(name)
    return compute


@np.errstate(all="ignore")
def _compute(function: Function, operands: Sequence[Any]) -> Any:
    if len(operands) != len(function.operands):
        raise TypeError(f"the operands are {', '.join(function.operands)}")
    dtype = np.result_type(np.float32, *map(np.asarray, operands))
    arrays = [np.asarray(x, dtype) for x in operands]
    weight = arrays.pop()[..., None] if function.output.weighted else None
    arrays = list(np.broadcast_arrays(*arrays))
    zero, one = dtype.type(0), dtype.type(KINDS[function.kinds[1]].unit)
    four = (*arrays, zero, one)[:4] if function.given else (zero, arrays[0], zero, one)
    item = Item(function.kinds, *four)
    bad = np.zeros(arrays[0].shape, bool)
    for name, x in zip(function.operands, arrays, strict=False):
        bad |= ~np.isfinite(x) | ((x <= 0) & name.startswith(("var", "std")))

    found = []
    for name in function.results:
        x = RESULTS[name].compute(item)
        if RESULTS[name].summed:
            x = np.where(bad.any(axis=-1), dtype.type(np.nan), x.sum(axis=-1))
        else:  # where KL is asked for by dimension, only the bad dimensions are lost
            at = bad if name == "kl_per_dim" else bad.any(axis=-1, keepdims=True)
            x = np.where(at, dtype.type(np.nan), x if weight is None else x * weight)
        found.append(x[()])
    return found[0] if len(found) == 1 else tuple(found)


_BAD = """\
An item with a parameter that is NaN or infinite{positive} is NaN, without exception or warning;
the functions of gkl itself raise. {where}A result too large for its type is inf."""
_MIXED = """ \
One parameter is converted to be compared with the other, and rounded: in each dimension the bound
is 1 + 1/|u| times that, which matters where p is close to q."""
_TYPES = """\
float32 and float64 are computed as such; float16 and bfloat16 are read as stored and computed in
float32, the type of the results. Operands of different types are promoted, by copying."""


@functools.cache
def docstring(name: str) -> str:
    """The documentation of the gufunc of this name, in numpydoc's form."""
    function = _functions()[name]
    output, (p, q), unit = function.output, function.kinds, function.given == 2
    mixed = p != q
    by = f"p by {p}, q by {q}" if mixed else f"by {p}"
    lines = [f"{output.summary} of diagonal Gaussians, {by}{', to N(0, I)' * unit}.", ""]
    lines += ["Parameters", "----------"]
    for operand in function.operands:
        lines += _describe_operand(operand)
    lines += ["", "Returns", "-------"]
    for result in function.results:
        shape = "(...)" if RESULTS[result].summed else "(..., d)"
        lines += [f"{_spell(result, p, q)} : ndarray, shape {shape}"]
        text = RESULTS[result].text.format(x=_spell(result[2:], p, q))
        lines += [f"    {text}{', times `weight`' * output.weighted}."]
    lines += ["", "Notes", "-----"]
    lines += ["In every dimension, with the variances v_p and v_q; sums go over dimensions::", ""]
    lines += [f"    {line}" for line in _formulas(function)]
    positive = ", or with a scale that is not positive," * ({p, q} != {"logvar"})
    where = "Of KL by dimension only the bad dimensions are. " * ("kl_per_dim" in output.results)
    source = _2014 if unit and output.source is _1951 else output.source
    for text in (
        f"Source: {source}.",
        _BAD.format(positive=positive, where=where),
        output.accuracy + _MIXED * (mixed and "logvar" in (p, q)),
        _TYPES,
    ):
        lines += ["", _fill(text)]
    return "\n".join([*lines, "", "Examples", "--------", *_example(name, function)]) + "\n"


@functools.cache
def _fill(text: str) -> str:
    return textwrap.fill(text, 95)


def _spell(name: str, p: str, q: str) -> str:
    """With scale in a name by what it is."""
    return name.replace("scale_p", f"{p}_p").replace("scale_q", f"{q}_q")


def _describe_operand(operand: str) -> list[str]:
    if operand == "weight":
        return ["weight : array_like, shape (...)", "    Factor of the gradients of each item."]
    kind, side = operand.split("_")
    text = "Mean" if kind == "mean" else KINDS[kind].title.capitalize()
    positive = ", positive" * (kind in ("var", "std"))
    return [f"{operand} : array_like, shape (..., d)", f"    {text} of {side}{positive}."]


def _formulas(function: Function) -> list[str]:
    """A line of text for everything that is computed."""
    p, q = function.kinds
    to, lines = _common(p, q), []
    if function.given == 2:
        lines += [f"mean_q = 0,  {q}_q = {KINDS[q].unit}"]
    if function.given:
        lines += ["delta = mean_p - mean_q,  m = " + KINDS[q].mahalanobis[1].format(x=f"{q}_q")]
        lines += [f"{to}_{side} = " + CONVERSIONS[kind, to][1].format(x=f"{kind}_{side}")
                  for kind, side in ((p, "p"), (q, "q")) if kind != to]  # fmt: skip
        lines += [KINDS[to].relate[1].format(p=f"{to}_p", q=f"{to}_q")]
    for result in function.results:
        formula, spelled = RESULTS[result].formula, _spell(result, p, q)
        if result.startswith("d_scale"):
            kind = p if result.endswith("p") else q
            formula = KINDS[kind].per_scale[1].format(g=formula, x=spelled[2:])
        lines += [f"{spelled} = {'sum ' * RESULTS[result].summed}{formula}"]
    return lines


def _example(name: str, function: Function) -> list[str]:
    """A call whose results are those of the twin: running it compares the two."""
    values: dict[str, Any] = {"mean_p": [1.0, 2.0], "mean_q": [0.0, 3.0], "weight": 2.0}
    values |= {f"{kind}_{side}": KINDS[kind].examples[side] for kind in KINDS for side in "pq"}
    call = f"ufuncs.{name}({', '.join(function.operands)})"
    found = _compute(function, [values[operand] for operand in function.operands])
    lines = [">>> import numpy as np", ">>> from gkl import ufuncs"]
    lines += [f">>> {operand} = {values[operand]}" for operand in function.operands]
    if not isinstance(found, tuple):
        return [*lines, f">>> np.round({call}, 4).tolist()", str(np.round(found, 4).tolist())]
    lines += [f">>> results = {call}", ">>> [np.round(x, 4).tolist() for x in results]"]
    return [*lines, str([np.round(x, 4).tolist() for x in found])]
