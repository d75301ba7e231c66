"""What an ONNX operator is here: a function of torch tensors and constants, registered under the operator's name."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from neural_graphs.errors import CheckpointError

Value: TypeAlias = Tensor | np.ndarray
"""What flows between operators: a tensor, or an array where shapes and constants alone decide it (rarely: a list)."""

Operator: TypeAlias = Callable[..., Any]
Some = TypeVar("Some", bound=Operator)

OPERATORS: dict[str, Operator] = {}
"""Inputs are positional arguments (None where one is left out), attributes keyword arguments of their ONNX names; one
that takes `opset` is told the version. It returns a tensor, or a tuple of as many outputs as it may have."""


def operator(*names: str) -> Callable[[Some], Some]:
    """Register a function as the ONNX operators of these names."""

    def register(function: Some) -> Some:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def tensor(value: Value, like: Tensor) -> Tensor:
    """A value as a tensor; a constant takes the device of `like` and, where both are floats, its precision."""
    if isinstance(value, Tensor):
        return value
    made = torch.tensor(value, device=like.device)
    return made.to(like.dtype) if made.is_floating_point() and like.is_floating_point() else made


def operand(value: Value, other: Value) -> Any:
    """One side of an element-wise operator: a plain number for a single constant, else a tensor."""
    if isinstance(value, Tensor) or not isinstance(other, Tensor):
        return value
    return value.item() if value.size == 1 and value.ndim <= other.ndim else tensor(value, other)


def whole(value: Value | list[int] | None, meaning: str) -> list[int] | None:
    """Whole numbers that must be known before the network runs (axes, sizes, pads); None stays None.

    Raises CheckpointError where they depend on the values of an input or a weight.
    """
    if value is None or isinstance(value, list):
        return value
    if isinstance(value, Tensor):
        raise CheckpointError(f"its {meaning} depend on the values that flow through the network, not on shapes alone")
    return [int(each) for each in value.reshape(-1)]


def number(value: Value | float | None, meaning: str) -> Any:
    """One number that must be known before the network runs; None stays None. Raises CheckpointError as `whole`."""
    if isinstance(value, Tensor):
        raise CheckpointError(f"its {meaning} depends on the values that flow through the network")
    return value.item() if isinstance(value, np.ndarray) else value
