"""Which directed edges a metanetwork sees of a layout: edge blocks, the strided pieces every edge axis is made of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from neural_graphs.errors import LayoutError
from neural_graphs.graph.constants import constant
from neural_graphs.layout import Layout
from neural_graphs.layout.strides import End, Table


@dataclass(frozen=True)
class EdgeBlock:
    """Edges that lie next to each other on the edge axis: a table, row-major, from `start` on.

    `source` and `target` are the neurons that the first edge joins.
    """

    start: int
    table: Table
    source: int
    target: int

    @cached_property
    def edges(self) -> slice:
        """Its place on the edge axis."""
        return slice(self.start, self.start + self.table.size)

    @property
    def size(self) -> int:
        """The number of edges."""
        return self.table.size

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target neuron of every edge."""
        source, target = self.table.ends
        return self.source + source, self.target + target

    @cached_property
    def kept_dims(self) -> dict[End, tuple[int, ...]]:
        """The dimensions of the table along which each end moves."""
        return {"source": _dims(self.table.source, True), "target": _dims(self.table.target, True)}

    @cached_property
    def reduced_dims(self) -> dict[End, tuple[int, ...]]:
        """The dimensions along which each end stays: its edges."""
        return {"source": _dims(self.table.source, False), "target": _dims(self.table.target, False)}

    def first(self, end: End) -> int:
        """The neuron of the first edge."""
        return self.source if end == "source" else self.target

    def last(self, end: End) -> int:
        """The neuron of the last edge."""
        steps = zip(self.table.sizes, self.table.strides(end), strict=True)
        return self.first(end) + sum((size - 1) * stride for size, stride in steps)


EdgeBlocks: TypeAlias = tuple[EdgeBlock, ...]


def _dims(strides: tuple[int, ...], moves: bool) -> tuple[int, ...]:
    return tuple(dim for dim, stride in enumerate(strides) if bool(stride) == moves)


