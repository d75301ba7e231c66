"""Weighted sums over the edges of every neuron, and products across edges: each is the other's gradient.

`propagate` is what graph libraries call u_mul_e_sum, `edge_products` u_dot_v. A dense edge block is a product of
matrices per network and head, so no feature of a neuron is ever copied to its edges.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op, register_autograd, register_fake

from neural_graphs.graph.edges import EdgeBlock
from neural_graphs.graph.ops import plain
from neural_graphs.graph.ops.aggregate import Count, edge_count
from neural_graphs.graph.ops.blocks import decode, neurons, table
from neural_graphs.graph.ops.direct import direct
from neural_graphs.graph.ops.folding import over_networks
from neural_graphs.layout.strides import End

OTHER: dict[End, End] = {"target": "source", "source": "target"}
NETWORK, HEAD, FEATURE = 49, 50, 51  # indices of einsum; those before are the dimensions of a table


def _held(block: EdgeBlock, end: End) -> list[int]:
    """The indices of what the neurons at one end of an edge block hold."""
    return [NETWORK, *block.kept_dims[end], HEAD, FEATURE]


def _edges(block: EdgeBlock) -> list[int]:
    """The indices of a table of gates."""
    return [NETWORK, *range(len(block.table.sizes)), HEAD]


PROPAGATE = "neural_graphs::propagate"


@custom_op(PROPAGATE, mutates_args=(), schema="(Tensor nodes, Tensor gates, int[] blocks, str end) -> Tensor")
def _propagate(nodes: Tensor, gates: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    """At the `end` of every edge, the sum of gate ⊙ what the neuron at its other end holds, head by head.

    `nodes` `(networks, neurons, d)`, `gates` `(networks, edges, heads)`, to `(networks, neurons, d)`.
    """
    held = nodes.unflatten(-1, (gates.shape[-1], -1))
    out = torch.zeros_like(held, memory_format=torch.contiguous_format)
    for block in decode(tuple(blocks)):
        sent = neurons(held, block, OTHER[end])
        found = (table(gates, block), _edges(block), sent, _held(block, OTHER[end]), _held(block, end))
        neurons(out, block, end).add_(torch.einsum(*found))
    return out.flatten(-2)


@register_fake(PROPAGATE)
def _(nodes: Tensor, gates: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    return torch.empty_like(nodes, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    first, second, *ctx.rest = inputs
    ctx.save_for_backward(first, second)


def _propagate_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    (nodes, gates), (blocks, end) = ctx.saved_tensors, ctx.rest
    needed, heads = ctx.needs_input_grad, gates.shape[-1]
    source, target = (nodes, grad) if end == "target" else (grad, nodes)
    return (
        propagate(grad, gates, blocks, OTHER[end]) if needed[0] else None,
        edge_products(source, target, blocks, heads) if needed[1] else None,
        None,
        None,
    )


register_autograd(PROPAGATE, _propagate_backward, setup_context=_keep)
over_networks(PROPAGATE, _propagate, 2)
_propagate_directly = direct(_propagate, _keep, _propagate_backward)

PRODUCTS = "neural_graphs::edge_products"


@custom_op(PRODUCTS, mutates_args=(), schema="(Tensor source, Tensor target, int[] blocks, int heads) -> Tensor")
def _edge_products(source: Tensor, target: Tensor, blocks: Sequence[int], heads: Count) -> Tensor:
    """For every edge the inner product, head by head, of what its source and its target hold.

    `(networks, neurons, d)` twice, to `(networks, edges, heads)`.
    """
    found = decode(tuple(blocks))
    out = source.new_empty(source.shape[0], edge_count(found), heads)
    first, second = source.unflatten(-1, (heads, -1)), target.unflatten(-1, (heads, -1))
    for block in found:
        moves = sorted({*block.kept_dims["source"], *block.kept_dims["target"]})
        products = torch.einsum(
            neurons(first, block, "source"), _held(block, "source"),
            neurons(second, block, "target"), _held(block, "target"), [NETWORK, *moves, HEAD],
        )  # fmt: skip
        for dim in sorted(set(range(len(block.table.sizes))) - set(moves)):  # edges that join the same neurons
            products = products.unsqueeze(1 + dim)
        table(out, block).copy_(products)
    return out


@register_fake(PRODUCTS)
def _(source: Tensor, target: Tensor, blocks: Sequence[int], heads: Count) -> Tensor:
    return source.new_empty(source.shape[0], edge_count(decode(tuple(blocks))), heads)


def _products_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    (source, target), blocks, needed = ctx.saved_tensors, ctx.rest[0], ctx.needs_input_grad
    return (
        propagate(target, grad, blocks, "source") if needed[0] else None,
        propagate(source, grad, blocks, "target") if needed[1] else None,
        None,
        None,
    )


register_autograd(PRODUCTS, _products_backward, setup_context=_keep)
over_networks(PRODUCTS, _edge_products, 2)
_products_directly = direct(_edge_products, _keep, _products_backward)


def propagate(nodes: Tensor, gates: Tensor, blocks: Sequence[int], end: End) -> Tensor:
    """At the `end` of every edge, the sum of gate ⊙ what the neuron at its other end holds, head by head."""
    return (plain.propagate if plain.transformed() else _propagate_directly)(nodes, gates, blocks, end)


def edge_products(source: Tensor, target: Tensor, blocks: Sequence[int], heads: Count) -> Tensor:
    """For every edge the inner product, head by head, of what its source and its target hold."""
    if plain.transformed():
        return plain.edge_products(source, target, blocks, int(heads))
    return _products_directly(source, target, blocks, heads)
