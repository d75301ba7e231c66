"""The same operators by index tensors, one operator of torch after another: what ours are tested against.

Under the transforms of `torch.func` (`grad`, `vmap`, `jvp`) these run in their place: those see through all they do.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.graph.constants import constant
from neural_graphs.graph.ops.blocks import Code, decode
from neural_graphs.layout.strides import End

FLOOR = 1e-5  # variances below it count as zero, and so do their gradients (released PNA aggregation)


def transformed() -> bool:
    """Whether a transform of `torch.func` is at work."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


@constant(256)
def _index(code: Code, end: End, device: torch.device) -> Tensor:
    """The neuron at one end of every edge, `(edges,)`."""
    ends = [block.ends[0 if end == "source" else 1] for block in decode(code)]
    return torch.from_numpy(np.concatenate(ends)).to(device)


def gather(nodes: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    """What the neuron at one end of every edge holds."""
    return nodes.index_select(1, _index(tuple(blocks), end, nodes.device))


def gather_add(source: Tensor, target: Tensor, blocks: Sequence[int]) -> Tensor:
    """`source[s] + target[t]` for every edge."""
    return gather(source, blocks, "source") + gather(target, blocks, "target")


def scatter_sum(edges: Tensor, blocks: Sequence[int], count: int, end: End) -> Tensor:
    """The sum over the edges of every neuron."""
    index = _index(tuple(blocks), end, edges.device)
    return edges.new_zeros(edges.shape[0], count, edges.shape[2]).index_add(1, index, edges)


def extreme(edges: Tensor, blocks: Sequence[int], count: int, end: End, largest: bool) -> Tensor:
    """The largest or smallest value over the edges of every neuron, without a gradient; 0 where there is none."""
    index = _index(tuple(blocks), end, edges.device)[None, :, None].expand_as(edges)
    start = edges.new_zeros(edges.shape[0], count, edges.shape[2])
    return start.scatter_reduce(1, index, edges.detach(), "amax" if largest else "amin", include_self=False)


def scatter_statistics(messages: Tensor, degree: Tensor, blocks: Sequence[int]) -> Tensor:
    """Mean, minimum, maximum and deviation of the messages into every neuron, `(networks, neurons, 4d)`."""
    count, number = degree.shape[0], degree.clamp(min=1).to(messages.dtype)
    mean = scatter_sum(messages, blocks, count, "target") / number
    variance = scatter_sum(messages * messages, blocks, count, "target") / number - mean * mean
    deviation = torch.where(variance > FLOOR, variance.clamp(min=FLOOR).sqrt(), 0.0)
    bounds = [_bound(messages, blocks, count, largest) for largest in (False, True)]
    return torch.cat([mean, *bounds, deviation], -1)


def _bound(messages: Tensor, blocks: Sequence[int], count: int, largest: bool) -> Tensor:
    """A minimum or maximum that shares its gradient evenly between the messages that reach it."""
    bound = extreme(messages, blocks, count, "target", largest)
    at = (messages.detach() == gather(bound, blocks, "target")).to(messages.dtype)
    ties = gather(scatter_sum(at, blocks, count, "target").clamp(min=1), blocks, "target")
    return scatter_sum(messages * at / ties, blocks, count, "target")


def attend(
    nodes: Tensor, edges: Tensor, weight: Tensor, blocks: Sequence[int], heads: int, modulate: bool
) -> Tensor:  # fmt: skip
    """Relational attention, see `Topology.attend`."""
    q, k, v = nodes.chunk(3, -1)
    width, count = q.shape[-1], nodes.shape[1]
    q_e, k_e, v_e, *gate = F.linear(edges, weight).split(width, -1)
    product = (gather(q, blocks, "source") + q_e) * (gather(k, blocks, "target") + k_e)
    logits = product.unflatten(-1, (heads, -1)).sum(-1) * width**-0.5
    powers = (logits - gather(extreme(logits, blocks, count, "source", True), blocks, "source")).exp()
    share = powers / gather(scatter_sum(powers, blocks, count, "source"), blocks, "source")
    sent = gather(v, blocks, "target")
    value = sent * gate[0] + v_e if modulate else sent + v_e
    weighed = (share[..., None] * value.unflatten(-1, (heads, -1))).flatten(-2)
    return scatter_sum(weighed, blocks, count, "source")


def propagate(nodes: Tensor, gates: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    """The sum over the edges of every neuron of gate ⊙ what the other end holds, see `Topology.propagate`."""
    sent = gather(nodes, blocks, "source" if end == "target" else "target").unflatten(-1, (gates.shape[-1], -1))
    return scatter_sum((gates[..., None] * sent).flatten(-2), blocks, nodes.shape[1], end)


def edge_products(source: Tensor, target: Tensor, blocks: Sequence[int], heads: int) -> Tensor:
    """Inner products across edges, see `Topology.edge_products`."""
    product = gather(source, blocks, "source") * gather(target, blocks, "target")
    return product.unflatten(-1, (heads, -1)).sum(-1)
