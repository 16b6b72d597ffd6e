# SPDX-License-Identifier: BSD-3-Clause
"""The slow, obvious NumPy twin of every gufunc: formula, docstring, test oracle, baseline.

A name is prefix + "_" + pair + suffix, as in ``src_c/kernels.def``; twins and docstrings are put
together from the same pieces, so that every formula stands once, beside its text: those of
diagonal Gaussians in ``diag.py``, all others in ``full.py``, every p against every q in
``pairwise.py``.
"""

import functools
import itertools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from gkl.reference import diag, full, pairwise
from gkl.reference.parts import (
    ENTROPY,
    OUTPUTS,
    PARAMETERS,
    Array,
    Function,
    Result,
    core_ndim,
    core_of,
    gradient_of,
)

__all__ = ["docstring", "names", "twin"]


class Family(Protocol):
    """A module of twins."""

    PAIRS: dict[str, tuple[str, str | None]]  # kinds of p and q; None: N(0, I)
    SINGLES: dict[str, str]
    RESULTS: dict[str, Result]
    INTRODUCTION: str

    def compute(self, function: Function, arrays: Sequence[Array]) -> list[Array]: ...
    def formulas(self, function: Function) -> list[str]: ...
    def subject(self, function: Function) -> str: ...
    def source(self, function: Function) -> str: ...
    def accuracy(self, function: Function) -> str: ...
    def bad(self, function: Function) -> str: ...


FAMILIES: dict[str, Family] = {"diag": diag, "full": full}


@functools.cache
def _functions() -> dict[str, tuple[Family, Function]]:
    pairs = {
        f"{output.prefix}_{pair}{output.suffix}": (family, Function(output, *kinds))
        for family in FAMILIES.values()
        for (pair, kinds), output in itertools.product(family.PAIRS.items(), OUTPUTS)
        if (output.unit or kinds[1])
        and family.RESULTS.keys() >= {*output.results} - {"d_p", "d_q"}
    }
    singles = {
        f"entropy_{single}": (family, Function(ENTROPY, kind, None))
        for family in FAMILIES.values()
        for single, kind in family.SINGLES.items()
    }
    return pairs | singles


def names(family: str | None = None) -> list[str]:
    """The names of all gufuncs, or of a family, in the order of ``src_c/kernels.def``."""
    if family == "pairwise":
        return pairwise.names()
    wanted = FAMILIES[family] if family else None
    found = [name for name, (of, _) in _functions().items() if wanted in (None, of)]
    return found if family else found + pairwise.names()


@functools.cache
def twin(name: str) -> Callable[..., Any]:
    """The NumPy function with the operands and the results of the gufunc of this name."""
    if name.startswith("pairwise_"):
        return functools.partial(pairwise.compute, name)
    family, function = _functions()[name]

    def compute(*operands: Any) -> Any:
        return _compute(family, function, operands)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = docstring(name)
    return compute


@np.errstate(all="ignore")
def _compute(family: Family, function: Function, operands: Sequence[Any]) -> Any:
    if len(operands) != len(function.operands):
        raise TypeError(f"the operands are {', '.join(function.operands)}")
    dtype = np.result_type(np.float32, *map(np.asarray, operands))
    arrays = [np.asarray(x, dtype) for x in operands]
    weight = arrays.pop() if function.output.weighted else None
    found = family.compute(function, arrays)
    if weight is not None:
        cores = [core_ndim(result.split("_")[1]) for result in function.results]
        found = [x * weight.reshape(weight.shape + (1,) * n)
                 for x, n in zip(found, cores, strict=True)]  # fmt: skip
    return found[0][()] if len(found) == 1 else tuple(x[()] for x in found)


def _core(result: str) -> str:
    """The shape of a result after the batch."""
    gradient = gradient_of(result)
    return core_of(*gradient) if gradient else "d" if result == "kl_per_dim" else ""


_BAD = """\
An item with a parameter that is NaN or infinite{undefined} is NaN, without exception or warning;
the functions of gkl itself raise. {where}A result too large for its type is inf."""
_TYPES = """\
float32 and float64 are computed as such; float16 and bfloat16 are read as stored and computed in
float32, the type of the results. Operands of different types are promoted, by copying."""


@functools.cache
def docstring(name: str) -> str:
    """The documentation of the gufunc of this name, in numpydoc's form."""
    if name.startswith("pairwise_"):
        return pairwise.docstring(name)
    family, function = _functions()[name]
    output = function.output
    unit = function.q is None and output is not ENTROPY
    lines = [f"{output.summary} of {family.subject(function)}{', to N(0, I)' * unit}.", ""]
    lines += ["Parameters", "----------"]
    for operand in function.parameters:
        kind, side = operand.split("_")
        lines += [f"{operand} : array_like, shape {_shape(core_of(kind, side))}"]
        lines += [f"    {PARAMETERS[kind].text.format(x=side)}."]
    if output.weighted:
        lines += ["weight : array_like, shape (...)", "    Factor of the gradients of each item."]
    lines += ["", "Returns", "-------"]
    for result in function.results:
        gradient = gradient_of(result)
        text = PARAMETERS[gradient[0]].gradient if gradient else family.RESULTS[result].text
        lines += [f"{result} : ndarray, shape {_shape(_core(result))}"]
        lines += [f"    {text.format(x=result[2:])}{', times `weight`' * output.weighted}."]
    lines += ["", "Notes", "-----", family.INTRODUCTION, ""]
    lines += [f"    {line}" for line in family.formulas(function)]
    where = "Of KL by dimension only the bad dimensions are. " * ("kl_per_dim" in output.results)
    for text in (
        f"Source: {family.source(function)}.",
        _BAD.format(undefined=family.bad(function), where=where),
        family.accuracy(function),
        _TYPES,
    ):
        lines += ["", _fill(text)]
    return "\n".join([*lines, "", "Examples", "--------", *_example(name)]) + "\n"


@functools.cache
def _fill(text: str) -> str:
    return textwrap.fill(text, 95)


def _shape(core: str) -> str:
    return f"(..., {core})" if core else "(...)"


def _example(name: str) -> list[str]:
    """A call whose results are those of the twin: running it compares the two."""
    family, function = _functions()[name]
    values = {
        operand: PARAMETERS[operand[:-2]].examples[operand[-1]] if operand != "weight" else 2.0
        for operand in function.operands
    }
    call = f">>> found = ufuncs.{name}({', '.join(values)})"
    found = _compute(family, function, [*values.values()])
    lines = [">>> import numpy as np", ">>> from gkl import ufuncs"]
    lines += [f">>> {operand} = {value}" for operand, value in values.items()]
    lines += [call] if len(call) <= 95 else call.replace("(", "(\n...     ").splitlines()
    if not isinstance(found, tuple):
        return [*lines, ">>> np.round(found, 4).tolist()", str(np.round(found, 4).tolist())]
    lines += [">>> for x in found:", "...     print(np.round(x, 4).tolist())"]
    return [*lines, *(str(np.round(x, 4).tolist()) for x in found)]
