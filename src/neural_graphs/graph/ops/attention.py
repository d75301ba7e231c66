"""Relational attention over the edge blocks of a regular batch, with its gradients written out.

Queries, keys and gates of the edges are three contiguous tensors into which what neurons add is broadcast in place.
Values of the edges are never made: their weighted sum is the projection of the weighted sum of the edges.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op, register_autograd, register_fake

from neural_graphs.graph.edges import EdgeBlock, EdgeBlocks
from neural_graphs.graph.ops import plain
from neural_graphs.graph.ops.aggregate import add_up, peak
from neural_graphs.graph.ops.blocks import along, decode, neurons, table
from neural_graphs.graph.ops.direct import direct, eager, plainly
from neural_graphs.layout.strides import End

ATTEND = "neural_graphs::attend"
TENSORS = "Tensor nodes, Tensor edges, Tensor weight, int[] blocks, int heads, bool modulate"


@custom_op(ATTEND, mutates_args=(), schema=f"({TENSORS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)")
def _attend(
    nodes: Tensor, edges: Tensor, weight: Tensor, blocks: Sequence[int], heads: int, modulate: bool
) -> tuple[Tensor, ...]:  # fmt: skip
    """The answer, and what the gradient needs: queries, keys and gates of edges, shares, weighted sums of edges."""
    return _attended(nodes, edges, weight, decode(tuple(blocks)), heads, modulate, keep=True)


def _attended(
    nodes: Tensor, edges: Tensor, weight: Tensor, found: EdgeBlocks, heads: int, modulate: bool, keep: bool
) -> tuple[Tensor, ...]:  # fmt: skip
    """The same; unless `keep`, in two tensors of the edges where there are four, and only the answer is of use."""
    query, key, value = nodes.chunk(3, -1)
    width = query.shape[-1]
    to_query, to_key, to_value, *to_gate = weight.split(width)
    q, k = _project(edges, to_query), _project(edges, to_key)
    for block in found:
        table(q, block).add_(along(query, block, "source"))
        table(k, block).add_(along(key, block, "target"))
    buffer = torch.mul(q, k, out=None if keep else q)
    share = _by_head(buffer, heads).sum(-1).mul_(width**-0.5)
    _softmax(share, found, nodes.shape[1])
    gate = _project(edges, to_gate[0], out=None if keep else k) if modulate else None
    _gated(value, gate, found, "target", out=buffer)
    _by_head(buffer, heads).mul_(share[..., None])
    gathered = _weigh(share, edges, found, nodes.shape[1])  # (b, n, heads, d)
    out = torch.einsum("bnhd,hkd->bnhk", gathered, _by_head(to_value.T, heads).movedim(0, -1)).flatten(2)
    add_up(buffer, found, "source", out)
    return out, q, k, gate if gate is not None else q.new_empty(0), share, gathered


def attend(
    nodes: Tensor, edges: Tensor, weight: Tensor, blocks: Sequence[int], heads: int, modulate: bool
) -> Tensor:  # fmt: skip
    """See `Topology.attend`: `nodes (b, n, 3a)`, `edges (b, e, d)`, `weight (3a or 4a, d)` to `(b, n, a)`."""
    if plain.transformed():
        return plain.attend(nodes, edges, weight, blocks, heads, modulate)
    if eager(nodes) and not torch.is_grad_enabled():
        return _attended(nodes, edges, weight, decode(tuple(blocks)), heads, modulate, keep=False)[0]
    return _directly(nodes, edges, weight, blocks, heads, modulate)


@register_fake(ATTEND)
def _(
    nodes: Tensor, edges: Tensor, weight: Tensor, blocks: Sequence[int], heads: int, modulate: bool
) -> tuple[Tensor, ...]:  # fmt: skip
    (networks, count, width), (_, every, features) = nodes.shape, edges.shape
    width //= 3
    project = edges.new_empty(networks, every, width)
    gate = torch.empty_like(project) if modulate else edges.new_empty(0)
    share, gathered = edges.new_empty(networks, every, heads), edges.new_empty(networks, count, heads, features)
    return edges.new_empty(networks, count, width), project, torch.empty_like(project), gate, share, gathered


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    nodes, edges, weight, *ctx.options = inputs
    ctx.save_for_backward(nodes, edges, weight, *output[1:])


def _attend_backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
    nodes, edges, weight, *kept = ctx.saved_tensors
    if torch.is_grad_enabled():  # a gradient of this gradient is asked for
        inputs = [each if each.requires_grad else each.detach().requires_grad_() for each in (nodes, edges, weight)]
        answer = plain.attend(*inputs, *ctx.options)
        return *torch.autograd.grad(answer, inputs, grad, create_graph=True), None, None, None
    return *_backward_directly(grad, nodes, edges, weight, *kept, *ctx.options), None, None, None


register_autograd(ATTEND, _attend_backward, setup_context=_keep)
_directly = direct(_attend, _keep, _attend_backward)

BACKWARD = "neural_graphs::attend_backward"
KEPT = "Tensor q, Tensor k, Tensor gates, Tensor share, Tensor gathered"
OF_BACKWARD = TENSORS.replace("weight,", f"weight, {KEPT},")


@custom_op(BACKWARD, mutates_args=(), schema=f"(Tensor grad, {OF_BACKWARD}) -> (Tensor, Tensor, Tensor)")
def attend_backward(
    grad: Tensor, nodes: Tensor, edges: Tensor, weight: Tensor, q: Tensor, k: Tensor, gates: Tensor, share: Tensor,
    gathered: Tensor, blocks: Sequence[int], heads: int, modulate: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of nodes, edges and weight, in place; see `plain.attend`."""
    value, gate = nodes.chunk(3, -1)[2], gates if modulate else None
    width, count, found = nodes.shape[-1] // 3, nodes.shape[1], decode(tuple(blocks))
    to_query, to_key, to_value, *to_gate = weight.split(width)
    by_head = _by_head(to_value.T, heads).movedim(0, -1)  # (heads, a / heads, d)
    out_grad = _by_head(grad, heads)
    pull = torch.einsum("bnhk,hkd->bnhd", out_grad, by_head)  # what the answer asks of the weighted sum of edges
    nodes_grad = value.new_zeros(*value.shape[:2], 3 * width)
    query_grad, key_grad, value_grad = nodes_grad.chunk(3, -1)
    weight_grad, edges_grad = torch.empty_like(weight), torch.empty_like(edges)
    # values: out = Σ share · (value ⊙ gate) + W_v Σ share · edge
    message, sent = torch.empty_like(q), torch.empty_like(q)
    _gated(grad, gate, found, "source", out=sent)
    for block in found:
        torch.mul(table(sent, block), along(value, block, "target"), out=table(message, block))
    share_grad = _by_head(message, heads).sum(-1)
    for block in found:
        share_part, edge_part = _pull_back(block, pull, share, edges)
        table(share_grad, block).add_(share_part)
        table(edges_grad, block).copy_(edge_part)
    _by_head(sent, heads).mul_(share[..., None])
    add_up(sent, found, "target", value_grad)
    if gate is not None:
        for block in found:
            torch.mul(along(grad, block, "source"), along(value, block, "target"), out=table(sent, block))
        _by_head(sent, heads).mul_(share[..., None])
        _project_back(sent, to_gate[0], edges, edges_grad, weight_grad[3 * width :])
    weight_grad[2 * width : 3 * width] = torch.einsum("bnhk,bnhd->hkd", out_grad, gathered).flatten(0, 1)
    # queries and keys
    logit_grad = _softmax_grad(share, share_grad, found, count).mul_(width**-0.5)[..., None]
    torch.mul(_by_head(k, heads), logit_grad, out=_by_head(message, heads))
    torch.mul(_by_head(q, heads), logit_grad, out=_by_head(sent, heads))
    add_up(message, found, "source", query_grad)
    add_up(sent, found, "target", key_grad)
    _project_back(message, to_query, edges, edges_grad, weight_grad[:width])
    _project_back(sent, to_key, edges, edges_grad, weight_grad[width : 2 * width])
    return nodes_grad, edges_grad, weight_grad


