"""`Topology`: a batch of layouts as index structure; the only place that knows regular batches from mixed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.reductions import Spread, Statistics, SumTo, peak
from neural_graphs.structure import kernel_places, structure
from neural_graphs.wiring import Wiring

NeuronTable = Callable[[Layout], np.ndarray]  # one whole number per neuron


@dataclass(frozen=True)
class Kernels:
    """The weights of one kernel shape: raw numbers `(*batch, weights, kernel, channels)`, and the block of each within
    its network, `(weights,)`."""

    shape: tuple[int, ...]
    values: Tensor
    blocks: Tensor


class Topology(ABC):
    """A batch of layouts under one wiring.

    Feature tensors are `(*batch, neurons, d)` and `(*batch, edges, d)`: a batch axis where all networks share one layout
    (`Regular`), one long axis where they differ (`Ragged`). Verbs: `spread` (neurons → edges), `statistics`, `sum` and
    `softmax` (edges → neurons), `mean` and `outputs` (neurons → networks).
    """

    wiring: Wiring
    in_degree: Tensor  # (neurons, 1) float64

    @staticmethod
    def of(networks: Networks, wiring: Wiring) -> Topology:
        """The topology of these networks; index structure is cached per layout and device."""
        from neural_graphs.ragged import Ragged

        device = networks.values.device
        if networks.regular:
            return Regular(networks.layout, len(networks), wiring, device)
        return Ragged(networks.layouts, wiring, device)

    @abstractmethod
    def kernels(self, networks: Networks) -> list[Kernels]:
        """The raw numbers of all weights by kernel shape."""

    @abstractmethod
    def biases(self, networks: Networks) -> tuple[Tensor, Tensor]:
        """Biases `(*batch, neurons, channels)`, 0 where a neuron has none, and the mask `(neurons, 1)` of those that do."""

    @abstractmethod
    def arrange(self, pieces: list[Tensor], loop: Tensor | None, absent: Tensor | None) -> Tensor:
        """Put encoded weights on the edge axis.

        `pieces` holds `(*batch, weights, d)` per kernel shape, copy after copy; `loop` and `absent`, `(d,)`, are the
        features of an edge from a neuron to itself and of a pair without a weight, where the wiring has them.
        """

    @abstractmethod
    def spread(self, source: Tensor, target: Tensor) -> Tensor:
        """`source[s] + target[t]` for every edge s → t: `(*batch, neurons, d)` twice to `(*batch, edges, d)`."""

    @abstractmethod
    def statistics(self, messages: Tensor) -> Tensor:
        """Mean, minimum, maximum and deviation of the messages into every neuron, `(*batch, neurons, 4d)`."""

    @abstractmethod
    def sum(self, edges: Tensor, end: str = "target") -> Tensor:
        """The sum over the edges of every neuron, at their targets or (`end="source"`) at their sources."""

    @abstractmethod
    def softmax(self, logits: Tensor) -> Tensor:
        """Normalise `(*batch, edges, heads)` over the edges that leave each neuron."""

    @abstractmethod
    def counterpart(self, edges: Tensor) -> Tensor:
        """For every edge the features of the edge that joins the same neurons the other way round."""

    @abstractmethod
    def weights(self, edges: Tensor) -> Tensor:
        """The features of the weights in the layouts' order, `(*batch, weights, d)`."""

    @abstractmethod
    def mean(self, nodes: Tensor) -> Tensor:
        """The mean over the neurons of each network, `(networks, d)`."""

    @abstractmethod
    def repeat(self, features: Tensor) -> Tensor:
        """Features of networks `(networks, d)`, given to each of their neurons: broadcasts against `nodes`."""

    @abstractmethod
    def outputs(self, nodes: Tensor) -> Tensor:
        """The features of the output neurons, `(networks, outputs, d)`. Raises LayoutError where their numbers differ."""

    @abstractmethod
    def neuron_index(self, table: NeuronTable) -> Tensor:
        """A function of the layout with one whole number per neuron, as a tensor `(neurons,)`."""

    @abstractmethod
    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor) -> Networks:
        """Networks whose weights and biases are these: the inverse of `kernels` and `biases`."""


