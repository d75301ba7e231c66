"""`Ragged`: a batch of different layouts on one long axis; reductions are scatters."""

import torch
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.graph.batch_index import BatchEdges, BatchIndex, batch_index
from neural_graphs.graph.edges import Wiring
from neural_graphs.graph.ops.aggregate import summary
from neural_graphs.graph.regular import Regular
from neural_graphs.graph.topology import EdgeSubset, Kernels, NeuronTable, Topology, WeightTable, reversed_edges
from neural_graphs.layout.strides import End
from neural_graphs.networks import Networks


class Ragged(Topology):
    """Networks one after another: `nodes (neurons, d)`, `edges (edges, d)`, with the ends of every edge as indices.

    `index` holds them for the whole batch; `edges` are those of the topology, all or some.
    """

    def __init__(self, index: BatchIndex, edges: BatchEdges):
        self.index, self.wiring = index, index.wiring
        self.source, self.target, self.in_degree = edges.source, edges.target, edges.in_degree
        self.networks, self.neurons = len(index.layouts), len(index.network)

    def prepare(self) -> None:
        """Nothing is left to be made."""

    def kernels(self, networks: Networks) -> list[Kernels]:
        found = []
        for places in self.index.kernels:
            values = networks.values.index_select(0, places.numbers.view(-1)).reshape(len(places.numbers), -1)
            if places.structural is not None:
                values = torch.where(places.structural, 1.0, values)
            found.append(Kernels(places.shape, values, places.groups))
        return found

    def biases(self, networks: Networks) -> tuple[Tensor, Tensor]:
        values = networks.values.index_select(0, self.index.biases).reshape(self.neurons, -1)
        return torch.where(self.index.has_bias, values, 0.0), self.index.has_bias

    def arrange(self, pieces: list[Tensor], loop: Tensor | None, absent: Tensor | None) -> Tensor:
        extra = [x if x is not None else pieces[0].new_zeros(pieces[0].shape[-1]) for x in (loop, absent)]
        return torch.cat([*pieces, torch.stack(extra)]).index_select(0, self.index.recipe)

    def gather_add(self, source: Tensor, target: Tensor) -> Tensor:
        return source.index_select(0, self.source) + target.index_select(0, self.target)

    def statistics(self, messages: Tensor) -> Tensor:
        index = self.target[:, None].expand_as(messages)
        empty = messages.new_zeros(self.neurons, messages.shape[1])
        total = empty.index_add(0, self.target, messages)
        square = empty.index_add(0, self.target, messages * messages)
        low = empty.scatter_reduce(0, index, messages, "amin", include_self=False)
        high = empty.scatter_reduce(0, index, messages, "amax", include_self=False)
        mean, deviation, low, high = summary(total, square, low, high, self.in_degree)
        return torch.cat([mean, low, high, deviation], -1)

    def sum(self, edges: Tensor, end: End = "target") -> Tensor:
        index = self.target if end == "target" else self.source
        return edges.new_zeros(self.neurons, edges.shape[1]).index_add(0, index, edges)

    def propagate(self, nodes: Tensor, gates: Tensor, end: End = "target") -> Tensor:
        other = self.source if end == "target" else self.target
        sent = nodes.index_select(0, other).unflatten(-1, (gates.shape[-1], -1))
        return self.sum((gates[..., None] * sent).flatten(-2), end)

    def edge_products(self, source: Tensor, target: Tensor, heads: int) -> Tensor:
        product = source.index_select(0, self.source) * target.index_select(0, self.target)
        return product.unflatten(-1, (heads, -1)).sum(-1)

    def softmax(self, logits: Tensor) -> Tensor:
        index = self.source[:, None].expand_as(logits)
        top = logits.new_zeros(self.neurons, logits.shape[1])
        top = top.scatter_reduce(0, index, logits.detach(), "amax", include_self=False)
        powers = (logits - top.index_select(0, self.source)).exp()
        return powers / self.sum(powers, "source").index_select(0, self.source)

    def reverse(self, edges: Tensor) -> Tensor:
        return edges.index_select(0, self.reverse_index())

    def reverse_index(self) -> Tensor:
        return reversed_edges(self.index.reverse, self.wiring)

    def at_outputs(self, end: End) -> EdgeSubset:
        return EdgeSubset(Ragged(self.index, self.index.at_outputs[end]), self.index.chosen[end])

    def is_output(self) -> Tensor:
        return self.index.is_output

    def weights(self, edges: Tensor) -> Tensor:
        return edges.index_select(0, self.index.weight_edges)

    def mean(self, nodes: Tensor) -> Tensor:
        total = nodes.new_zeros(self.networks, nodes.shape[1]).index_add(0, self.index.network, nodes)
        return total / self.index.sizes.to(nodes.dtype)

    def group_mean(self, nodes: Tensor) -> Tensor:
        group, sizes = self.index.of_groups()
        total = nodes.new_zeros(len(sizes), nodes.shape[1]).index_add(0, group, nodes)
        return (total / sizes.to(nodes.dtype)).index_select(0, group)

    def repeat(self, features: Tensor) -> Tensor:
        return features.index_select(0, self.index.network)

    def outputs(self, nodes: Tensor) -> Tensor:
        if len(counts := self.index.output_counts) > 1:
            raise LayoutError(f"networks with {list(counts)} outputs cannot be read by one readout over outputs")
        return nodes.index_select(0, self.index.outputs).unflatten(0, (self.networks, -1))

    def neuron_index(self, table: NeuronTable) -> Tensor:
        return self.index.of_neurons(table)

    def weight_index(self, table: WeightTable) -> list[Tensor]:
        return self.index.of_weights(table)

    def by_kernel(self, weights: Tensor) -> list[Tensor]:
        return [weights.index_select(0, places.weights) for places in self.index.kernels]

    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor, channels: int) -> Networks:
        owned = self.index.owned_biases
        index, values = [self.index.biases[owned]], [biases.index_select(0, owned)]
        for places, kernel in zip(self.index.kernels, kernels, strict=True):
            numbers = places.numbers
            if places.owners is not None:
                numbers, kernel = numbers.index_select(0, places.owners), kernel.index_select(0, places.owners)
            index.append(numbers.view(-1))
            values.append(kernel.reshape(-1, channels))
        empty = values[0].new_zeros(len(like.values), channels)
        flat = empty.index_copy(0, torch.cat(index), torch.cat(values))
        return like.with_values(flat[:, 0] if channels == 1 else flat)


def topology_of(networks: Networks, wiring: Wiring) -> Topology:
    """The topology of these networks: `Regular` where they share one layout, else `Ragged`."""
    if networks.regular:
        return Regular(networks.layout, len(networks), wiring, networks.values.device)
    index = batch_index(networks.layouts, wiring, networks.values.device)
    return Ragged(index, index.edges)