@register_fake(BACKWARD)
def _(
    grad: Tensor, nodes: Tensor, edges: Tensor, weight: Tensor, q: Tensor, k: Tensor, gates: Tensor, share: Tensor,
    gathered: Tensor, blocks: Sequence[int], heads: int, modulate: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(nodes), torch.empty_like(edges), torch.empty_like(weight)


_backward_directly = plainly(attend_backward)


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1))


def _project(edges: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    flat = torch.mm(edges.flatten(0, 1), weight.T, out=None if out is None else out.flatten(0, 1))
    return flat.unflatten(0, edges.shape[:2])


def _project_back(grad: Tensor, weight: Tensor, edges: Tensor, edges_grad: Tensor, weight_grad: Tensor) -> None:
    """Add the gradient of `edges @ weight.T` to that of the edges, and write that of the weight."""
    flat = grad.flatten(0, 1)
    edges_grad.view(-1, edges_grad.shape[-1]).addmm_(flat, weight)
    weight_grad.copy_((edges.flatten(0, 1).T @ flat).T)


def _gated(nodes: Tensor, gate: Tensor | None, blocks: EdgeBlocks, end: End, out: Tensor) -> None:
    """What the neuron at one end of every edge holds, ⊙ its gate."""
    for block in blocks:
        sent = along(nodes, block, end)
        if gate is None:
            table(out, block).copy_(sent)
        else:
            torch.mul(table(gate, block), sent, out=table(out, block))


def _rows(edges: Tensor, block: EdgeBlock) -> Tensor:
    """The edges that leave each neuron of an edge block, `(b, sources, edges each, d)`."""
    kept_dims, reduced_dims = block.kept_dims["source"], block.reduced_dims["source"]
    rows = table(edges, block).permute(0, *(1 + dim for dim in (*kept_dims, *reduced_dims)), -1)
    return rows.reshape(edges.shape[0], prod(rows.shape[1 : 1 + len(kept_dims)]), -1, edges.shape[-1])


def _unrows(rows: Tensor, block: EdgeBlock) -> Tensor:
    """The inverse of `_rows`: a table `(b, *sizes, d)`."""
    dims = (*block.kept_dims["source"], *block.reduced_dims["source"])
    order = [dims.index(dim) for dim in range(len(dims))]
    unflat = rows.reshape(rows.shape[0], *(block.table.sizes[dim] for dim in dims), rows.shape[-1])
    return unflat.permute(0, *(1 + dim for dim in order), -1)


def _weigh(share: Tensor, edges: Tensor, blocks: EdgeBlocks, count: int) -> Tensor:
    """`Σ share · edge` over the edges that leave each neuron, `(b, n, heads, d)`."""
    out = edges.new_zeros(edges.shape[0], count, share.shape[-1], edges.shape[-1])
    for block in blocks:
        place, shares, rows = neurons(out, block, "source"), _rows(share, block).mT, _rows(edges, block)
        sums = shares @ rows if rows.shape[2] > 1 else shares * rows  # of one edge each a product of matrices is slow
        place.add_(sums.view(place.shape))
    return out


def _pull_back(block: EdgeBlock, pull: Tensor, share: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the shares and the edges of one edge block from that of `_weigh`, as tables."""
    asked = neurons(pull, block, "source").reshape(pull.shape[0], -1, *pull.shape[2:])  # (b, sources, heads, d)
    return _unrows(_rows(edges, block) @ asked.mT, block), _unrows(_rows(share, block) @ asked, block)


def _softmax(logits: Tensor, blocks: EdgeBlocks, count: int) -> None:
    """Normalise in place over the edges that leave each neuron."""
    top = peak(logits, blocks, count)
    for block in blocks:
        table(logits, block).sub_(along(top, block, "source"))
    total = torch.zeros_like(top)
    add_up(logits.exp_(), blocks, "source", total)
    for block in blocks:
        table(logits, block).div_(along(total, block, "source"))


def _softmax_grad(share: Tensor, grad: Tensor, blocks: EdgeBlocks, count: int) -> Tensor:
    """The gradient of the logits from that of the shares."""
    grad = grad * share
    total = grad.new_zeros(grad.shape[0], count, grad.shape[2])
    add_up(grad, blocks, "source", total)
    for block in blocks:
        table(grad, block).addcmul_(table(share, block), along(total, block, "source"), value=-1)
    return grad
