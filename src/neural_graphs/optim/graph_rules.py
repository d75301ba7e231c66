"""Learned optimizers that read the network as a graph, by the backbones of the paper, and as linear layers do."""

from dataclasses import replace
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.graph import AllPairs, Bidirectional, Forward, NeuralGraph, Topology, Wiring
from neural_graphs.graph.topology import Kernels
from neural_graphs.networks import Networks
from neural_graphs.nn.backbones.base import Backbone
from neural_graphs.nn.backbones.message_passing import MessagePassing
from neural_graphs.nn.backbones.propagation import Propagation
from neural_graphs.nn.backbones.shared_linear import SharedLinear
from neural_graphs.nn.backbones.transformer import RelationalTransformer
from neural_graphs.nn.embeddings import Depth, PositionTable
from neural_graphs.nn.encoder import Encoder
from neural_graphs.nn.fourier import ValueEncoder
from neural_graphs.nn.linear.cut import Cut
from neural_graphs.nn.linear.encoder import GridEncoder
from neural_graphs.nn.linear.metanetwork import LinearMetanetwork
from neural_graphs.nn.linear.readout import GridEditReadout
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.models import initialise
from neural_graphs.nn.perceptron import perceptron
from neural_graphs.nn.spec import InputSpec, plane
from neural_graphs.optim.signals import CHANNELS
from neural_graphs.optim.update_rule import Refinements, UpdateRule

FRAME = (5, 5)  # kernels are read in the middle of it


class ChannelEncoder(Encoder):
    """The channels of parameters as they are, kernels in a frame, and the place of inputs, hidden groups and outputs.

    There is no bound on the networks it reads: kernels larger than the frame are averaged to its size (ours), and
    places have `rows` of a table, or, for None, there are roles and depths in their stead (`Depth`, ours).
    """

    def __init__(self, wiring: Wiring, width: int, rows: int | None = 10_000, edges: int | None = None):
        parts = 1 if wiring.copies == 1 else 3
        super().__init__(
            wiring,
            ValueEncoder(CHANNELS, width, None),
            ValueEncoder(parts * prod(FRAME) * CHANNELS, edges or width, None),
            FRAME,
            position=Depth(width) if rows is None else PositionTable(rows, width),
        )

    def kernels(self, networks: Networks, topology: Topology) -> list[Kernels]:
        return [_in_frame(each) for each in super().kernels(networks, topology)]


def _in_frame(kernels: Kernels) -> Kernels:
    """The same weights, those with larger kernels than the frame averaged to its size."""
    shape = plane(kernels.shape)
    size = min(shape[0], FRAME[0]), min(shape[1], FRAME[1])
    if size == shape:
        return kernels
    maps = kernels.values.unflatten(-1, (*shape, -1)).movedim(-1, -3)  # channels before places
    small = F.adaptive_avg_pool2d(maps.flatten(0, -4), size).unflatten(0, maps.shape[:-3])
    return replace(kernels, shape=size, values=small.movedim(-3, -1).flatten(-3))


class ParameterReadout(nn.Module):
    """Features of every parameter: those of its neuron for a bias, of its edge for a weight, the same for all taps."""

    def __init__(self, node: nn.Module, edge: nn.Module, width: int):
        super().__init__()
        self.node, self.edge, self.width = node, edge, width

    def forward(self, graph: NeuralGraph, networks: Networks) -> Networks:
        """`Networks` of `width` channels."""
        topology = graph.topology
        weights = topology.by_kernel(topology.weights(self.read_edges(graph)))
        taps = [prod(each.shape) for each in topology.kernels(networks)]
        kernels = [_repeated(features, count) for features, count in zip(weights, taps, strict=True)]
        return topology.fill(networks, kernels, self.node(graph.nodes), self.width)

    def read_edges(self, graph: NeuralGraph) -> Tensor:
        """`(*batch, edges, width)`."""
        found: Tensor = self.edge(graph.edges)
        return found


class EndsReadout(ParameterReadout):
    """The same where edges were not updated: they are read together with their two neurons."""

    def __init__(self, edges: int, width: int):
        super().__init__(perceptron((width,) * 3), nn.Linear(width, width), width)
        self.own = nn.Linear(edges, width)
        self.ends = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))

    def read_edges(self, graph: NeuralGraph) -> Tensor:
        source, target = (end(graph.nodes) for end in self.ends)
        return self.edge(F.relu(self.own(graph.edges) + graph.topology.gather_add(source, target)))


