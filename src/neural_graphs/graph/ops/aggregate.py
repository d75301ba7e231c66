"""What edges send to neurons, and neurons to edges: operators of torch of our own; regular batches.

Each is registered with its gradient, which is made of such operators again, so that gradients of any order exist, with
the shapes it makes (for compilers) and with what it is over a further axis (`vmap`: networks are a batch anyway).
`blocks` are edge blocks as whole numbers, see `encode`.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.library import custom_op, register_autograd, register_fake

from neural_graphs.graph.edges import EdgeBlocks
from neural_graphs.graph.ops import plain
from neural_graphs.graph.ops.blocks import along, decode, each, neurons, table
from neural_graphs.graph.ops.direct import direct, plainly
from neural_graphs.graph.ops.folding import over_networks
from neural_graphs.graph.ops.plain import FLOOR
from neural_graphs.layout.strides import End

Count: TypeAlias = int | torch.SymInt  # the latter while a compiler looks on


def edge_count(blocks: EdgeBlocks) -> int:
    """The edges of all blocks."""
    return blocks[-1].edges.stop


# -- neurons to edges -------------------------------------------------------------------------------------------------

GATHER_ADD = "neural_graphs::gather_add"


@custom_op(GATHER_ADD, mutates_args=(), schema="(Tensor source, Tensor target, int[] blocks) -> Tensor")
def _gather_add(source: Tensor, target: Tensor, blocks: Sequence[int]) -> Tensor:
    """`source[s] + target[t]` for every edge: `(networks, neurons, d)` twice to `(networks, edges, d)`."""
    found = decode(tuple(blocks))
    out = source.new_empty(source.shape[0], edge_count(found), source.shape[2])
    for block in found:
        torch.add(along(source, block, "source"), along(target, block, "target"), out=table(out, block))
    return out


@register_fake(GATHER_ADD)
def _(source: Tensor, target: Tensor, blocks: Sequence[int]) -> Tensor:
    return source.new_empty(source.shape[0], edge_count(decode(tuple(blocks))), source.shape[2])


def _keep_blocks(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.count, ctx.rest = inputs[0].shape[1], inputs[1:]


def _gather_add_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    blocks = ctx.rest[-1]
    return scatter_sum(grad, blocks, ctx.count, "source"), scatter_sum(grad, blocks, ctx.count, "target"), None


register_autograd(GATHER_ADD, _gather_add_backward, setup_context=_keep_blocks)
over_networks(GATHER_ADD, _gather_add, 2)
_gather_add_directly = direct(_gather_add, _keep_blocks, _gather_add_backward)

GATHER = "neural_graphs::gather"


@custom_op(GATHER, mutates_args=(), schema="(Tensor nodes, int[] blocks, str end) -> Tensor")
def _gather(nodes: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    """What the neuron at one end of every edge holds: `(networks, neurons, d)` to `(networks, edges, d)`."""
    found = decode(tuple(blocks))
    out = nodes.new_empty(nodes.shape[0], edge_count(found), nodes.shape[2])
    for block in found:
        table(out, block).copy_(along(nodes, block, end))
    return out


@register_fake(GATHER)
def _(nodes: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    return nodes.new_empty(nodes.shape[0], edge_count(decode(tuple(blocks))), nodes.shape[2])


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return scatter_sum(grad, ctx.rest[0], ctx.count, ctx.rest[1]), None, None


register_autograd(GATHER, _gather_backward, setup_context=_keep_blocks)
over_networks(GATHER, _gather, 1)
_gather_directly = direct(_gather, _keep_blocks, _gather_backward)


# -- edges to neurons -------------------------------------------------------------------------------------------------

SCATTER_SUM = "neural_graphs::scatter_sum"


@custom_op(SCATTER_SUM, mutates_args=(), schema="(Tensor edges, int[] blocks, int count, str end) -> Tensor")
def _scatter_sum(edges: Tensor, blocks: Sequence[int], count: Count, end: End) -> Tensor:
    """The sum over the edges of every neuron, at their targets or (`end="source"`) at their sources."""
    out = edges.new_zeros(edges.shape[0], count, edges.shape[2])
    add_up(edges, decode(tuple(blocks)), end, out)
    return out


@register_fake(SCATTER_SUM)
def _(edges: Tensor, blocks: Sequence[int], count: Count, end: End) -> Tensor:
    return edges.new_empty(edges.shape[0], count, edges.shape[2])


def _scatter_sum_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return gather(grad, ctx.rest[0], ctx.rest[2]), None, None, None


register_autograd(SCATTER_SUM, _scatter_sum_backward, setup_context=_keep_blocks)
over_networks(SCATTER_SUM, _scatter_sum, 1)
_scatter_sum_directly = direct(_scatter_sum, _keep_blocks, _scatter_sum_backward)


def add_up(edges: Tensor, blocks: EdgeBlocks, end: End, out: Tensor) -> None:
    """Add the edges of every neuron to `out`, `(networks, neurons, d)`, at their sources or targets."""
    for block in blocks:
        neurons(out, block, end).add_(each(table(edges, block), block, end))


def peak(logits: Tensor, blocks: EdgeBlocks, count: Count) -> Tensor:
    """The largest value over the edges that leave each neuron, `(networks, neurons, heads)`; 0 where none does."""
    out = logits.new_full((logits.shape[0], count, logits.shape[2]), -torch.inf)
    for block in blocks:
        place = neurons(out, block, "source")
        torch.maximum(place, each(table(logits, block), block, "source", torch.amax), out=place)
    return out.masked_fill(out == -torch.inf, 0.0)


PEAK = "neural_graphs::peak"


@custom_op(PEAK, mutates_args=(), schema="(Tensor logits, int[] blocks, int count) -> Tensor")
def _largest(logits: Tensor, blocks: Sequence[int], count: Count) -> Tensor:
    """As `peak`, an operator without a gradient."""
    return peak(logits, decode(tuple(blocks)), count)


@register_fake(PEAK)
def _(logits: Tensor, blocks: Sequence[int], count: Count) -> Tensor:
    return logits.new_empty(logits.shape[0], count, logits.shape[2])


over_networks(PEAK, _largest, 1)
_largest_directly = plainly(_largest)


# -- statistics -------------------------------------------------------------------------------------------------------

STATISTICS = "neural_graphs::scatter_statistics"


@custom_op(STATISTICS, mutates_args=(), schema="(Tensor messages, Tensor degree, int[] blocks) -> Tensor")
def _scatter_statistics(messages: Tensor, degree: Tensor, blocks: Sequence[int]) -> Tensor:
    """Mean, minimum, maximum and standard deviation of the messages into every neuron, `(networks, neurons, 4d)`.

    `degree` is `(neurons, 1)`; neurons without incoming edges get zeros. The deviation is `sqrt(max(E[m²] − E[m]², ε))`
    and 0 where that is not above `sqrt(ε)`, ε = 1e-5. A minimum reached by several messages shares its gradient evenly.
    """
    shape = (messages.shape[0], degree.shape[0], messages.shape[2])
    total, square = messages.new_zeros(shape), messages.new_zeros(shape)
    low, high = messages.new_full(shape, torch.inf), messages.new_full(shape, -torch.inf)
    for block in decode(tuple(blocks)):
        sent = table(messages, block)
        neurons(total, block, "target").add_(each(sent, block, "target"))
        neurons(square, block, "target").add_(each(sent * sent, block, "target"))
        least, most = neurons(low, block, "target"), neurons(high, block, "target")
        torch.minimum(least, each(sent, block, "target", torch.amin), out=least)
        torch.maximum(most, each(sent, block, "target", torch.amax), out=most)
    mean, deviation, low, high = summary(total, square, low, high, degree)
    return torch.cat([mean, low, high, deviation], -1)


@register_fake(STATISTICS)
def _(messages: Tensor, degree: Tensor, blocks: Sequence[int]) -> Tensor:
    return messages.new_empty(messages.shape[0], degree.shape[0], 4 * messages.shape[2])


def _keep_statistics(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    messages, degree, ctx.blocks = inputs
    ctx.save_for_backward(messages, degree, output)


def _statistics_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    messages, degree, output = ctx.saved_tensors
    if torch.is_grad_enabled():  # a gradient of this gradient is asked for
        return statistics_grad(grad, messages, output, degree, ctx.blocks), None, None
    return _statistics_backward_directly(grad, messages, output, degree, ctx.blocks), None, None


register_autograd(STATISTICS, _statistics_backward, setup_context=_keep_statistics)
over_networks(STATISTICS, _scatter_statistics, 1)
_scatter_statistics_directly = direct(_scatter_statistics, _keep_statistics, _statistics_backward)

STATISTICS_BACKWARD = "neural_graphs::scatter_statistics_backward"
OF_STATISTICS = "(Tensor grad, Tensor messages, Tensor output, Tensor degree, int[] blocks) -> Tensor"


@custom_op(STATISTICS_BACKWARD, mutates_args=(), schema=OF_STATISTICS)
def statistics_backward(
    grad: Tensor, messages: Tensor, output: Tensor, degree: Tensor, blocks: Sequence[int]
) -> Tensor:  # fmt: skip
    """The gradient of the messages from that of their statistics, in place; see `statistics_grad`."""
    found = decode(tuple(blocks))
    mean, low, high, deviation = output.chunk(4, -1)
    constant, slope, low_grad, high_grad = slopes(grad, mean, deviation, degree)
    out = torch.empty_like(messages)
    for block in found:
        part = table(out, block)
        torch.mul(table(messages, block), along(slope, block, "target"), out=part)
        part += along(constant, block, "target")
    for bound, bound_grad in ((low.contiguous(), low_grad), (high.contiguous(), high_grad)):
        _extreme_backward(out, messages, found, bound, bound_grad)
    return out


@register_fake(STATISTICS_BACKWARD)
def _(grad: Tensor, messages: Tensor, output: Tensor, degree: Tensor, blocks: Sequence[int]) -> Tensor:
    return torch.empty_like(messages)


over_networks(STATISTICS_BACKWARD, statistics_backward, 3)
_statistics_backward_directly = plainly(statistics_backward)


def statistics_grad(
    grad: Tensor, messages: Tensor, output: Tensor, degree: Tensor, blocks: Sequence[int]
) -> Tensor:  # fmt: skip
    """The same by operators that have gradients themselves; the plain reference of `statistics_backward`."""
    mean, low, high, deviation = output.chunk(4, -1)
    constant, slope, *bound_grads = slopes(grad, mean, deviation, degree)
    found = messages * gather(slope, blocks, "target") + gather(constant, blocks, "target")
    for bound, bound_grad in zip((low, high), bound_grads, strict=True):
        at = (messages.detach() == gather(bound.detach(), blocks, "target")).to(messages.dtype)
        ties = scatter_sum(at, blocks, degree.shape[0], "target")
        found = found + at * gather(bound_grad / ties.clamp(min=1), blocks, "target")
    return found


def _extreme_backward(out: Tensor, messages: Tensor, blocks: EdgeBlocks, bound: Tensor, grad: Tensor) -> None:
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


# -- what topologies call: the operators, or what they do in plain steps where a transform looks on --------------------


def gather(nodes: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    """What the neuron at one end of every edge holds: `(networks, neurons, d)` to `(networks, edges, d)`."""
    return plain.gather(nodes, blocks, end) if plain.transformed() else _gather_directly(nodes, blocks, end)


def gather_add(source: Tensor, target: Tensor, blocks: Sequence[int]) -> Tensor:
    """`source[s] + target[t]` for every edge: `(networks, neurons, d)` twice to `(networks, edges, d)`."""
    return (plain.gather_add if plain.transformed() else _gather_add_directly)(source, target, blocks)


def scatter_sum(edges: Tensor, blocks: Sequence[int], count: Count, end: End) -> Tensor:
    """The sum over the edges of every neuron, at their targets or (`end="source"`) at their sources."""
    if plain.transformed():
        return plain.scatter_sum(edges, blocks, int(count), end)
    return _scatter_sum_directly(edges, blocks, count, end)


def scatter_statistics(messages: Tensor, degree: Tensor, blocks: Sequence[int]) -> Tensor:
    """Mean, minimum, maximum and deviation of the messages into every neuron, `(networks, neurons, 4d)`."""
    return (plain.scatter_statistics if plain.transformed() else _scatter_statistics_directly)(messages, degree, blocks)


def largest(logits: Tensor, blocks: Sequence[int], count: Count) -> Tensor:
    """The largest value over the edges that leave each neuron, without a gradient; 0 where none does."""
    if plain.transformed():
        return plain.extreme(logits, blocks, int(count), "source", True)
    found: Tensor = _largest_directly(logits, blocks, count)
    return found
