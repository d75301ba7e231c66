"""`Regular`: a batch of networks of one layout; its edges are strided tables."""

import torch
from torch import Tensor

from neural_graphs.graph.constants import table_on
from neural_graphs.graph.edges import AllPairs, Wiring
from neural_graphs.graph.index import assemblies, assembly_orders, index_of, kernel_indices, kernel_tensors
from neural_graphs.graph.ops.aggregate import gather, gather_add, largest, scatter_statistics, scatter_sum
from neural_graphs.graph.ops.attention import attend
from neural_graphs.graph.ops.blocks import table
from neural_graphs.graph.ops.propagate import edge_products, propagate
from neural_graphs.graph.topology import EdgeSubset, Kernels, NeuronTable, Topology, WeightTable, reversed_edges
from neural_graphs.layout import Layout
from neural_graphs.layout.strides import End, Window
from neural_graphs.networks import Networks


class Regular(Topology):
    """All networks share one layout: a batch axis, and edge blocks that are strided tables."""

    def __init__(self, layout: Layout, count: int, wiring: Wiring, device: torch.device, end: End | None = None):
        self.layout, self.count, self.wiring, self.device = layout, count, wiring, device
        self.index = index_of(layout, wiring, device, end)
        self.edge_blocks = self.index.edge_blocks
        self.in_degree = self.index.in_degree

    def prepare(self) -> None:
        self.at_outputs("source")
        self.at_outputs("target")
        kernel_tensors(self.layout, self.device)
        assembly_orders(self.layout, self.device)

    def kernels(self, networks: Networks) -> list[Kernels]:
        found = []
        groups_of = kernel_tensors(self.layout, self.device).groups
        for places, groups in zip(kernel_indices(self.layout), groups_of, strict=True):
            values = [self._read(networks, i) for i in places.blocks]
            kernels = torch.cat(values, 1) if len(values) > 1 else values[0]
            found.append(Kernels(places.shape, kernels, groups))
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
        return torch.cat(columns, 1), self.index.has_bias

    def arrange(self, pieces: list[Tensor], loop: Tensor | None, absent: Tensor | None) -> Tensor:
        if self.index.recipe is None:
            return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]
        extra = [x if x is not None else pieces[0].new_zeros(pieces[0].shape[-1]) for x in (loop, absent)]
        every = torch.cat([*pieces, torch.stack(extra).expand(self.count, 2, -1)], 1)
        return every.index_select(1, self.index.recipe)

    def gather_add(self, source: Tensor, target: Tensor) -> Tensor:
        return gather_add(source, target, self.index.code)

    def statistics(self, messages: Tensor) -> Tensor:
        return scatter_statistics(messages, self.in_degree, self.index.code)

    def attend(self, nodes: Tensor, edges: Tensor, weight: Tensor, heads: int, modulate: bool) -> Tensor:
        return attend(nodes, edges, weight, self.index.code, heads, modulate)

    def sum(self, edges: Tensor, end: End = "target") -> Tensor:
        return scatter_sum(edges, self.index.code, self.layout.neurons, end)

    def propagate(self, nodes: Tensor, gates: Tensor, end: End = "target") -> Tensor:
        return propagate(nodes, gates, self.index.code, end)

    def edge_products(self, source: Tensor, target: Tensor, heads: int) -> Tensor:
        return edge_products(source, target, self.index.code, heads)

    def softmax(self, logits: Tensor) -> Tensor:
        if len(self.edge_blocks) == 1 and len(self.edge_blocks[0].reduced_dims["source"]) == 1:
            block = self.edge_blocks[0]
            return table(logits, block).softmax(1 + block.reduced_dims["source"][0]).reshape(logits.shape)
        top = largest(logits.detach(), self.index.code, self.layout.neurons)
        powers = (logits - gather(top, self.index.code, "source")).exp()
        return powers / gather(self.sum(powers, "source"), self.index.code, "source")

    def reverse(self, edges: Tensor) -> Tensor:
        if not isinstance(self.wiring, AllPairs):
            return edges.index_select(1, self.reverse_index())
        return edges.unflatten(1, (self.layout.neurons, -1)).transpose(1, 2).flatten(1, 2)

    def reverse_index(self) -> Tensor:
        return reversed_edges(self.index.reverse, self.wiring)

    def at_outputs(self, end: End) -> EdgeSubset:
        subset = Regular(self.layout, self.count, self.wiring, self.device, end)
        return EdgeSubset(subset, subset.index.edges)

    def is_output(self) -> Tensor:
        return self.index.is_output

    def weights(self, edges: Tensor) -> Tensor:
        first = self.index.weight_indices[: self.layout.weights]
        return edges.index_select(1, first) if isinstance(self.wiring, AllPairs) else edges[:, : len(first)]

    def mean(self, nodes: Tensor) -> Tensor:
        return nodes.mean(1)

    def group_mean(self, nodes: Tensor) -> Tensor:
        groups = nodes.split([group.size for group in self.layout.groups], 1)
        return torch.cat([each.mean(1, keepdim=True).expand_as(each) for each in groups], 1)

    def repeat(self, features: Tensor) -> Tensor:
        return features[:, None]

    def outputs(self, nodes: Tensor) -> Tensor:
        return nodes.index_select(1, self.index.outputs)

    def neuron_index(self, table: NeuronTable) -> Tensor:
        return table_on(self.device, table, self.layout)

    def weight_index(self, table: WeightTable) -> list[Tensor]:
        every = table_on(self.device, table, self.layout)
        return [every.index_select(0, weights) for weights in kernel_tensors(self.layout, self.device).weights]

    def by_kernel(self, weights: Tensor) -> list[Tensor]:
        every = kernel_tensors(self.layout, self.device).weights
        return [weights] if len(every) == 1 else [weights.index_select(1, places) for places in every]

    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor, channels: int) -> Networks:
        by_block: dict[int, Tensor] = {}
        for places, values in zip(kernel_indices(self.layout), kernels, strict=True):
            counts = [self.layout.tables[i].size for i in places.blocks]
            by_block.update(zip(places.blocks, values.split(counts, 1), strict=True))
        tensors = []
        for tensor, order in zip(assemblies(self.layout), assembly_orders(self.layout, self.device).each, strict=True):
            pieces = [biases[:, self.layout.neuron_slices[i]] for i in tensor.groups]
            pieces = [x.reshape(self.count, -1, channels) for x in pieces + [by_block[i] for i in tensor.blocks]]
            found = torch.cat(pieces, 1) if pieces else biases.new_zeros(self.count, tensor.size, channels)
            tensors.append(found if order is None else found.index_select(1, order))
        flat = torch.cat(tensors, 1)
        return like.with_values(flat[..., 0] if channels == 1 else flat)
