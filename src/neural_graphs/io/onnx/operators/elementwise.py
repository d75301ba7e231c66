"""Operators that act element by element: activations, arithmetic, comparisons, choices."""

import math
import operator as python
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.io.onnx.registry import OPERATORS, Value, number, operand, operator, tensor

OF_ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": F.hardswish,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": F.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Round": torch.round,
    "Rsqrt": torch.rsqrt,  # no ONNX operator, but what joins make of two
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "Add": python.add,
    "And": python.and_,
    "Equal": python.eq,
    "Greater": python.gt,
    "GreaterOrEqual": python.ge,
    "Less": python.lt,
    "LessOrEqual": python.le,
    "Mul": python.mul,
    "Or": python.or_,
    "Pow": python.pow,
    "Sub": python.sub,
    "Xor": python.xor,
}


def _of_one(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: function(x)  # takes no attribute: one it has is refused


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Any]:
    return lambda a, b: function(operand(a, b), operand(b, a))


OPERATORS.update({name: _of_one(function) for name, function in OF_ONE.items()})
OPERATORS.update({name: _of_two(function) for name, function in OF_TWO.items()})


@operator("Div")
def div(a: Value, b: Value) -> Any:
    """Division; whole numbers are cut towards zero."""
    left, right = operand(a, b), operand(b, a)
    if any(each.is_floating_point() for each in (a, b) if isinstance(each, Tensor)):
        return left / right
    like = a if isinstance(a, Tensor) else b
    assert isinstance(like, Tensor)
    return torch.div(tensor(a, like), tensor(b, like), rounding_mode="trunc")


def _extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def extreme(*values: Value) -> Tensor:
        like = next(value for value in values if isinstance(value, Tensor))
        return reduce(function, [tensor(value, like) for value in values])

    return extreme


OPERATORS.update({"Max": _extreme(torch.maximum), "Min": _extreme(torch.minimum)})


@operator("Sum")
def total(*values: Value) -> Any:
    """The sum of several values."""
    return reduce(OPERATORS["Add"], values)


@operator("Where")
def where(condition: Value, a: Value, b: Value) -> Tensor:
    """`a` where the condition holds, else `b`."""
    like = next(value for value in (a, b, condition) if isinstance(value, Tensor))
    return torch.where(tensor(condition, like), operand(a, like), operand(b, like))


@operator("Clip")
def clip(x: Tensor, low: Value | None = None, high: Value | None = None, *, min: float | None = None,
         max: float | None = None) -> Tensor:  # fmt: skip
    """Values cut at one end or at both: a ReLU6, say."""
    least = number(min if low is None else low, "lower end")
    most = number(max if high is None else high, "upper end")
    if least is None and most is None:
        return x
    between = least is not None and most is not None
    return F.hardtanh(x, least, most) if between else torch.clamp(x, least, most)


@operator("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """`x`, or `alpha · x` below 0."""
    return F.leaky_relu(x, alpha)


@operator("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """`x`, or `slope · x` below 0; one slope, or one per channel (dimension 1)."""
    per_channel = slope.ndim >= x.ndim - 1 and slope.shape[1 - x.ndim] == slope.numel()  # (C, 1, 1) or (1, C, 1, 1)
    return F.prelu(x, slope.reshape(-1)) if per_channel or slope.numel() == 1 else torch.where(x < 0, slope * x, x)


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """`x`, or `alpha (exp x - 1)` below 0."""
    return F.elu(x, alpha)


@operator("Selu")
def selu(x: Tensor, *, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Tensor:
    """`gamma` times an ELU."""
    usual = math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.0507010, rel_tol=1e-6)
    return F.selu(x) if usual else gamma * F.elu(x, alpha)


@operator("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """`max(0, x) + min(0, alpha (exp(x / alpha) - 1))`."""
    return F.celu(x, alpha)


@operator("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """The Gaussian error linear unit, exact or by a tanh."""
    return F.gelu(x, approximate=approximate)


@operator("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """`x · sigmoid(alpha x)`."""
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@operator("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """`alpha x + beta` cut to [0, 1]; torch's own has `alpha` 1/6."""
    usual = math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5
    return F.hardsigmoid(x) if usual else torch.clamp(alpha * x + beta, 0, 1)


@operator("Mod")
def mod(a: Value, b: Value, *, fmod: int = 0) -> Tensor:
    """The rest of a division, with the sign of the divisor, or of the dividend (`fmod`)."""
    like = a if isinstance(a, Tensor) else b
    assert isinstance(like, Tensor)
    return (torch.fmod if fmod else torch.remainder)(tensor(a, like), tensor(b, like))