def runs(neurons: np.ndarray) -> list[slice]:
    """Ascending neurons as slices of consecutive ones."""
    parts = np.split(neurons, np.flatnonzero(np.diff(neurons) > 1) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def subset(blocks: EdgeBlocks, neurons: Sequence[slice], end: End) -> tuple[EdgeBlocks, np.ndarray]:
    """The edges whose `end` lies in runs of neurons: as blocks of their own, and their numbers."""
    kept: list[EdgeBlock] = []
    numbers, start = [np.arange(0)], 0
    for block in blocks:
        for run in neurons:
            cut = _cut(block, run, end)
            if cut is None:
                continue
            piece, chosen = cut
            kept.append(EdgeBlock(start, piece.table, piece.source, piece.target))
            numbers.append(chosen)
            start += piece.size
    return tuple(kept), np.concatenate(numbers)


def _cut(block: EdgeBlock, run: slice, end: End) -> tuple[EdgeBlock, np.ndarray] | None:
    """The part of a block whose `end` lies in a run of neurons, and the numbers of its edges; None where it is empty.

    Weights end in groups, which lie in the run as a whole or not at all; loops and pairs have one dimension to cut.
    """
    first, last = block.first(end), block.last(end)
    every = block.start + np.arange(block.size)
    if last < run.start or first >= run.stop:
        return None
    if run.start <= first and last < run.stop:
        return block, every
    (dim,), strides = block.kept_dims[end], block.table.strides(end)
    low, high = max(run.start - first, 0), min(run.stop - first, block.table.sizes[dim])
    if strides[dim] != 1:
        raise LayoutError(f"neurons {run.start} … {run.stop - 1} cut an edge block that takes steps of {strides[dim]}")
    sizes = (*block.table.sizes[:dim], high - low, *block.table.sizes[dim + 1 :])
    table = Table(sizes, block.table.source, block.table.target)
    shift = low * block.table.source[dim], low * block.table.target[dim]
    chosen = np.take(every.reshape(block.table.sizes), np.arange(low, high), dim)
    return EdgeBlock(block.start, table, block.source + shift[0], block.target + shift[1]), chosen.reshape(-1)


@dataclass(frozen=True)
class Wiring(ABC):
    """The rule that lists the edges of a layout; a value without tensors.

    `copies` is how often every weight is encoded: 1 (its kernel) or 2 (the weight, and the weight read backwards).
    """

    copies: int = 1

    @property
    def paired(self) -> bool:
        """Whether every edge has a reverse that runs the other way round."""
        return True

    @abstractmethod
    def edge_blocks(self, layout: Layout) -> tuple[EdgeBlock, ...]:
        """The edges, as edge blocks in the order of the edge axis."""

    @abstractmethod
    def reverse(self, layout: Layout) -> np.ndarray:
        """The edge that joins the same neurons the other way round, `(edges,)`."""

    def weight_indices(self, layout: Layout) -> np.ndarray:
        """The edge of every weight, and then, if `copies` is 2, of every reversed weight: `(copies · weights,)`."""
        return np.arange(self.copies * layout.weights)

    def loop_indices(self, layout: Layout) -> np.ndarray:
        """The edges that join a neuron to itself and are not a pair like any other: `(neurons,)` or `(0,)`."""
        return np.arange(0)


@dataclass(frozen=True)
class Forward(Wiring):
    """Every weight, from its source to its target."""

    @property
    def paired(self) -> bool:
        return False

    def edge_blocks(self, layout: Layout) -> tuple[EdgeBlock, ...]:
        return _weights(layout)

    def reverse(self, layout: Layout) -> np.ndarray:
        raise LayoutError("a forward wiring has no reversed edges; use Bidirectional, Looped or AllPairs")


@dataclass(frozen=True)
class Bidirectional(Wiring):
    """Every weight, then every weight again from its target to its source."""

    copies: int = 2

    def edge_blocks(self, layout: Layout) -> tuple[EdgeBlock, ...]:
        return (*_weights(layout), *(_turn(block, layout.weights) for block in _weights(layout)))

    def reverse(self, layout: Layout) -> np.ndarray:
        return np.roll(np.arange(2 * layout.weights), layout.weights)


@dataclass(frozen=True)
class Looped(Bidirectional):
    """Weights, reversed weights, and one edge from every neuron to itself."""

    def loop_indices(self, layout: Layout) -> np.ndarray:
        return np.arange(2 * layout.weights, 2 * layout.weights + layout.neurons)

    def edge_blocks(self, layout: Layout) -> tuple[EdgeBlock, ...]:
        return (*super().edge_blocks(layout), EdgeBlock(2 * layout.weights, Table.one_to_one(layout.neurons), 0, 0))

    def reverse(self, layout: Layout) -> np.ndarray:
        return np.concatenate([super().reverse(layout), self.loop_indices(layout)])


@dataclass(frozen=True)
class AllPairs(Wiring):
    """All ordered pairs of neurons, weight or not: edge `r · neurons + c` goes from neuron r to neuron c.

    With `copies=2` a pair also knows the weight that runs the other way.
    """

    def edge_blocks(self, layout: Layout) -> tuple[EdgeBlock, ...]:
        return (EdgeBlock(0, Table.dense(layout.neurons, layout.neurons).turned, 0, 0),)

    def weight_indices(self, layout: Layout) -> np.ndarray:
        source, target = layout.ends
        forward, reverse = source * layout.neurons + target, target * layout.neurons + source
        return forward if self.copies == 1 else np.concatenate([forward, reverse])

    def reverse(self, layout: Layout) -> np.ndarray:
        return np.arange(layout.neurons**2).reshape(layout.neurons, -1).T.reshape(-1)


@constant()
def _weights(layout: Layout) -> tuple[EdgeBlock, ...]:
    """The blocks of a layout as edge blocks."""
    edge_blocks = []
    for block, table, place in zip(layout.blocks, layout.tables, layout.weight_slices, strict=True):
        source = layout.neuron_slices[block.source].start + table.first
        target = layout.neuron_slices[block.target].start
        edge_blocks.append(EdgeBlock(place.start, table.short, source, target))
    return tuple(edge_blocks)


def _turn(block: EdgeBlock, shift: int) -> EdgeBlock:
    return EdgeBlock(block.start + shift, block.table.turned, block.target, block.source)
