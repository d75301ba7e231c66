"""ScaleGMN, ready made: metanetworks that signs and scales of hidden neurons leave alone, by their layers.

Numbers are read raw, by matrices without bias: Fourier features would lose the factor that a neuron carries.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.graph import Bidirectional, Forward, NeuralGraph, Topology, Wiring
from neural_graphs.graph.index import neuron_groups
from neural_graphs.graph.topology import Kernels
from neural_graphs.networks import Networks
from neural_graphs.nn.backbones.scale_equivariant import EdgeGate, Factors, ScaleEquivariant
from neural_graphs.nn.embeddings import (
    ActivationKinds,
    NeuronKinds,
    Position,
    PositionEmbedding,
    Standardise,
    WeightKinds,
    activity,
)
from neural_graphs.nn.fourier import column_index
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.models import initialise, require_statistics
from neural_graphs.nn.readout import ConcatOutputs, EditReadout, GraphReadout, Pool
from neural_graphs.nn.spec import InputSpec, Statistics, require_channels


class ScaleEncoder(nn.Module):
    """Networks to neurons `[x, u]`, `2 · width` wide, and edges, `width` wide.

    x is made of a neuron's bias (and of what it computes on `probes` inputs), the feature of an edge of its kernel,
    both without a bias: they carry the factors of neurons. u says what a neuron is, and where a neuron has no factor x
    says so too. Numbers are divided by the deviations of a family, where these are known.
    """

    def __init__(
        self, family: InputSpec, factors: Factors, width: int, wiring: Wiring, probes: int,
        probe_shape: Sequence[int] | None,
    ):  # fmt: skip
        super().__init__()
        self.factors, self.wiring, self.frame, self.channels = factors, wiring, family.frame, family.channels
        self.standardise = scaling(family.statistics) if family.statistics else None
        self.biases = nn.Linear(family.channels, width, bias=False)
        self.weights = nn.Linear(family.kernel_size * family.channels, width, bias=False)
        self.weight_kinds = WeightKinds(family.weight_kinds, width) if family.weight_kinds else None
        self.parts = nn.ModuleList([Position(family.inputs, family.hidden_groups, family.outputs, width)])
        if len(family.activations) > 1:
            self.parts.append(ActivationKinds(family.activations, width))
        if family.neuron_kinds:
            self.parts.append(NeuronKinds(family.neuron_kinds, width))
        if family.ordered:
            self.parts.append(PositionEmbedding(width))
        self.absolute = nn.Linear(width, width)
        shape = probe_shape or (family.inputs,)
        self.probes = nn.Parameter(torch.rand(probes, *shape) * 2 - 1) if probes else None
        self.activity = nn.Linear(probes, width, bias=False) if probes else None

    def forward(self, networks: Networks) -> NeuralGraph:
        """The neural graph of a batch.

        Raises LayoutError for kernels or groups this encoder has no room for, and for another number of channels.
        """
        require_channels(networks, self.channels)
        topology = Topology.of(networks, self.wiring)
        return NeuralGraph(self.encode_neurons(networks, topology), self.encode_weights(networks, topology), topology)

    def prepare(self, networks: Networks) -> None:
        """Make ahead of time what `forward` needs of the layouts of a batch."""
        topology = Topology.of(networks, self.wiring)
        topology.prepare()
        for table in (neuron_groups, self.factors.flipped, self.factors.scaled, *(part.rows for part in self.parts)):
            topology.neuron_index(table)
        topology.weight_index(self.factors.turnable)
        if self.weight_kinds is not None:
            self.weight_kinds.index(topology)

    def encode_neurons(self, networks: Networks, topology: Topology) -> Tensor:
        """`(*batch, neurons, 2 · width)`."""
        values, mask = topology.biases(networks)
        if self.standardise is not None:
            self.standardise.require(networks)
            values = torch.where(mask, self.standardise.biases(values, topology.neuron_index(neuron_groups)), 0.0)
        x = self.biases(values)
        if self.probes is not None and self.activity is not None:
            x = x + self.activity(self._activity(networks, self.probes))
        u = torch.stack([part(topology) for part in self.parts]).sum(0)
        carries = [topology.neuron_index(table) for table in (self.factors.flipped, self.factors.scaled)]
        x = x + torch.where((carries[0] + carries[1] > 0)[:, None], 0.0, self.absolute(u))
        return torch.cat([x, u.expand_as(x)], -1)

    def _activity(self, networks: Networks, probes: Tensor) -> Tensor:
        """`(*batch, neurons, probes)`: what a neuron computes carries its factor."""
        return networks.cat_by_layout(lambda part: torch.cat(activity(part, probes), -1).mT)

    def encode_weights(self, networks: Networks, topology: Topology) -> Tensor:
        """`(*batch, edges, width)`; zeros for reversed edges whose weights cannot be turned."""
        every = topology.kernels(networks)
        kinds = [None] * len(every) if self.weight_kinds is None else self.weight_kinds.index(topology)
        pieces = [self._encode(kernels, kind) for kernels, kind in zip(every, kinds, strict=True)]
        if self.wiring.copies == 2:
            turnable = topology.weight_index(self.factors.turnable)
            pieces += [piece * turns[:, None] for piece, turns in zip(pieces, turnable, strict=True)]
        return topology.arrange(pieces, None, None)

    def _encode(self, kernels: Kernels, kind: Tensor | None) -> Tensor:
        """`(*batch, weights, width)`."""
        values, weight = kernels.values, self.weights.weight
        if self.standardise is not None:
            values = self.standardise.weights(values, kernels.groups)
        columns = column_index(kernels.shape, self.frame, self.channels, 1, values.device).each[0]
        encoded = F.linear(values, weight if columns is None else weight[:, columns])
        if kind is None or self.weight_kinds is None:
            return encoded
        return encoded * (1 + F.embedding(kind, self.weight_kinds.table))


def scaling(statistics: Statistics) -> Standardise:
    """Division by deviations alone, which keeps zero at zero and every factor."""
    zeros = {name: (0.0,) * len(getattr(statistics, name)) for name in ("weight_mean", "bias_mean")}
    return Standardise(replace(statistics, **zeros))


class InvariantPart(Pool):
    """Another pool, of the u of neurons `[x, u]`."""

    def __init__(self, pool: Pool):
        super().__init__()
        self.pool, self.factor, self.outputs_only = pool, pool.factor, pool.outputs_only

    def forward(self, graph: NeuralGraph) -> Tensor:
        """`(networks, factor · width)`."""
        return self.pool(replace(graph, nodes=graph.nodes.chunk(2, -1)[1]))


class ScaleReadout(EditReadout):
    """Changes of biases and kernels that carry the factors of these: `Γ (x ⊙ inv(u))` and `Γ (e ⊙ inv(…))`."""

    def __init__(
        self, factors: Factors, width: int, groups: int, frame: tuple[int, int], channels: int, initial: float,
        standardise: Standardise | None,
    ):  # fmt: skip
        super().__init__(groups, frame, channels, initial, standardise)
        self.gate, self.node = nn.Linear(width, width), nn.Linear(width, channels, bias=False)
        self.edge_gate = EdgeGate(factors, width)
        self.kernel = nn.Linear(width, frame[0] * frame[1] * channels, bias=False)

    def read_neurons(self, graph: NeuralGraph) -> Tensor:
        """Changes of biases, `(*batch, neurons, channels)`."""
        x, u = graph.nodes.chunk(2, -1)
        return self.node(x * self.gate(u))

    def read_weights(self, graph: NeuralGraph) -> Tensor:
        """`(*batch, weights, width)`."""
        return graph.topology.weights(self.edge_gate(graph))


class ScaleGMN(Metanetwork):
    """ScaleGMN (Kalogeropoulos et al. 2024): answers that no sign or scale of a hidden neuron changes.

    `family` describes the networks it will read, `classes` the answers per network, `symmetry` what makes no
    difference: `Signs()` (sine, tanh), `Scales()` (ReLU) or `SignsAndScales()`, each where activations permit it.
    Messages run along weights, and against them with `reverse`; the rest as for `NGGNN`. Ours: invariant features
    beside those that carry factors, the way back for scales (see `Messages`), and any layout: every neuron has the
    factors that its activation and its skips permit.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> from neural_graphs.nn import Signs
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.ScaleGMN(ng.InputSpec.of([layout]), classes=10, symmetry=Signs())(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, symmetry: Factors, width: int = 32, depth: int = 4, reverse: bool = True,
        probes: int = 0, dropout: float = 0.0, pool: Pool | None = None, probe_shape: Sequence[int] | None = None,
    ):  # fmt: skip
        wiring, pool = Bidirectional() if reverse else Forward(), InvariantPart(pool or ConcatOutputs(family.outputs))
        super().__init__(
            ScaleEncoder(family, symmetry, width, wiring, probes, probe_shape),
            ScaleEquivariant(symmetry, width, depth, reverse, dropout, outputs_only=pool.outputs_only),
            GraphReadout(width, classes, pool),
        )
        initialise(self)


class ScaleGMNEditor(Metanetwork):
    """ScaleGMN that returns a change of every parameter, which moves along with signs and scales of hidden neurons.

    Arguments as for `ScaleGMN` and `NGGNNEditor`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> from neural_graphs.nn import Signs
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.ScaleGMNEditor(ng.InputSpec.of([layout]), symmetry=Signs())(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, symmetry: Factors, width: int = 64, depth: int = 4, reverse: bool = True,
        probes: int = 0, dropout: float = 0.0, initial: float = 0.01, standardised: bool = False, channels: int = 1,
    ):  # fmt: skip
        wiring = Bidirectional() if reverse else Forward()
        statistics = require_statistics(family) if standardised else None
        scale = scaling(statistics) if statistics else None
        super().__init__(
            ScaleEncoder(family, symmetry, width, wiring, probes, None),
            ScaleEquivariant(symmetry, width, depth, reverse, dropout, update_edges=True),
            ScaleReadout(symmetry, width, family.groups, family.frame, channels, initial, scale),
        )
        initialise(self)
