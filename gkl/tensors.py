# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians of a framework's tensors, which are held as they are: names, no arithmetic.

The classes have the parameters of those of :mod:`gkl` and their meaning, but are plain Python,
which compilers such as ``torch.compile`` and ``jax.jit`` can look into.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CORES", "DiagNormal", "FullNormal", "Gaussian", "LowRankNormal", "cores"]

# by kind, N(0, I) being "": how many axes of each parameter are not the batch's
CORES = {"": (), "var": (1, 1), "std": (1, 1), "logvar": (1, 1)}
CORES |= {"cov": (1, 2), "tril": (1, 2), "precision": (1, 2), "low_rank": (1, 2, 1)}


def cores(p: str, q: str) -> tuple[int, ...]:
    """The same of a pair, p's parameters before q's."""
    return CORES[p] + CORES[q]


class Gaussian:
    """What DiagNormal, FullNormal and LowRankNormal have in common.

    Attributes
    ----------
    structure : str
        ``diag``, ``full`` or ``low_rank``.
    kind : str
        ``low_rank``, or the name of the parameter that carries the scale.
    names : tuple of str
        The names of the parameters, which are attributes; others that the class may have are
        None.
    """

    structure: str
    kind: str
    names: tuple[str, ...]
    mean: Any

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters by name."""
        return {name: getattr(self, name) for name in self.names}

    def like(self, values: Any) -> Any:
        """A Gaussian of the same class, with these values of the same parameters, in order."""
        mean, *rest = values
        made: Any = type(self)
        return made(mean, **dict(zip(self.names[1:], rest, strict=True)))

    def __repr__(self) -> str:
        shapes = (f"{k}={tuple(getattr(x, 'shape', ()))}" for k, x in self.parameters.items())
        return f"{type(self).__name__}({', '.join(shapes)})"


class DiagNormal(Gaussian):
    """A batch of Gaussians with diagonal covariance.

    Parameters
    ----------
    mean : tensor, shape (..., d), or a number
        Means.
    var, std, logvar : tensor, shape (..., d), or a number
        Variances, standard deviations or natural logarithms of variances: exactly one of them,
        by name.
    """

    structure = "diag"
    var: Any = None
    std: Any = None
    logvar: Any = None

    def __init__(self, mean: Any, *, var: Any = None, std: Any = None, logvar: Any = None) -> None:
        self.kind, scale = _only(self, var=var, std=std, logvar=logvar)
        self.names = "mean", self.kind
        self.mean = mean
        setattr(self, self.kind, scale)


class FullNormal(Gaussian):
    """A batch of Gaussians with full covariance.

    Parameters
    ----------
    mean : tensor, shape (..., d), or a number
        Means.
    cov, tril, precision : tensor, shape (..., d, d)
        Covariances, their lower Cholesky factors or their inverses: exactly one of them, by name.
        Only the lower triangle is read.
    """

    structure = "full"
    cov: Any = None
    tril: Any = None
    precision: Any = None

    def __init__(
        self, mean: Any, *, cov: Any = None, tril: Any = None, precision: Any = None
    ) -> None:
        self.kind, scale = _only(self, cov=cov, tril=tril, precision=precision)
        self.names = "mean", self.kind
        self.mean = mean
        setattr(self, self.kind, scale)


class LowRankNormal(Gaussian):
    """A batch of Gaussians with covariance F F^T + diag(v).

    Parameters
    ----------
    mean : tensor, shape (..., d), or a number
        Means.
    factor : tensor, shape (..., d, r)
        F.
    var : tensor, shape (..., d), or a number
        v, which is positive.
    """

    structure = kind = "low_rank"
    names = "mean", "factor", "var"

    def __init__(self, mean: Any, *, factor: Any, var: Any) -> None:
        self.mean, self.factor, self.var = mean, factor, var


def _only(owner: Any, **given: Any) -> tuple[str, Any]:
    """The one parameter that was given."""
    found = [item for item in given.items() if item[1] is not None]
    if len(found) != 1:
        first, second, third = given
        got = " and ".join(name for name, _ in found) or "none"
        raise TypeError(
            f"{type(owner).__name__} wants exactly one of {first}=, {second}= and {third}=, "
            f"and got {got}"
        )
    return found[0]
