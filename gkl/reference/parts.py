# SPDX-License-Identifier: BSD-3-Clause
"""What the families of twins share: parameters, what is computed, and a function made of both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LOG_2PI = np.log(2 * np.pi).item()


class Parameter(NamedTuple):
    """An operand of p or q, or its gradient."""

    core: tuple[str, str]  # the shape after the batch, of p's and of q's
    text: str
    gradient: str
    examples: dict[str, Any]
    positive: bool = False


_SLOPE = "Derivative with respect to {x}, in nats per unit of it"
_SYMMETRIC = "Derivative with respect to {x}, symmetric, in nats per unit of it"
_LOWER = "Derivative with respect to {x}, lower triangular, in nats per unit of it"
_READ = "only the lower triangle is read"
_VECTOR, _MATRIX = ("d", "d"), ("d, d", "d, d")
_SCALES = {"p": [0.5, 1.5], "q": [1.0, 2.5]}
PARAMETERS = {
    "mean": Parameter(_VECTOR, "Mean of {x}", _SLOPE, {"p": [1.0, 2.0], "q": [0.0, 3.0]}),
    "var": Parameter(_VECTOR, "Variances of {x}, positive", _SLOPE, _SCALES, True),
    "std": Parameter(_VECTOR, "Standard deviations of {x}, positive", _SLOPE, _SCALES, True),
    "logvar": Parameter(
        _VECTOR, "Log-variances of {x}", _SLOPE, {"p": [-1.0, 1.0], "q": [0.5, 2.0]}
    ),
    "cov": Parameter(
        _MATRIX, f"Covariance of {{x}}, positive definite; {_READ}", _SYMMETRIC,
        {"p": [[1.0, 0.5], [0.5, 2.0]], "q": [[2.0, -0.4], [-0.4, 1.5]]},
    ),
    "tril": Parameter(
        _MATRIX, f"Lower Cholesky factor of {{x}}'s covariance, of positive diagonal; {_READ}",
        _LOWER, {"p": [[1.1, 0.0], [0.5, 1.2]], "q": [[1.5, 0.0], [-0.4, 0.8]]},
    ),
    "precision": Parameter(
        _MATRIX, f"Inverse of {{x}}'s covariance, positive definite; {_READ}", _SYMMETRIC,
        {"p": [[2.0, 0.3], [0.3, 1.0]], "q": [[1.0, -0.2], [-0.2, 0.5]]},
    ),
    "factor": Parameter(
        ("d, r", "d, s"), "Factor F of {x}'s covariance F F^T + diag(var_{x})", _SLOPE,
        {"p": [[1.0], [0.5]], "q": [[0.3, 0.2], [-0.5, 0.4]]},
    ),
}  # fmt: skip

# A kind is a parameterization: what there is besides the mean.
KINDS: dict[str, tuple[str, ...]] = {
    name: (name,) for name in ("var", "std", "logvar", "cov", "tril", "precision")
}
KINDS |= {"low_rank": ("factor", "var")}


class Result(NamedTuple):
    """Something that functions return, computed from an item of the family."""

    compute: Callable[[Any], Array]
    formula: str
    text: str


class Output(NamedTuple):
    """Functions of every pair, prefix_pair + suffix; d_p stands for the gradients of p."""

    prefix: str
    suffix: str
    results: tuple[str, ...]
    summary: str
    accuracy: str  # a key in the family's ACCURACY
    source: str
    unit: bool = True  # is there one for q = N(0, I)?
    weighted: bool = False


KULLBACK = "S. Kullback and R. A. Leibler, On information and sufficiency, 1951"
_1946 = "H. Jeffreys, An invariant form for the prior probability, 1946"
_1948 = "C. E. Shannon, A mathematical theory of communication, 1948"
OUTPUTS = (
    Output("kl", "", ("kl",), "KL divergence", "relative", KULLBACK),
    Output("kl", "_per_dim", ("kl_per_dim",), "KL divergence by dimension", "relative", KULLBACK),
    Output("kl", "_grad", ("kl", "d_p", "d_q"), "KL divergence and gradients", "gradients",
           KULLBACK),
    Output("kl", "_grad_p", ("kl", "d_p"), "KL divergence and p's gradients", "gradients",
           KULLBACK, unit=False),
    Output("kl", "_grad_q", ("kl", "d_q"), "KL divergence and q's gradients", "gradients",
           KULLBACK, unit=False),
    Output("kl", "_vjp", ("d_p", "d_q"), "Weighted gradients of the KL divergence", "gradients",
           KULLBACK, weighted=True),
    Output("kl", "_terms", ("mahalanobis", "trace", "logdet"),
           "Textbook terms of the KL divergence", "summands", KULLBACK),
    Output("kl", "_parts", ("kl", "mean_part", "cov_part"), "KL divergence and its two parts",
           "relative", KULLBACK),
    Output("jeffreys", "", ("jeffreys",), "Jeffreys divergence", "jeffreys", _1946),
    Output("cross_entropy", "", ("cross_entropy",), "Cross-entropy", "summands", _1948),
)  # fmt: skip
ENTROPY = Output("entropy", "", ("entropy",), "Entropy", "summands", _1948)


class Function(NamedTuple):
    """An output of a pair of kinds; q None: N(0, I), or there is no q."""

    output: Output
    p: str
    q: str | None

    @property
    def sides(self) -> list[tuple[str, str]]:
        """("p", its kind), and the same of q unless it is N(0, I)."""
        return [(side, kind) for side, kind in (("p", self.p), ("q", self.q)) if kind]

    @property
    def parameters(self) -> list[str]:
        """The operands but for the weight, such as mean_p."""
        mean = () if self.output is ENTROPY else ("mean",)
        return [f"{x}_{side}" for side, kind in self.sides for x in (*mean, *KINDS[kind])]

    @property
    def operands(self) -> list[str]:
        return self.parameters + ["weight"] * self.output.weighted

    @property
    def results(self) -> list[str]:
        """What it returns, such as kl or d_mean_p."""
        found = []
        for result in self.output.results:
            if result in ("d_p", "d_q"):
                found += [f"d_{x}" for x in self.parameters if x[-1] == result[-1]]
            else:
                found += [result]
        return found

    @property
    def mixed(self) -> bool:
        return self.q not in (None, self.p)


def gradient_of(result: str) -> tuple[str, str] | None:
    """The parameter and the side that a result such as d_mean_p is the gradient of."""
    if not result.startswith("d_"):
        return None
    parameter, side = result.removeprefix("d_").split("_")
    return parameter, side


def core_of(parameter: str, side: str) -> str:
    """Its shape after the batch, such as "d, d"."""
    return PARAMETERS[parameter].core["pq".index(side)]


def core_ndim(parameter: str) -> int:
    """How many dimensions it has after the batch."""
    return len(PARAMETERS[parameter].core[0].split(", "))