def _repeated(features: Tensor, count: int) -> Tensor:
    """`(*batch, weights, width)` to `(*batch, weights, count · width)`."""
    return features.unsqueeze(-2).expand(*features.shape[:-1], count, -1).flatten(-2)


class GraphRule(UpdateRule):
    """The context of a parameter is what a metanetwork says of its edge or neuron; `width` is that of everything."""

    def __init__(
        self, family: InputSpec, width: int, encoder: Encoder, backbone: Backbone, readout: nn.Module, *,
        refinements: Refinements | None = None,
    ):  # fmt: skip
        super().__init__(family, width, (width,), refinements)
        self.metanetwork = Metanetwork(encoder, backbone, readout)
        initialise(self.metanetwork)

    def read(self, channels: Networks) -> Networks:
        found: Networks = self.metanetwork(channels)
        return found


class NGGNNRule(GraphRule):
    """NG-GNN as an optimizer: message passing over weights, both ways, edges updated in every layer.

    `rows` are those of the position table. For None nothing that it sees grows with the size of a network, so that it
    trains larger ones than it was meta-trained on: roles and depths instead of places, and no messages amplified by the
    degree (ours). The rest as for `UpdateRule`.
    """

    def __init__(
        self, family: InputSpec, width: int = 64, depth: int = 8, rows: int | None = 10_000,
        refinements: Refinements | None = None,
    ):  # fmt: skip
        log_degree = None if rows is None else family.log_degree
        backbone = MessagePassing(width, depth, log_degree, update_edges=True)
        readout = ParameterReadout(perceptron((width,) * 3), perceptron((width,) * 3), width)
        encoder = ChannelEncoder(Bidirectional(), width, rows)
        super().__init__(family, width, encoder, backbone, readout, refinements=refinements)


class NGTRule(GraphRule):
    """NG-T as an optimizer: relational attention, over all pairs of neurons by default.

    With `wiring=Looped()` it runs over weights, linear in their number (ours). One readout serves neurons and edges;
    the rest as for `NGGNNRule`.
    """

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 2, heads: int = 4, wiring: Wiring | None = None,
        rows: int | None = 10_000, refinements: Refinements | None = None,
    ):  # fmt: skip
        backbone = RelationalTransformer((width, width), depth, heads, width, (width, width), update_edges=True)
        shared = perceptron((width,) * 4)
        readout = ParameterReadout(shared, shared, width)
        encoder = ChannelEncoder(wiring or AllPairs(), width, rows)
        super().__init__(family, width, encoder, backbone, readout, refinements=refinements)


class PropagatorRule(GraphRule):
    """Propagator as an optimizer (ours): signals run through the weights, both ways; an edge costs little.

    `rows` and `refinements` as for `NGGNNRule`, the rest as for `Propagation`.
    """

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 4, heads: int = 8, rows: int | None = None,
        refinements: Refinements | None = None,
    ):  # fmt: skip
        encoder = ChannelEncoder(Forward(), width, rows, edges=2 * heads)
        backbone, readout = Propagation(width, depth, heads), EndsReadout(2 * heads, width)
        super().__init__(family, width, encoder, backbone, readout, refinements=refinements)


class SharedUNFRule(GraphRule):
    """SharedUNF as an optimizer (ours): equivariant linear layers of means, the same for all layers and networks.

    Unlike `NFNRule` it serves networks of any layouts. `rows` as for `NGGNNRule`, the rest as for `UpdateRule`.
    """

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 4, rows: int | None = None,
        refinements: Refinements | None = None,
    ):  # fmt: skip
        node = perceptron((3 * width, width, width))
        encoder, backbone = ChannelEncoder(Forward(), width, rows), SharedLinear(width, depth)
        readout = ParameterReadout(node, perceptron((width,) * 3), width)
        super().__init__(family, width, encoder, backbone, readout, refinements=refinements)


class NFNRule(UpdateRule):
    """NFN-NP as an optimizer: equivariant linear layers, inputs and outputs permuted as well (Zhou et al. 2023).

    It serves networks that have the tensors of the family's largest one, in any free sizes. `ends=False` keeps inputs
    and outputs in place; the rest as for `UpdateRule`.
    """

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 3, ends: bool = True,
        refinements: Refinements | None = None,
    ):  # fmt: skip
        super().__init__(family, width, (width,), refinements)
        cut = Cut(family, ends)
        self.metanetwork = LinearMetanetwork(
            GridEncoder(family, cut), GridEditReadout(cut, width, width, 1.0, None), width, depth
        )

    def read(self, channels: Networks) -> Networks:
        found: Networks = self.metanetwork(channels)
        return found