class Regular(Topology):
    """All networks share one layout: a batch axis, and arcs that are dense tables."""

    def __init__(self, layout: Layout, count: int, wiring: Wiring, device: torch.device):
        self.layout, self.count, self.wiring, self.device = layout, count, wiring, device
        self.structure = structure(layout, wiring, device)
        self.arcs = self.structure.arcs
        self.in_degree = self.structure.in_degree

    def kernels(self, networks: Networks) -> list[Kernels]:
        found = []
        for places in kernel_places(self.layout):
            blocks = [self.layout.blocks[i] for i in dict.fromkeys(places.blocks.tolist())]
            counts = [int((places.blocks == i).sum()) for i in dict.fromkeys(places.blocks.tolist())]
            values = [
                networks.values.new_ones(self.count, count, places.size, *networks.values.shape[2:])
                if block.parameter is None
                else networks.values[:, self.layout.slices[block.parameter]].unflatten(1, (count, places.size))
                for block, count in zip(blocks, counts, strict=True)
            ]
            ids = torch.from_numpy(places.blocks).to(self.device)
            kernels = torch.cat(values, 1) if len(values) > 1 else values[0]
            found.append(Kernels(places.shape, kernels.reshape(*kernels.shape[:3], -1), ids))
        return found

    def biases(self, networks: Networks) -> tuple[Tensor, Tensor]:
        columns = [
            networks.values.new_zeros(self.count, group.size, *networks.values.shape[2:])
            if group.bias is None
            else networks.values[:, self.layout.slices[group.bias]]
            for group in self.layout.groups
        ]
        return torch.cat(columns, 1).reshape(self.count, self.layout.neurons, -1), self.structure.has_bias

    def arrange(self, pieces: list[Tensor], loop: Tensor | None, absent: Tensor | None) -> Tensor:
        if self.structure.recipe is None and len(pieces) == 1:
            return pieces[0]
        if self.structure.recipe is None:
            return torch.cat(pieces, 1)
        extra = [x if x is not None else pieces[0].new_zeros(pieces[0].shape[-1]) for x in (loop, absent)]
        every = torch.cat([*pieces, torch.stack(extra).expand(self.count, 2, -1)], 1)
        return every.index_select(1, self.structure.recipe)

    def spread(self, source: Tensor, target: Tensor) -> Tensor:
        return Spread.apply(source, target, self.arcs)  # type: ignore[no-untyped-call]

    def statistics(self, messages: Tensor) -> Tensor:
        return Statistics.apply(messages, self.arcs, self.in_degree)  # type: ignore[no-untyped-call]

    def sum(self, edges: Tensor, end: str = "target") -> Tensor:
        return SumTo.apply(edges, self.arcs, self.layout.neurons, end)  # type: ignore[no-untyped-call]

    def softmax(self, logits: Tensor) -> Tensor:
        if len(self.arcs) == 1:
            return logits.unflatten(1, (self.arcs[0].rows, -1)).softmax(2).flatten(1, 2)
        top = peak(logits.detach(), self.arcs, self.layout.neurons)
        powers = (logits - self.spread(top, torch.zeros_like(top))).exp()
        total = self.sum(powers, "source")
        return powers / self.spread(total, torch.zeros_like(total))

    def counterpart(self, edges: Tensor) -> Tensor:
        if len(self.arcs) == 1:
            return edges.unflatten(1, (self.arcs[0].rows, -1)).transpose(1, 2).flatten(1, 2)
        return edges[:, self.structure.counterpart]

    def weights(self, edges: Tensor) -> Tensor:
        if len(self.arcs) == 1:
            return edges.index_select(1, self.structure.weight_places[: self.layout.weights])
        return edges[:, : self.layout.weights]

    def mean(self, nodes: Tensor) -> Tensor:
        return nodes.mean(1)

    def repeat(self, features: Tensor) -> Tensor:
        return features[:, None]

    def outputs(self, nodes: Tensor) -> Tensor:
        return nodes.index_select(1, self.structure.outputs)

    def neuron_index(self, table: NeuronTable) -> Tensor:
        return torch.from_numpy(table(self.layout)).to(self.device)

    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor) -> Networks:
        tail = like.values.shape[2:]
        parts: dict[str, Tensor] = {}
        for group, place in zip(self.layout.groups, self.layout.neuron_slices, strict=True):
            if group.bias:
                parts[group.bias] = biases[:, place].reshape(self.count, -1, *tail)
        for places, values in zip(kernel_places(self.layout), kernels, strict=True):
            ends = np.flatnonzero(np.diff(places.blocks)) + 1
            for piece, block in zip(np.split(np.arange(len(places.blocks)), ends), dict.fromkeys(places.blocks.tolist()), strict=True):
                name = self.layout.blocks[block].parameter
                if name:
                    parts[name] = values[:, piece[0] : piece[-1] + 1].reshape(self.count, -1, *tail)
        return like.with_values(torch.cat([parts[p.name] for p in self.layout.parameters], 1))
