# SPDX-License-Identifier: BSD-3-Clause
"""KL divergence as torch knows functions: an autograd function, and the operator ``gkl::kl``.

Gaussians are flattened: a list of parameters, first p's, then q's, in the order of the classes,
and the kinds of both, which are the name of the scale's parameter, ``"low_rank"``, or ``""`` for
N(0, I).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from gkl.torch.derivatives import (
    batch_shape,
    is_plain,
    keep,
    kept,
    mapped,
    pulled,
    pushed,
    result_type,
    weighted,
    whole,
    whole_shapes,
)
from gkl.torch.evaluation import evaluate
from gkl.torch.formula import kl as formula

__all__ = ["apply"]


def apply(parameters: Sequence[Tensor], p: str, q: str, raises: bool) -> Tensor:
    """KL(p || q) of every item, by the way that fits where the caller is."""
    grad = torch.is_grad_enabled()
    wanted = [grad and x.requires_grad for x in parameters]
    transformed = torch._C._are_functorch_transforms_active()
    if torch.compiler.is_compiling():
        if transformed:  # which know nothing of operators there
            return formula(whole(parameters, p, q), p, q)
        return operator(list(parameters), p, q, wanted, raises)[0]
    if transformed or forward_ad._current_level >= 0:  # a tensor does not know of outer levels
        return Divergence.apply(p, q, [True] * len(parameters), raises, *parameters)[0]
    if is_in_torch_dispatch_mode() or torch.jit.is_tracing() or not is_plain(*parameters):
        return operator(list(parameters), p, q, wanted, raises)[0]
    if any(wanted):
        return Plain.apply(p, q, wanted, raises, *parameters)
    return evaluate(parameters, p, q, wanted, raises)[0][0]


class Plain(torch.autograd.Function):
    """The value for autograd: the same as :class:`Divergence`, at half the cost of a call."""

    @staticmethod
    def forward(
        ctx: Any, p: str, q: str, wanted: list[bool], raises: bool, *parameters: Tensor
    ) -> Tensor:
        (value, *gradients), bad = evaluate(parameters, p, q, wanted, raises)
        keep(ctx, p, q, wanted, parameters, gradients)
        ctx.bad = bad
        return value

    @staticmethod
    def backward(ctx: Any, weight: Tensor | None) -> Any:
        k = kept(ctx)
        if weight is None:
            return (None,) * (4 + len(k.parameters))
        if torch.is_grad_enabled():  # the same gradients, but such as have derivatives
            gradients = Divergence.apply(k.p, k.q, k.wanted, False, *k.parameters)[1:]
            k = k._replace(gradients=gradients)
        return None, None, None, None, *weighted(k, weight, ctx.bad > 0)


class Divergence(torch.autograd.Function):
    """Value and gradients, item by item, for autograd and ``torch.func``."""

    @staticmethod
    def forward(
        p: str, q: str, wanted: list[bool], raises: bool, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(evaluate(parameters, p, q, wanted, raises)[0])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, ...]) -> None:
        p, q, wanted, _, *parameters = inputs
        keep(ctx, p, q, wanted, parameters, output[1:])
        ctx.save_for_forward(*parameters, *output[1:])

    @staticmethod
    def backward(ctx: Any, *weights: Tensor | None) -> Any:
        return None, None, None, None, *pulled(kept(ctx), weights)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        return pushed(kept(ctx), tangents[4:])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[tuple[Tensor, ...], int]:
        p, q, wanted, raises, *parameters = inputs
        whole = mapped(parameters, in_dims[4:], p, q)
        return Divergence.apply(p, q, wanted, raises, *whole), 0


@torch.library.custom_op("gkl::kl", mutates_args=(), device_types="cpu")
def operator(
    parameters: list[Tensor], p: str, q: str, wanted: list[bool], raises: bool
) -> list[Tensor]:
    """The same for ``torch.compile``, which sees names and shapes alone."""
    return evaluate(parameters, p, q, wanted, raises)[0]


@operator.register_fake
def _shapes(
    parameters: list[Tensor], p: str, q: str, wanted: list[bool], raises: bool
) -> list[Tensor]:
    shapes = [x.shape for x in parameters]
    batch, own = batch_shape(shapes, p, q), whole_shapes(shapes, p, q)
    dtype = result_type(parameters)
    return [parameters[0].new_empty(s, dtype=dtype) for s in (batch, *compress(own, wanted))]


def _keep(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    parameters, p, q, wanted, _ = inputs
    keep(ctx, p, q, wanted, parameters, output[1:])


def _pull(ctx: Any, weights: list[Tensor | None]) -> Any:
    return pulled(kept(ctx), weights), None, None, None, None


operator.register_autograd(_pull, setup_context=_keep)


@operator.register_vmap
def _vmap(
    info: Any,
    in_dims: Any,
    parameters: list[Tensor],
    p: str,
    q: str,
    wanted: list[bool],
    raises: bool,
) -> tuple[list[Tensor], list[int]]:
    outputs = operator(mapped(parameters, in_dims[0], p, q), p, q, wanted, raises)
    return outputs, [0] * len(outputs)
