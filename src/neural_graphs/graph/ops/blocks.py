"""Edge blocks as whole numbers, which is how registered operators take them; and the strided views they make."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from neural_graphs.graph.edges import EdgeBlock, EdgeBlocks
from neural_graphs.layout.strides import End, Table

Reduce: TypeAlias = Callable[[Tensor, tuple[int, ...]], Tensor]
Code: TypeAlias = tuple[int, ...]


def encode(blocks: Sequence[EdgeBlock]) -> Code:
    """Edge blocks as one row of numbers: of each where it starts, its first neurons, its rank, sizes and strides.

    >>> blocks = (EdgeBlock(0, Table.dense(3, 2), source=0, target=2),)
    >>> encode(blocks), decode(encode(blocks)) == blocks
    ((0, 0, 2, 2, 3, 2, 0, 1, 1, 0), True)
    """
    found: list[int] = []
    for block in blocks:
        table = block.table
        found += [block.start, block.source, block.target, len(table.sizes)]
        found += [*table.sizes, *table.source, *table.target]
    return tuple(map(int, found))


@lru_cache(maxsize=1024)
def decode(code: Code) -> EdgeBlocks:
    """The edge blocks that numbers stand for."""
    found, place = [], 0
    while place < len(code):
        start, source, target, rank = code[place : place + 4]
        place += 4
        sizes, sources, targets = (tuple(code[place + rank * k : place + rank * (k + 1)]) for k in range(3))
        place += 3 * rank
        found.append(EdgeBlock(start, Table(sizes, sources, targets), source, target))
    return tuple(found)


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
