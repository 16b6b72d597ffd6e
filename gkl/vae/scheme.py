# SPDX-License-Identifier: BSD-3-Clause
"""What a VAE minimizes in place of the KL: functions of KL values, and their derivatives.

With KL values x_ij of items i and columns j (a column is a dimension, or the only one: the whole)

    value = factor sum_j f(mean_i x_ij)        after the mean over the batch
    value = factor mean_i sum_j f(x_ij)        before it

and a scheme is its f.  The arithmetic is that of methods which arrays of NumPy, torch and JAX
share.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np

from gkl import tensors
from gkl._core import Gaussian

__all__ = ["Scheme"]

# not unions, into which torch.compile does not look
NUMPY = (np.ndarray, np.generic)
GAUSSIANS = (Gaussian, tensors.Gaussian)


class Scheme:
    """What Beta, Capacity and FreeBits have in common; another one states factor, f and slope.

    Attributes
    ----------
    per_dim : bool
        What the KL values are of: False, items, in an array of the batch's shape; True,
        dimensions, the last axis.
    after_mean : bool
        Whether f is of the mean over the batch, or of every value before it.
    is_linear : bool
        Whether f(x) = x, so that the derivative needs no values.

    Examples
    --------
    The square of the KL's distance from 3 nats:

    >>> from gkl import vae
    >>> class Near3(vae.Scheme):
    ...     factor = 1.0
    ...     def f(self, x):
    ...         return (x - 3) ** 2
    ...     def slope(self, x):
    ...         return 2 * (x - 3)
    >>> float(Near3()([4.0, 6.0])), Near3().weight([4.0, 6.0])
    (4.0, array([2., 2.]))
    """

    per_dim: bool = False
    after_mean: bool = True
    is_linear: ClassVar[bool] = False

    @property
    def factor(self) -> float:
        """What multiplies the objective; 0 of infinity is 0, so that annealing can start there."""
        raise NotImplementedError

    def f(self, x: Any) -> Any:
        """The function of KL values, element by element."""
        raise NotImplementedError

    def slope(self, x: Any) -> Any:
        """df/dx; of arrays of NumPy alone."""
        raise NotImplementedError

    def __call__(self, kl: Any) -> Any:
        """The objective, in nats.

        Parameters
        ----------
        kl : array_like or tensor, shape (...) or, with `per_dim`, (..., d)
            KL values, in nats.  The other axes are the batch.

        Returns
        -------
        scalar
            Of the type of `kl`; float64 for integers of NumPy.  NumPy arrays are summed in
            float64, tensors as their own ``mean`` and ``sum`` do.

        Raises
        ------
        ValueError
            No items, or no axis of dimensions.
        TypeError
            Not real numbers: also Gaussians in place of their divergences.
        """
        kl = _values(kl)
        return self._value(kl, self._inner(kl))

    def weight(self, kl: Any) -> Any:
        """The derivative of the objective in every KL value; takes arrays of NumPy alone.

        It is the `weight` that :func:`gkl.kl_and_grad` takes, of the shape and type of `kl`;
        read-only where it is the same for all items.
        """
        return self.value_and_weight(kl)[1]

    def value_and_weight(self, kl: Any) -> tuple[Any, Any]:
        """The objective and :meth:`weight`, for one mean over the batch."""
        kl = _values(kl)
        x = self._inner(kl)
        value = self._value(kl, x)
        each = self.factor / prod(self._shape(kl))
        weight = np.multiply(self._for_factor(self.slope(x)), each, dtype=kl.dtype)
        if self.after_mean:
            return value, np.broadcast_to(weight if self.per_dim else weight[0], kl.shape)
        return value, weight.reshape(kl.shape)

    def _value(self, kl: Any, x: Any) -> Any:
        if isinstance(kl, np.ndarray):
            with np.errstate(over="ignore"):
                return kl.dtype.type(self._sum(x))
        return self._sum(x)

    def _sum(self, x: Any) -> Any:
        columns = self.f(x) if self.after_mean else _mean(self.f(x))
        return self.factor * self._for_factor(columns.sum())

    def _for_factor(self, x: Any) -> Any:
        """What the factor can multiply: 0 times infinity is NaN. NaN itself stays."""
        return x if self.factor else x.clip(0, 0)

    def _inner(self, kl: Any) -> Any:
        """What f is applied to: items by columns, or means of the columns."""
        if self.per_dim and not kl.shape:
            raise ValueError("kl is a single number, and per_dim=True wants shape (..., d)")
        items = prod(self._shape(kl))
        if not items:
            raise ValueError(f"kl has shape {tuple(kl.shape)}: no items to take a mean of")
        x = kl.reshape(items, kl.shape[-1] if self.per_dim else 1)
        return _mean(x) if self.after_mean else x

    def _shape(self, kl: Any) -> Any:
        """The batch's."""
        return kl.shape[:-1] if self.per_dim else kl.shape


def _values(kl: Any) -> Any:
    """An array or a tensor, of floating numbers."""
    if isinstance(kl, GAUSSIANS):
        raise TypeError(f"kl is a {type(kl).__name__}; its KL values are wanted, as of gkl.kl")
    is_tensor = hasattr(kl, "reshape") and not isinstance(kl, NUMPY)
    kl = kl if is_tensor else np.asarray(kl)
    name = str(kl.dtype) if is_tensor else kl.dtype.name  # a dtype of torch has no name
    if "float" not in name and "int" not in name:
        raise TypeError(f"kl has dtype {name}; real numbers are wanted")
    return kl if "float" in name else 1.0 * kl


def _mean(x: Any) -> Any:
    """Of each column; a long sum in float32 would lose digits, one in float16 overflow."""
    if not isinstance(x, np.ndarray):
        return x.mean(0)  # which frameworks take in float32 for 16 bits
    with np.errstate(over="ignore"):
        return x.sum(0, dtype=np.float64) / len(x)
