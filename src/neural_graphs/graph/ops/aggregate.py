"""What edges send to their target neurons: sums, and the four statistics of NG-GNN; regular batches."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function

from neural_graphs.graph.edges import EdgeBlock
from neural_graphs.layout.strides import End

FLOOR = 1e-5  # variances below it count as zero, and so do their gradients (released PNA aggregation)
Reduce: TypeAlias = Callable[[Tensor, tuple[int, ...]], Tensor]


def table(edges: Tensor, block: EdgeBlock) -> Tensor:
    """The edges of one edge block as a `(networks, *sizes, d)` view."""
    return edges[:, block.edges].unflatten(1, block.table.sizes)


def along(nodes: Tensor, block: EdgeBlock, end: End) -> Tensor:
    """What the neuron at one end of every edge of an edge block holds, a `(networks, *sizes, d)` view."""
    return _view(nodes, block.first(end), block.table.sizes, block.table.strides(end))


def neurons(nodes: Tensor, block: EdgeBlock, end: End) -> Tensor:
    """What the neurons at one end of an edge block hold, a `(networks, *sizes it moves along, d)` view."""
    sizes, strides = block.table.sizes, block.table.strides(end)
    kept_dims = block.kept_dims[end]
    return _view(nodes, block.first(end), [sizes[dim] for dim in kept_dims], [strides[dim] for dim in kept_dims])


def _view(nodes: Tensor, first: int, sizes: Sequence[int], strides: Sequence[int]) -> Tensor:
    networks, step, *rest = nodes.stride()
    shape = (nodes.shape[0], *sizes, *nodes.shape[2:])
    return nodes.as_strided(
        shape, (networks, *(step * stride for stride in strides), *rest), nodes.storage_offset() + first * step
    )


def each(edges: Tensor, block: EdgeBlock, end: End, reduce: Reduce = torch.sum) -> Tensor:
    """A table of edges reduced over those of each neuron at one end, shaped as `neurons`."""
    dims = tuple(1 + dim for dim in block.reduced_dims[end])
    return reduce(edges, dims) if dims else edges


class GatherAdd(Function):
    """`source[s] + target[t]` for every edge: `(networks, neurons, d)` twice to `(networks, edges, d)`."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, target: Tensor, blocks: Sequence[EdgeBlock]) -> Tensor:
        ctx.blocks, ctx.neurons = blocks, source.shape[1]
        out = source.new_empty(source.shape[0], blocks[-1].edges.stop, source.shape[2])
        for block in blocks:
            torch.add(along(source, block, "source"), along(target, block, "target"), out=table(out, block))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        source = grads[0].new_zeros(grads[0].shape[0], ctx.neurons, grads[0].shape[2])
        target = torch.zeros_like(source)
        add_up(grads[0], ctx.blocks, "source", source)
        add_up(grads[0], ctx.blocks, "target", target)
        return source, target, None


class ScatterSum(Function):
    """The sum over the edges of every neuron, at their targets or (`end="source"`) at their sources."""

    @staticmethod
    def forward(ctx: Any, edges: Tensor, blocks: Sequence[EdgeBlock], count: int, end: End) -> Tensor:
        ctx.blocks, ctx.end = blocks, end
        out = edges.new_zeros(edges.shape[0], count, edges.shape[2])
        add_up(edges, blocks, end, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        out = grads[0].new_empty(grads[0].shape[0], ctx.blocks[-1].edges.stop, grads[0].shape[2])
        for block in ctx.blocks:
            table(out, block).copy_(along(grads[0], block, ctx.end))
        return out, None, None, None


def add_up(edges: Tensor, blocks: Sequence[EdgeBlock], end: End, out: Tensor) -> None:
    """Add the edges of every neuron to `out`, `(networks, neurons, d)`, at their sources or targets."""
    for block in blocks:
        neurons(out, block, end).add_(each(table(edges, block), block, end))


def peak(logits: Tensor, blocks: Sequence[EdgeBlock], count: int) -> Tensor:
    """The largest value over the edges that leave each neuron, `(networks, neurons, heads)`; 0 where none does."""
    out = logits.new_full((logits.shape[0], count, logits.shape[2]), -torch.inf)
    for block in blocks:
        place = neurons(out, block, "source")
        torch.maximum(place, each(table(logits, block), block, "source", torch.amax), out=place)
    return out.masked_fill(out == -torch.inf, 0.0)


class ScatterStatistics(Function):
    """Mean, minimum, maximum and standard deviation of the messages into every neuron, `(networks, neurons, 4d)`.

    `degree` is `(neurons, 1)`; neurons without incoming edges get zeros. The deviation is `sqrt(max(E[m²] − E[m]², ε))`
    and 0 where that is not above `sqrt(ε)`, ε = 1e-5. A minimum reached by several messages shares its gradient evenly.
    """

    @staticmethod
    def forward(ctx: Any, messages: Tensor, blocks: Sequence[EdgeBlock], degree: Tensor) -> Tensor:
        shape = (messages.shape[0], degree.shape[0], messages.shape[2])
        total, square = messages.new_zeros(shape), messages.new_zeros(shape)
        low, high = messages.new_full(shape, torch.inf), messages.new_full(shape, -torch.inf)
        for block in blocks:
            sent = table(messages, block)
            neurons(total, block, "target").add_(each(sent, block, "target"))
            neurons(square, block, "target").add_(each(sent * sent, block, "target"))
            least, most = neurons(low, block, "target"), neurons(high, block, "target")
            torch.minimum(least, each(sent, block, "target", torch.amin), out=least)
            torch.maximum(most, each(sent, block, "target", torch.amax), out=most)
        mean, deviation, low, high = summary(total, square, low, high, degree)
        ctx.save_for_backward(messages, mean, deviation, low, high)
        ctx.blocks, ctx.degree = blocks, degree
        return torch.cat([mean, low, high, deviation], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        messages, mean, deviation, low, high = ctx.saved_tensors
        constant, slope, low_grad, high_grad = slopes(grads[0], mean, deviation, ctx.degree)
        out = torch.empty_like(messages)
        for block in ctx.blocks:
            grad = table(out, block)
            torch.mul(table(messages, block), along(slope, block, "target"), out=grad)
            grad += along(constant, block, "target")
        for bound, bound_grad in ((low, low_grad), (high, high_grad)):
            _extreme_backward(out, messages, ctx.blocks, bound, bound_grad)
        return out, None, None


def _extreme_backward(out: Tensor, messages: Tensor, blocks: Sequence[EdgeBlock], bound: Tensor, grad: Tensor) -> None:
    """Add the gradient of a minimum or maximum to the messages that reach it."""
    reached = [table(messages, block) == along(bound, block, "target") for block in blocks]
    ties = torch.zeros_like(bound)
    for block, at in zip(blocks, reached, strict=True):
        neurons(ties, block, "target").add_(each(at, block, "target"))
    share = grad / ties.clamp(min=1)
    for block, at in zip(blocks, reached, strict=True):
        table(out, block).add_(at * along(share, block, "target"))


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
