"""Norms: neurons of their own, joined one to one to what they normalise."""

from collections.abc import Sequence
from typing import Any

from neural_graphs.tracing.ops.combine import combine
from neural_graphs.tracing.ops.weights import norm
from neural_graphs.tracing.registry import Call, rule
from neural_graphs.tracing.values import Value


@rule("aten.batch_norm", "aten.instance_norm", "aten._native_batch_norm_legit_no_training")
def batch_norm(
    call: Call, x: Value, weight: Value | None, bias: Value | None, mean: Value | None, variance: Value | None, *_: Any
) -> Any:
    found = norm(call.tape, x, (1,), weight=weight, mean=mean, variance=variance, bias=bias)
    return found if len(call.shapes) == 1 else [found, *map(call.tape.constant, call.shapes[1:])]


@rule("aten.layer_norm", "aten.native_layer_norm")
def layer_norm(
    call: Call, x: Value, shape: Sequence[int], weight: Value | None = None, bias: Value | None = None, *_: Any
) -> Any:
    onto = range(len(x.dims) - len(shape), len(x.dims))
    call.tape.record.see(*x.dims[: onto.start])
    found = norm(call.tape, x, tuple(onto), weight=weight, bias=bias)
    return found if len(call.shapes) == 1 else [found, *map(call.tape.constant, call.shapes[1:])]


@rule("aten.rms_norm")
def rms_norm(call: Call, x: Value, shape: Sequence[int], weight: Value | None = None, *_: Any) -> Any:
    return layer_norm(call, x, shape, weight)


@rule("aten.group_norm")
def group_norm(
    call: Call, x: Value, groups: int, weight: Value | None = None, bias: Value | None = None, *_: Any
) -> Value:  # fmt: skip
    tape, count = call.tape, x.shape[1] // groups
    apart = tape.reshape(x, (x.shape[0], groups, count, *x.shape[2:]))
    tape.record.see(apart.dims[0], apart.dims[1])
    weight, bias = (None if value is None else tape.reshape(value, (groups, count)) for value in (weight, bias))
    found = norm(tape, apart, (1, 2), weight=weight, bias=bias)
    return tape.reshape(found, x.shape)


@rule("aten._weight_norm")
def weight_norm(call: Call, direction: Value, length: Value, dim: int = 0) -> Value:
    """A weight as direction times length: computed, so that every number of it is a neuron."""
    call.tape.record.see(*(term for place, term in enumerate(direction.dims) if place == dim))
    return combine(call.tape, "mul", [direction, length])
