"""What edges send to their target neurons: sums, and the four statistics of NG-GNN; regular batches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from neural_graphs.wiring import Arc

FLOOR = 1e-5  # variances below it count as zero, and so do their gradients (released PNA aggregation)


def table(edges: Tensor, arc: Arc) -> Tensor:
    """The edges of one arc as a `(networks, rows, columns, d)` view."""
    return edges[:, arc.edges].unflatten(1, (arc.rows, arc.columns))


def along(nodes: Tensor, neurons: slice, axis: int) -> Tensor:
    """The features of a run of neurons, broadcastable along one axis of an arc's table."""
    return nodes[:, neurons].unsqueeze(2 if axis == 0 else 1)


class Spread(Function):
    """`source[s] + target[t]` for every edge: `(networks, neurons, d)` twice to `(networks, edges, d)`."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, target: Tensor, arcs: Sequence[Arc]) -> Tensor:
        ctx.arcs, ctx.neurons = arcs, source.shape[1]
        out = source.new_empty(source.shape[0], arcs[-1].edges.stop, source.shape[2])
        for arc in arcs:
            torch.add(
                along(source, arc.source, arc.source_axis),
                along(target, arc.target, arc.target_axis),
                out=table(out, arc),
            )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        source = grads[0].new_zeros(grads[0].shape[0], ctx.neurons, grads[0].shape[2])
        target = torch.zeros_like(source)
        for arc in ctx.arcs:
            grad = table(grads[0], arc)
            source[:, arc.source] += grad.sum(2 - arc.source_axis)
            target[:, arc.target] += grad.sum(2 - arc.target_axis)
        return source, target, None


class SumTo(Function):
    """The sum over the edges of every neuron, at their targets or (`end="source"`) at their sources."""

    @staticmethod
    def forward(ctx: Any, edges: Tensor, arcs: Sequence[Arc], neurons: int, end: str) -> Tensor:
        ctx.arcs, ctx.end = arcs, end
        out = edges.new_zeros(edges.shape[0], neurons, edges.shape[2])
        add_up(edges, arcs, end, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        out = grads[0].new_empty(grads[0].shape[0], ctx.arcs[-1].edges.stop, grads[0].shape[2])
        for arc in ctx.arcs:
            place, axis = _end(arc, ctx.end)
            table(out, arc).copy_(along(grads[0], place, axis))
        return out, None, None, None


def add_up(edges: Tensor, arcs: Sequence[Arc], end: str, out: Tensor) -> None:
    """Add the edges of every neuron to `out`, `(networks, neurons, d)`, at their sources or targets."""
    for arc in arcs:
        place, axis = _end(arc, end)
        out[:, place] += table(edges, arc).sum(2 - axis)


def _end(arc: Arc, end: str) -> tuple[slice, int]:
    return (arc.target, arc.target_axis) if end == "target" else (arc.source, arc.source_axis)


def peak(logits: Tensor, arcs: Sequence[Arc], neurons: int) -> Tensor:
    """The largest value over the edges that leave each neuron, `(networks, neurons, heads)`; 0 where none does."""
    out = logits.new_full((logits.shape[0], neurons, logits.shape[2]), -torch.inf)
    for arc in arcs:
        place = out[:, arc.source]
        torch.maximum(place, table(logits, arc).amax(2 - arc.source_axis), out=place)
    return out.masked_fill(out == -torch.inf, 0.0)


class Statistics(Function):
    """Mean, minimum, maximum and standard deviation of the messages into every neuron, `(networks, neurons, 4d)`.

    `degree` is `(neurons, 1)`; neurons without incoming edges get zeros. The deviation is `sqrt(max(E[m²] − E[m]², ε))`
    and 0 where that is not above `sqrt(ε)`, ε = 1e-5. A minimum reached by several messages shares its gradient evenly.
    """

    @staticmethod
    def forward(ctx: Any, messages: Tensor, arcs: Sequence[Arc], degree: Tensor) -> Tensor:
        shape = (messages.shape[0], degree.shape[0], messages.shape[2])
        total, square = messages.new_zeros(shape), messages.new_zeros(shape)
        low, high = messages.new_full(shape, torch.inf), messages.new_full(shape, -torch.inf)
        for arc in arcs:
            sent, place, axis = table(messages, arc), arc.target, 2 - arc.target_axis
            total[:, place] += sent.sum(axis)
            square[:, place] += (sent * sent).sum(axis)
            torch.minimum(low[:, place], sent.amin(axis), out=low[:, place])
            torch.maximum(high[:, place], sent.amax(axis), out=high[:, place])
        mean, deviation, low, high = summary(total, square, low, high, degree)
        ctx.save_for_backward(messages, mean, deviation, low, high)
        ctx.arcs, ctx.degree = arcs, degree
        return torch.cat([mean, low, high, deviation], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        messages, mean, deviation, low, high = ctx.saved_tensors
        constant, slope, low_grad, high_grad = slopes(grads[0], mean, deviation, ctx.degree)
        out = torch.empty_like(messages)
        for arc in ctx.arcs:
            place, axis = arc.target, arc.target_axis
            sent, grad = table(messages, arc), table(out, arc)
            torch.mul(sent, along(slope, place, axis), out=grad)
            grad += along(constant, place, axis)
        for bound, bound_grad in ((low, low_grad), (high, high_grad)):
            _extreme_backward(out, messages, ctx.arcs, bound, bound_grad)
        return out, None, None


def _extreme_backward(out: Tensor, messages: Tensor, arcs: Sequence[Arc], bound: Tensor, grad: Tensor) -> None:
    """Add the gradient of a minimum or maximum to the messages that reach it."""
    reached = [table(messages, arc) == along(bound, arc.target, arc.target_axis) for arc in arcs]
    ties = torch.zeros_like(bound)
    for arc, at in zip(arcs, reached, strict=True):
        ties[:, arc.target] += at.sum(2 - arc.target_axis)
    share = grad / ties.clamp(min=1)
    for arc, at in zip(arcs, reached, strict=True):
        table(out, arc).add_(at * along(share, arc.target, arc.target_axis))


def summary(
    total: Tensor, square: Tensor, low: Tensor, high: Tensor, degree: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, deviation, minimum and maximum from the two moments and the bounds; zeros without messages."""
    count = degree.clamp(min=1).to(total.dtype)
    mean = total / count
    variance = square / count - mean * mean
    deviation = torch.where(variance > FLOOR, variance.clamp(min=FLOOR).sqrt(), 0.0)
    empty = degree == 0
    return mean, deviation, low.masked_fill(empty, 0.0), high.masked_fill(empty, 0.0)


def slopes(grad: Tensor, mean: Tensor, deviation: Tensor, degree: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per neuron: constant and slope of the moments' gradient in a message, and the gradients of the two bounds."""
    mean_grad, low_grad, high_grad, deviation_grad = grad.chunk(4, -1)
    count = degree.clamp(min=1).to(grad.dtype)
    slope = torch.where(deviation > 0, deviation_grad / (deviation * count).clamp(min=FLOOR**2), 0.0)
    return mean_grad / count - slope * mean, slope, low_grad, high_grad
