"""`Ragged`: a batch of different layouts on one long axis; reductions are scatters."""

from collections.abc import Callable, Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.graph.edges import Wiring
from neural_graphs.graph.index import (
    KernelIndices,
    bias_indices,
    edge_recipe,
    ends,
    kernel_indices,
    kernel_numbers,
    output_indices,
    owned_bias_indices,
)
from neural_graphs.graph.ops.aggregate import summary
from neural_graphs.graph.regular import Regular
from neural_graphs.graph.topology import EdgeSubset, Kernels, NeuronTable, Topology, WeightTable
from neural_graphs.layout import Layout
from neural_graphs.layout.strides import End
from neural_graphs.networks import Networks


class Ragged(Topology):
    """Networks one after another: `nodes (neurons, d)`, `edges (edges, d)`, with the ends of every edge as indices."""

    def __init__(self, layouts: Sequence[Layout], wiring: Wiring, device: torch.device):
        self.layouts, self.wiring, self.device = tuple(layouts), wiring, device
        self.neurons = [layout.neurons for layout in self.layouts]
        pairs = [ends(layout, wiring) for layout in self.layouts]
        self.edges = [len(source) for source, _ in pairs]
        starts = _starts(self.neurons)
        self.source = self._tensor([source + start for (source, _), start in zip(pairs, starts, strict=True)])
        self.target = self._tensor([target + start for (_, target), start in zip(pairs, starts, strict=True)])
        self.network = self._tensor([np.full(count, i) for i, count in enumerate(self.neurons)])
        self.in_degree = torch.bincount(self.target, minlength=sum(self.neurons)).double()[:, None]
        self.shapes = list(dict.fromkeys(places.shape for layout in self.layouts for places in kernel_indices(layout)))

    def _tensor(self, parts: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(self.device)

    def _indices(self, counts: Sequence[int], local: Callable[[Layout], np.ndarray]) -> Tensor:
        """Places within each network, moved to where its run of `counts` starts on the long axis."""
        starts = _starts(counts)
        return self._tensor([local(layout) + start for layout, start in zip(self.layouts, starts, strict=True)])

    def _numbers(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """For one kernel shape the places `(weights, kernel)` in the long vector, which weights are structural, and
        which own their numbers."""
        found = [kernel_numbers(layout, shape) for layout in self.layouts]
        starts = _starts([layout.size for layout in self.layouts])
        structural = self._tensor([numbers[:, 0] < 0 for numbers, _ in found])
        places = self._tensor([numbers + start for (numbers, _), start in zip(found, starts, strict=True)])
        return places.clamp(min=0), structural, self._tensor([owned for _, owned in found])

    def kernels(self, networks: Networks) -> list[Kernels]:
        found = []
        for shape in self.shapes:
            places, structural, _ = self._numbers(shape)
            values = networks.values[places].reshape(len(places), -1)
            values = torch.where(structural[:, None], 1.0, values)
            found.append(Kernels(shape, values, self._tensor(self._by_shape(shape, lambda places: places.groups))))
        return found

    def _by_shape(self, shape: tuple[int, ...], read: Callable[[KernelIndices], np.ndarray]) -> list[np.ndarray]:
        return [read(places) for layout in self.layouts for places in kernel_indices(layout) if places.shape == shape]

    def biases(self, networks: Networks) -> tuple[Tensor, Tensor]:
        places, mask = self._bias_indices(bias_indices)
        values = networks.values[places].reshape(len(places), -1)
        return torch.where(mask, values, 0.0), mask

    def _bias_indices(self, read: Callable[[Layout], np.ndarray]) -> tuple[Tensor, Tensor]:
        starts = _starts([layout.size for layout in self.layouts])
        local = [read(layout) for layout in self.layouts]
        places = self._tensor([np.where(p < 0, -1, p + start) for p, start in zip(local, starts, strict=True)])
        return places.clamp(min=0), (places >= 0)[:, None]

    def arrange(self, pieces: list[Tensor], loop: Tensor | None, absent: Tensor | None) -> Tensor:
        extra = [x if x is not None else pieces[0].new_zeros(pieces[0].shape[-1]) for x in (loop, absent)]
        every = torch.cat([*pieces, torch.stack(extra)])
        return every[self._recipe()]

    def _recipe(self) -> Tensor:
        """Like `index.edge_recipe`, for the pieces of the whole batch: one per copy and kernel shape."""
        sizes = dict.fromkeys(self.shapes, 0)
        for layout in self.layouts:
            for places in kernel_indices(layout):
                sizes[places.shape] += len(places.weights)
        weights = sum(sizes.values())
        piece_starts = dict(zip(self.shapes, _starts(list(sizes.values())), strict=True))
        used, recipes = dict.fromkeys(self.shapes, 0), []
        for layout in self.layouts:
            rows = []
            for places in kernel_indices(layout):
                first = piece_starts[places.shape] + used[places.shape]
                rows.append(first + np.arange(len(places.weights)))
                used[places.shape] += len(places.weights)
            every = np.concatenate([np.concatenate(rows) + copy * weights for copy in range(self.wiring.copies)])
            extra = self.wiring.copies * weights + np.arange(2)
            recipes.append(np.concatenate([every, extra])[edge_recipe(layout, self.wiring)])
        return self._tensor(recipes)

    def gather_add(self, source: Tensor, target: Tensor) -> Tensor:
        return source.index_select(0, self.source) + target.index_select(0, self.target)

    def statistics(self, messages: Tensor) -> Tensor:
        index = self.target[:, None].expand_as(messages)
        empty = messages.new_zeros(sum(self.neurons), messages.shape[1])
        total = empty.index_add(0, self.target, messages)
        square = empty.index_add(0, self.target, messages * messages)
        low = empty.scatter_reduce(0, index, messages, "amin", include_self=False)
        high = empty.scatter_reduce(0, index, messages, "amax", include_self=False)
        mean, deviation, low, high = summary(total, square, low, high, self.in_degree)
        return torch.cat([mean, low, high, deviation], -1)

    def sum(self, edges: Tensor, end: End = "target") -> Tensor:
        index = self.target if end == "target" else self.source
        return edges.new_zeros(sum(self.neurons), edges.shape[1]).index_add(0, index, edges)

    def softmax(self, logits: Tensor) -> Tensor:
        index = self.source[:, None].expand_as(logits)
        top = logits.new_zeros(sum(self.neurons), logits.shape[1])
        top = top.scatter_reduce(0, index, logits.detach(), "amax", include_self=False)
        powers = (logits - top.index_select(0, self.source)).exp()
        return powers / self.sum(powers, "source").index_select(0, self.source)

    def reverse(self, edges: Tensor) -> Tensor:
        return edges.index_select(0, self.reverse_index())

    def reverse_index(self) -> Tensor:
        return self._indices(self.edges, self.wiring.reverse)

    def at_outputs(self, end: End) -> EdgeSubset:
        index = self.is_output()[self.target if end == "target" else self.source, 0].nonzero()[:, 0]
        subset = copy(self)
        subset.source, subset.target = self.source[index], self.target[index]
        subset.in_degree = torch.bincount(subset.target, minlength=sum(self.neurons)).double()[:, None]
        return EdgeSubset(subset, index)

    def is_output(self) -> Tensor:
        return self.neuron_index(lambda layout: np.isin(np.arange(layout.neurons), output_indices(layout)))[:, None]

    def weights(self, edges: Tensor) -> Tensor:
        return edges.index_select(
            0, self._indices(self.edges, lambda layout: self.wiring.weight_indices(layout)[: layout.weights])
        )

    def mean(self, nodes: Tensor) -> Tensor:
        total = nodes.new_zeros(len(self.layouts), nodes.shape[1]).index_add(0, self.network, nodes)
        return total / torch.tensor(self.neurons, device=nodes.device, dtype=nodes.dtype)[:, None]

    def repeat(self, features: Tensor) -> Tensor:
        return features.index_select(0, self.network)

    def outputs(self, nodes: Tensor) -> Tensor:
        counts = {len(output_indices(layout)) for layout in self.layouts}
        if len(counts) > 1:
            raise LayoutError(f"networks with {sorted(counts)} outputs cannot be read by one readout over outputs")
        return nodes.index_select(0, self._indices(self.neurons, output_indices)).unflatten(0, (len(self.layouts), -1))

    def neuron_index(self, table: NeuronTable) -> Tensor:
        return self._tensor([table(layout) for layout in self.layouts])

    def weight_index(self, table: WeightTable) -> list[Tensor]:
        every = {layout: table(layout) for layout in dict.fromkeys(self.layouts)}
        found: dict[tuple[int, ...], list[np.ndarray]] = {shape: [] for shape in self.shapes}
        for layout in self.layouts:
            for places in kernel_indices(layout):
                found[places.shape].append(every[layout][places.weights])
        return [self._tensor(parts) for parts in found.values()]

    def by_kernel(self, weights: Tensor) -> list[Tensor]:
        starts = _starts([layout.weights for layout in self.layouts])
        found: dict[tuple[int, ...], list[np.ndarray]] = {shape: [] for shape in self.shapes}
        for layout, start in zip(self.layouts, starts, strict=True):
            for places in kernel_indices(layout):
                found[places.shape].append(places.weights + start)
        return [weights.index_select(0, self._tensor(places)) for places in found.values()]

    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor, channels: int) -> Networks:
        places, mask = self._bias_indices(owned_bias_indices)
        index, values = [places[mask[:, 0]]], [biases[mask[:, 0]].reshape(-1, channels)]
        for shape, kernel in zip(self.shapes, kernels, strict=True):
            numbers, _, owned = self._numbers(shape)
            index.append(numbers[owned].reshape(-1))
            values.append(kernel[owned].reshape(-1, channels))
        empty = values[0].new_zeros(len(like.values), channels)
        flat = empty.index_copy(0, torch.cat(index), torch.cat(values))
        return like.with_values(flat[:, 0] if channels == 1 else flat)


def _starts(counts: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


def topology_of(networks: Networks, wiring: Wiring) -> Topology:
    """The topology of these networks: `Regular` where they share one layout, else `Ragged`."""
    if networks.regular:
        return Regular(networks.layout, len(networks), wiring, networks.values.device)
    return Ragged(networks.layouts, wiring, networks.values.device)
