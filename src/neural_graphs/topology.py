"""`Topology`: a batch of layouts as index structure; the only place that knows regular batches from mixed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.attention import Attend
from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.reductions import Spread, Statistics, SumTo, peak, table
from neural_graphs.structure import assemblies, kernel_places, structure
from neural_graphs.tables import End, Window
from neural_graphs.wiring import AllPairs, Wiring

NeuronTable = Callable[[Layout], np.ndarray]  # one whole number per neuron
WeightTable = Callable[[Layout], np.ndarray]  # one whole number per weight


@dataclass(frozen=True)
class Kernels:
    """The weights of one kernel shape: raw numbers `(*batch, weights, kernel · channels)`, and the group
    each leads to within its network, `(weights,)`."""

    shape: tuple[int, ...]
    values: Tensor
    groups: Tensor


@dataclass(frozen=True)
class Narrow:
    """Some edges of a topology: the topology they form, with all neurons, and their numbers `(edges,)`."""

    topology: Topology
    index: Tensor

    def take(self, edges: Tensor) -> Tensor:
        """The features of these edges, out of those of all."""
        return edges.index_select(-2, self.index)

    def take_counterparts(self, edges: Tensor, whole: Topology) -> Tensor:
        """The features of the edges that run the other way round, out of those of all edges of `whole`."""
        return edges.index_select(-2, whole.counterpart_index()[self.index])

    def keep_outputs(self, new: Tensor, old: Tensor) -> Tensor:
        """`new` features at output neurons, `old` ones at the others."""
        return torch.where(self.topology.is_output(), new, old)


class Topology(ABC):
    """A batch of layouts under one wiring.

    Feature tensors are `(*batch, neurons, d)` and `(*batch, edges, d)`: a batch axis where all networks share one
    layout (`Regular`), one long axis where they differ (`Ragged`).
    """

    wiring: Wiring
    in_degree: Tensor  # (neurons, 1) float64

    @staticmethod
    def of(networks: Networks, wiring: Wiring) -> Topology:
        """The topology of these networks; index structure is cached per layout and device."""
        from neural_graphs.ragged import Ragged

        if networks.regular:
            return Regular(networks.layout, len(networks), wiring, networks.values.device)
        return Ragged(networks.layouts, wiring, networks.values.device)

    @abstractmethod
    def kernels(self, networks: Networks) -> list[Kernels]:
        """The raw numbers of all weights by kernel shape."""

    @abstractmethod
    def biases(self, networks: Networks) -> tuple[Tensor, Tensor]:
        """Biases `(*batch, neurons, channels)`, 0 where there is none; and the mask `(neurons, 1)` of those there."""

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
    def sum(self, edges: Tensor, end: End = "target") -> Tensor:
        """The sum over the edges of every neuron, at their targets or (`end="source"`) at their sources."""

    @abstractmethod
    def softmax(self, logits: Tensor) -> Tensor:
        """Normalise `(*batch, edges, heads)` over the edges that leave each neuron."""

    def attend(self, nodes: Tensor, edges: Tensor, weight: Tensor, heads: int, modulate: bool) -> Tensor:
        """Relational attention of every neuron over the edges that leave it, `(*batch, neurons, attention)`.

        `nodes` `(*batch, neurons, 3 · attention)` holds query, key and value of every neuron, `weight`
        `(3 or 4 · attention, d)` makes query, key, value (and gate) of `edges` `(*batch, edges, d)`; each of the parts
        is `attention` wide, head after head. See `RelationalAttention` for the formula.
        """
        q, k, v = nodes.chunk(3, -1)
        width, nothing = q.shape[-1], torch.zeros_like(q)
        q_e, k_e, v_e, *gate = F.linear(edges, weight).split(width, -1)
        product = (self.spread(q, nothing) + q_e) * (self.spread(nothing, k) + k_e)
        share = self.softmax(product.unflatten(-1, (heads, -1)).sum(-1) * width**-0.5)
        value = self.spread(nothing, v) * gate[0] + v_e if modulate else self.spread(nothing, v) + v_e
        return self.sum((share[..., None] * value.unflatten(-1, (heads, -1))).flatten(-2), "source")

    @abstractmethod
    def at_outputs(self, end: End) -> Narrow:
        """The edges whose `end` ("source" or "target") is an output neuron."""

    @abstractmethod
    def is_output(self) -> Tensor:
        """Which neurons are outputs, `(neurons, 1)` bool."""

    @abstractmethod
    def counterpart_index(self) -> Tensor:
        """The number of the edge that joins the same neurons the other way round, `(edges,)`."""

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
        """The features of the output neurons, `(networks, outputs, d)`. Raises LayoutError where numbers differ."""

    @abstractmethod
    def neuron_index(self, table: NeuronTable) -> Tensor:
        """A function of the layout with one whole number per neuron, `(neurons,)`."""

    @abstractmethod
    def weight_index(self, table: WeightTable) -> list[Tensor]:
        """A function of the layout with one whole number per weight, `(weights,)`, parted as `kernels` are."""

    @abstractmethod
    def by_kernel(self, weights: Tensor) -> list[Tensor]:
        """Features of weights `(*batch, weights, d)`, parted by kernel shape in the order of `kernels`."""

    @abstractmethod
    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor, channels: int) -> Networks:
        """Networks with these numbers: the inverse of `kernels` and `biases`. One channel gets no axis of its own."""


class Regular(Topology):
    """All networks share one layout: a batch axis, and arcs that are strided tables."""

    def __init__(self, layout: Layout, count: int, wiring: Wiring, device: torch.device, end: End | None = None):
        self.layout, self.count, self.wiring, self.device = layout, count, wiring, device
        self.structure = structure(layout, wiring, device, end)
        self.arcs = self.structure.arcs
        self.in_degree = self.structure.in_degree

    def kernels(self, networks: Networks) -> list[Kernels]:
        found = []
        for places in kernel_places(self.layout):
            values = [self._read(networks, i) for i in places.blocks]
            kernels = torch.cat(values, 1) if len(values) > 1 else values[0]
            found.append(Kernels(places.shape, kernels, torch.from_numpy(places.groups).to(self.device)))
        return found

    def _read(self, networks: Networks, index: int) -> Tensor:
        """The numbers of one block, `(networks, weights, kernel · channels)`; ones for a structural block."""
        block, count = self.layout.blocks[index], self.layout.tables[index].size
        if block.parameter is None:
            channels = networks.values.shape[2:].numel()
            return networks.values.new_ones(self.count, count, block.kernel_size * channels)
        return self._part(networks.values, block.parameter, block.window).reshape(self.count, count, -1)

    def _part(self, values: Tensor, name: str, window: Window | None) -> Tensor:
        """A window of a tensor, or all of it in its order: a view `(networks, *window or numbers, *channels)`."""
        tensor = values[:, self.layout.slices[name]]
        if window is None:
            return tensor
        network, step, *channels = values.stride()
        strides = (network, *(step * stride for stride in window.strides), *channels)
        first = tensor.storage_offset() + window.offset * step
        return values.as_strided((self.count, *window.sizes, *values.shape[2:]), strides, first)

    def biases(self, networks: Networks) -> tuple[Tensor, Tensor]:
        columns, channels = [], networks.values.shape[2:].numel()
        for group in self.layout.groups:
            columns.append(networks.values.new_zeros(self.count, group.size, channels))
            if group.bias is not None:
                columns[-1] = self._part(networks.values, group.bias, group.window).reshape(columns[-1].shape)
        return torch.cat(columns, 1), self.structure.has_bias

    def arrange(self, pieces: list[Tensor], loop: Tensor | None, absent: Tensor | None) -> Tensor:
        if self.structure.recipe is None:
            return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]
        extra = [x if x is not None else pieces[0].new_zeros(pieces[0].shape[-1]) for x in (loop, absent)]
        every = torch.cat([*pieces, torch.stack(extra).expand(self.count, 2, -1)], 1)
        return every.index_select(1, self.structure.recipe)

    def spread(self, source: Tensor, target: Tensor) -> Tensor:
        return Spread.apply(source, target, self.arcs)  # type: ignore[no-untyped-call]

    def statistics(self, messages: Tensor) -> Tensor:
        return Statistics.apply(messages, self.arcs, self.in_degree)  # type: ignore[no-untyped-call]

    def attend(self, nodes: Tensor, edges: Tensor, weight: Tensor, heads: int, modulate: bool) -> Tensor:
        return Attend.apply(nodes, edges, weight, self.arcs, heads, modulate)  # type: ignore[no-untyped-call]

    def sum(self, edges: Tensor, end: End = "target") -> Tensor:
        return SumTo.apply(edges, self.arcs, self.layout.neurons, end)  # type: ignore[no-untyped-call]

    def softmax(self, logits: Tensor) -> Tensor:
        if len(self.arcs) == 1 and len(self.arcs[0].still["source"]) == 1:
            arc = self.arcs[0]
            return table(logits, arc).softmax(1 + arc.still["source"][0]).reshape(logits.shape)
        top = peak(logits.detach(), self.arcs, self.layout.neurons)
        powers = (logits - self.spread(top, torch.zeros_like(top))).exp()
        total = self.sum(powers, "source")
        return powers / self.spread(total, torch.zeros_like(total))

    def counterpart(self, edges: Tensor) -> Tensor:
        if not isinstance(self.wiring, AllPairs):
            return edges.index_select(1, self.counterpart_index())
        return edges.unflatten(1, (self.layout.neurons, -1)).transpose(1, 2).flatten(1, 2)

    def counterpart_index(self) -> Tensor:
        if self.structure.counterpart is None:
            raise LayoutError(f"{self.wiring} has no reversed edges; use Bidirectional, Looped or AllPairs")
        return self.structure.counterpart

    def at_outputs(self, end: End) -> Narrow:
        narrow = Regular(self.layout, self.count, self.wiring, self.device, end)
        return Narrow(narrow, narrow.structure.edges)

    def is_output(self) -> Tensor:
        return self.structure.is_output

    def weights(self, edges: Tensor) -> Tensor:
        first = self.structure.weight_places[: self.layout.weights]
        return edges.index_select(1, first) if isinstance(self.wiring, AllPairs) else edges[:, : len(first)]

    def mean(self, nodes: Tensor) -> Tensor:
        return nodes.mean(1)

    def repeat(self, features: Tensor) -> Tensor:
        return features[:, None]

    def outputs(self, nodes: Tensor) -> Tensor:
        return nodes.index_select(1, self.structure.outputs)

    def neuron_index(self, table: NeuronTable) -> Tensor:
        return torch.from_numpy(table(self.layout)).to(self.device)

    def weight_index(self, table: WeightTable) -> list[Tensor]:
        every = table(self.layout)
        return [torch.from_numpy(every[places.weights]).to(self.device) for places in kernel_places(self.layout)]

    def by_kernel(self, weights: Tensor) -> list[Tensor]:
        every = kernel_places(self.layout)
        if len(every) == 1:
            return [weights]
        return [weights.index_select(1, torch.from_numpy(p.weights).to(self.device)) for p in every]

    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor, channels: int) -> Networks:
        by_block: dict[int, Tensor] = {}
        for places, values in zip(kernel_places(self.layout), kernels, strict=True):
            counts = [self.layout.tables[i].size for i in places.blocks]
            by_block.update(zip(places.blocks, values.split(counts, 1), strict=True))
        tensors = []
        for tensor in assemblies(self.layout):
            pieces = [biases[:, self.layout.neuron_slices[i]] for i in tensor.groups]
            pieces = [x.reshape(self.count, -1, channels) for x in pieces + [by_block[i] for i in tensor.blocks]]
            found = torch.cat(pieces, 1) if pieces else biases.new_zeros(self.count, tensor.size, channels)
            if tensor.order is not None:
                found = found.index_select(1, torch.from_numpy(tensor.order).to(self.device))
            tensors.append(found)
        flat = torch.cat(tensors, 1)
        return like.with_values(flat[..., 0] if channels == 1 else flat)
