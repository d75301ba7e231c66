"""Networks to neural graphs."""

from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from neural_graphs.graph import NeuralGraph, Wiring
from neural_graphs.graph.index import neuron_groups
from neural_graphs.graph.topology import Kernels, Topology
from neural_graphs.networks import Networks
from neural_graphs.nn.ablation import Ablation
from neural_graphs.nn.canonical import CanonicalSigns
from neural_graphs.nn.embeddings import (
    ActivationKinds,
    Depth,
    NeuronKinds,
    Position,
    PositionEmbedding,
    PositionTable,
    Probes,
    Standardise,
    WeightKinds,
)  # fmt: skip
from neural_graphs.nn.fourier import MultiscaleEncoder, ValueEncoder, column_index
from neural_graphs.nn.group_statistics import GroupStatistics
from neural_graphs.nn.run.checkpointing import checkpointed
from neural_graphs.nn.spec import require_channels

NumberEncoder = ValueEncoder | MultiscaleEncoder  # what makes features of numbers


class Encoder(nn.Module):
    """Biases to node features, kernels to edge features (paper section 3).

    `wiring` lists the edges. `weights` encodes kernels placed in the middle of `frame` (the largest kernel), `scalars`,
    if given, those of Linear layers apart; with a wiring that has reversed copies a weight w is read as `[w, 0, w]`
    forwards and `[0, w, w]` backwards. `node_width` and `edge_width` are the widths of the graph.
    Further parts: `position`, `activations`, `probes`, `standardise`, `neuron_kinds`, `weight_kinds`, `places`,
    `statistics` of groups, `signs`, which makes signs canonical first, and `sight`, which may take skips away.
    """

    def __init__(
        self, wiring: Wiring, biases: NumberEncoder, weights: NumberEncoder, frame: tuple[int, int] = (1, 1), *,
        scalars: NumberEncoder | None = None, position: Depth | Position | PositionTable | None = None,
        activations: ActivationKinds | None = None, probes: Probes | None = None,
        standardise: Standardise | None = None, signs: CanonicalSigns | None = None,
        neuron_kinds: NeuronKinds | None = None, weight_kinds: WeightKinds | None = None,
        places: PositionEmbedding | None = None, statistics: GroupStatistics | None = None,
        sight: Ablation | None = None,
    ):  # fmt: skip
        super().__init__()
        self.wiring, self.frame = wiring, frame
        self.biases, self.weights, self.scalars = biases, weights, scalars
        self.position, self.activations, self.probes = position, activations, probes
        self.standardise, self.signs = standardise, signs
        self.neuron_kinds, self.weight_kinds, self.places = neuron_kinds, weight_kinds, places
        self.statistics, self.sight = statistics, sight or Ablation()
        self.node_out = nn.Linear(biases.first.out_features, biases.first.out_features)
        self.edge_out = nn.Linear(weights.first.out_features, weights.first.out_features)

    def forward(self, networks: Networks) -> NeuralGraph:
        """The neural graph of a batch.

        Raises LayoutError for kernels or groups this encoder has no room for, and for another number of channels.
        """
        require_channels(networks, _inputs(self.biases))
        networks = self.sight.see(networks)
        topology = Topology.of(networks, self.wiring)
        networks = networks if self.signs is None else self.signs(networks)
        return NeuralGraph(self.encode_neurons(networks, topology), self.encode_weights(networks, topology), topology)

    def prepare(self, networks: Networks) -> None:
        """Make what `forward` needs of the layouts of a batch. Raises LayoutError for those it has no room for."""
        networks = self.sight.see(networks)
        topology = Topology.of(networks, self.wiring)
        topology.prepare()
        parts = (self.position, self.activations, self.neuron_kinds, self.places)
        for table in (neuron_groups, *(part.rows for part in parts if part is not None)):
            topology.neuron_index(table)
        if self.weight_kinds is not None:
            self.weight_kinds.index(topology)
        if self.signs is not None:
            self.signs.prepare(networks)

    def encode_neurons(self, networks: Networks, topology: Topology) -> Tensor:
        """`(*batch, neurons, node_width)`."""
        values, mask = topology.biases(networks)
        if self.standardise is not None:
            self.standardise.require(networks)
            groups = topology.neuron_index(neuron_groups)
            values = torch.where(mask, self.standardise.biases(values, groups), 0.0)
        if self.probes is None:
            nodes = self.biases(values, then=self.node_out)
        else:
            nodes = self.node_out(self.biases(values) + self.probes(networks))
        for part in (self.position, self.activations, self.neuron_kinds, self.places):
            nodes = nodes if part is None else nodes + part(topology)
        return nodes if self.statistics is None else nodes + self.statistics(networks)

    def encode_weights(self, networks: Networks, topology: Topology) -> Tensor:
        """`(*batch, edges, edge_width)`."""
        every = self.kernels(networks, topology)
        kinds = [None] * len(every) if self.weight_kinds is None else self.weight_kinds.index(topology)
        encoded = [
            checkpointed(partial(self._encode, kernels, kind), kernels.values, numbers=self._size(kernels))
            for kernels, kind in zip(every, kinds, strict=True)
        ]
        if len(every) == 1:
            pieces = encoded
        else:
            halves = [piece.chunk(self.wiring.copies, -2) for piece in encoded]
            pieces = [half[copy] for copy in range(self.wiring.copies) for half in halves]
        nothing = self.weights(pieces[0].new_zeros(1, _inputs(self.weights)), then=self.edge_out)[0]
        return topology.arrange(pieces, nothing, nothing)

    def kernels(self, networks: Networks, topology: Topology) -> list[Kernels]:
        """The numbers of all weights, by kernel shape, as they are read."""
        return topology.kernels(networks)

    def _size(self, kernels: Kernels) -> int:
        return kernels.values.shape[:-1].numel() * self.wiring.copies * self.weights.first.out_features

    def _encode(self, kernels: Kernels, kind: Tensor | None, values: Tensor) -> Tensor:
        """`(*batch, copies · weights, edge_width)`."""
        if self.standardise is not None:
            values = self.standardise.weights(values, kernels.groups)
        encoder, columns = self.scalars or self.weights, None
        if kernels.shape or self.scalars is None:
            encoder, columns = self.weights, self._columns(kernels)
        if self.wiring.copies == 2:
            zero = torch.zeros_like(values)
            forwards, backwards = torch.cat([values, zero, values], -1), torch.cat([zero, values, values], -1)
            values = torch.cat([forwards, backwards], -2)
        encoded = encoder(values, columns, then=self.edge_out)
        return encoded if self.weight_kinds is None or kind is None else self.weight_kinds(encoded, kind)

    def _columns(self, kernels: Kernels) -> Tensor | None:
        """The encoder inputs that the numbers of a kernel, once per part of `[own, opposite, sum]`, go to."""
        channels = kernels.values.shape[-1] // prod(kernels.shape)
        parts = 1 if self.wiring.copies == 1 else 3
        return column_index(kernels.shape, self.frame, channels, parts, kernels.values.device).each[0]


def _inputs(encoder: NumberEncoder) -> int:
    """How many numbers it reads at once."""
    return encoder.first.in_features if encoder.frequencies is None else encoder.frequencies.shape[1]
