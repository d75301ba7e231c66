"""Which directed edges a metanetwork sees of a layout: arcs, the dense pieces every edge axis is made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout


@dataclass(frozen=True)
class Arc:
    """`rows × columns` edges that lie next to each other on the edge axis, row-major.

    `source` and `target` are runs of neurons; `source_axis` and `target_axis` tell which dimension of the
    `(rows, columns)` table each one labels. A one-to-one arc has one column and both on axis 0.
    """

    start: int
    rows: int
    columns: int
    source: slice
    target: slice
    source_axis: int
    target_axis: int

    @property
    def edges(self) -> slice:
        """Its place on the edge axis."""
        return slice(self.start, self.start + self.rows * self.columns)

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target neuron of every edge."""
        table = np.indices((self.rows, self.columns)).reshape(2, -1)
        return self.source.start + table[self.source_axis], self.target.start + table[self.target_axis]


def narrow(arcs: tuple[Arc, ...], neurons: slice, end: str) -> tuple[tuple[Arc, ...], np.ndarray]:
    """The edges whose `end` lies in a run of neurons: as arcs of their own, and their numbers among all edges."""
    kept, numbers, start = [], [np.arange(0)], 0
    for arc in arcs:
        place, axis = (arc.source, arc.source_axis) if end == "source" else (arc.target, arc.target_axis)
        first, last = max(place.start, neurons.start), min(place.stop, neurons.stop)
        if first >= last:
            continue
        table = arc.start + np.arange(arc.rows * arc.columns).reshape(arc.rows, arc.columns)
        chosen = np.take(table, np.arange(first - place.start, last - place.start), axis)
        ends = {"source": arc.source, "target": arc.target}
        axes = {"source": arc.source_axis, "target": arc.target_axis}
        for name in ends:
            if axes[name] == axis:  # the other end too, where the arc is one-to-one
                offset = ends[name].start - place.start
                ends[name] = slice(first + offset, last + offset)
        rows, columns = chosen.shape
        kept.append(Arc(start, rows, columns, ends["source"], ends["target"], arc.source_axis, arc.target_axis))
        numbers.append(chosen.reshape(-1))
        start += chosen.size
    return tuple(kept), np.concatenate(numbers)


@dataclass(frozen=True)
class Wiring(ABC):
    """The rule that lists the edges of a layout; a value without tensors.

    `copies` is how often every weight is encoded: 1 (its kernel) or 2 (the weight, and the weight read backwards).
    """

    copies: int = 1

    @property
    def paired(self) -> bool:
        """Whether every edge has a counterpart that runs the other way round."""
        return True

    @abstractmethod
    def arcs(self, layout: Layout) -> tuple[Arc, ...]:
        """The edges, as arcs in the order of the edge axis."""

    @abstractmethod
    def counterpart(self, layout: Layout) -> np.ndarray:
        """The edge that joins the same neurons the other way round, `(edges,)`."""

    def weight_places(self, layout: Layout) -> np.ndarray:
        """The edge of every weight, and then, if `copies` is 2, of every reversed weight: `(copies · weights,)`."""
        return np.arange(self.copies * layout.weights)

    def loop_places(self, layout: Layout) -> np.ndarray:
        """The edges that join a neuron to itself and are not a pair like any other: `(neurons,)` or `(0,)`."""
        return np.arange(0)


@dataclass(frozen=True)
class Forward(Wiring):
    """Every weight, from its source to its target."""

    @property
    def paired(self) -> bool:
        return False

    def arcs(self, layout: Layout) -> tuple[Arc, ...]:
        return _weights(layout)

    def counterpart(self, layout: Layout) -> np.ndarray:
        raise LayoutError("a forward wiring has no reversed edges; use Bidirectional, Looped or AllPairs")


@dataclass(frozen=True)
class Bidirectional(Wiring):
    """Every weight, then every weight again from its target to its source."""

    copies: int = 2

    def arcs(self, layout: Layout) -> tuple[Arc, ...]:
        return (*_weights(layout), *(_turn(arc, layout.weights) for arc in _weights(layout)))

    def counterpart(self, layout: Layout) -> np.ndarray:
        return np.roll(np.arange(2 * layout.weights), layout.weights)


@dataclass(frozen=True)
class Looped(Bidirectional):
    """Weights, reversed weights, and one edge from every neuron to itself."""

    def loop_places(self, layout: Layout) -> np.ndarray:
        return np.arange(2 * layout.weights, 2 * layout.weights + layout.neurons)

    def arcs(self, layout: Layout) -> tuple[Arc, ...]:
        everyone = slice(0, layout.neurons)
        loops = Arc(2 * layout.weights, layout.neurons, 1, everyone, everyone, 0, 0)
        return (*super().arcs(layout), loops)

    def counterpart(self, layout: Layout) -> np.ndarray:
        return np.concatenate([super().counterpart(layout), self.loop_places(layout)])


@dataclass(frozen=True)
class AllPairs(Wiring):
    """All ordered pairs of neurons, weight or not: edge `r · neurons + c` goes from neuron r to neuron c.

    With `copies=2` a pair also knows the weight that runs the other way.
    """

    def arcs(self, layout: Layout) -> tuple[Arc, ...]:
        everyone = slice(0, layout.neurons)
        return (Arc(0, layout.neurons, layout.neurons, everyone, everyone, 0, 1),)

    def weight_places(self, layout: Layout) -> np.ndarray:
        source, target = layout.ends
        forward, reverse = source * layout.neurons + target, target * layout.neurons + source
        return forward if self.copies == 1 else np.concatenate([forward, reverse])

    def counterpart(self, layout: Layout) -> np.ndarray:
        return np.arange(layout.neurons**2).reshape(layout.neurons, -1).T.reshape(-1)


@lru_cache(maxsize=4096)
def _weights(layout: Layout) -> tuple[Arc, ...]:
    """The blocks of a layout as arcs: rows are targets, columns sources, as in PyTorch's weight tensors."""
    arcs = []
    for block, place in zip(layout.blocks, layout.weight_slices, strict=True):
        rows, columns = layout.block_shape(block)
        source, target = layout.neuron_slices[block.source], layout.neuron_slices[block.target]
        if block.span is not None:
            source, target = (slice(end.start, end.start + block.span) for end in (source, target))
        arcs.append(Arc(place.start, rows, columns, source, target, 0 if block.span is not None else 1, 0))
    return tuple(arcs)


def _turn(arc: Arc, shift: int) -> Arc:
    return Arc(arc.start + shift, arc.rows, arc.columns, arc.target, arc.source, arc.target_axis, arc.source_axis)
