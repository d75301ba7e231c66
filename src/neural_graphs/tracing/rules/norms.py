"""Norms: neurons of their own, joined one to one to what they normalise."""

from collections.abc import Sequence
from typing import Any

from neural_graphs.tracing.ops.combine import combine
from neural_graphs.tracing.ops.norm import norm
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.values import TracedTensor


@rule("aten.batch_norm", "aten.instance_norm", "aten._native_batch_norm_legit_no_training")
def batch_norm(
    call: OpCall,
    x: TracedTensor,
    weight: TracedTensor | None,
    bias: TracedTensor | None,
    mean: TracedTensor | None,
    variance: TracedTensor | None,
    *_: Any,
) -> Any:
    found = norm(call.tape, x, (1,), weight=weight, mean=mean, variance=variance, bias=bias)
    return found if len(call.shapes) == 1 else [found, *map(call.tape.constant, call.shapes[1:])]


@rule("aten.layer_norm", "aten.native_layer_norm")
def layer_norm(
    call: OpCall,
    x: TracedTensor,
    shape: Sequence[int],
    weight: TracedTensor | None = None,
    bias: TracedTensor | None = None,
    *_: Any,
) -> Any:
    onto = range(len(x.dims) - len(shape), len(x.dims))
    call.tape.record.see(*x.dims[: onto.start])
    found = norm(call.tape, x, tuple(onto), weight=weight, bias=bias)
    return found if len(call.shapes) == 1 else [found, *map(call.tape.constant, call.shapes[1:])]


@rule("aten.rms_norm")
def rms_norm(call: OpCall, x: TracedTensor, shape: Sequence[int], weight: TracedTensor | None = None, *_: Any) -> Any:
    return layer_norm(call, x, shape, weight)


@rule("aten.group_norm")
def group_norm(
    call: OpCall, x: TracedTensor, groups: int, weight: TracedTensor | None = None,
    bias: TracedTensor | None = None, *_: Any
) -> TracedTensor:  # fmt: skip
    tape, count = call.tape, x.shape[1] // groups
    apart = tape.reshape(x, (x.shape[0], groups, count, *x.shape[2:]))
    tape.record.see(apart.dims[0], apart.dims[1])
    weight, bias = (None if value is None else tape.reshape(value, (groups, count)) for value in (weight, bias))
    found = norm(tape, apart, (1, 2), weight=weight, bias=bias)
    return tape.reshape(found, x.shape)


@rule("aten._weight_norm")
def weight_norm(call: OpCall, direction: TracedTensor, length: TracedTensor, dim: int = 0) -> TracedTensor:
    """A weight as direction times length: computed, so that every number of it is a neuron."""
    call.tape.record.see(*(term for place, term in enumerate(direction.dims) if place == dim))
    return combine(call.tape, "mul", [direction, length])
