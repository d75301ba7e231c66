"""`Propagator` (ours): what runs through the weights, forwards and backwards, for answers and for edits."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.graph import Forward, NeuralGraph, Topology
from neural_graphs.nn.backbones.propagation import Propagation
from neural_graphs.nn.canonical import Canonical
from neural_graphs.nn.embeddings import Standardise
from neural_graphs.nn.encoder import Encoder
from neural_graphs.nn.fourier import MultiscaleEncoder
from neural_graphs.nn.group_statistics import GroupStatistics
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.models import encoder_parts, initialise, require_statistics
from neural_graphs.nn.readout import ConcatOutputs, EditReadout, GraphReadout, Pool
from neural_graphs.nn.run.checkpointing import checkpointed
from neural_graphs.nn.spec import InputSpec


def multiscale_encoder(
    family: InputSpec, nodes: int, edges: int, statistics: bool, probes: int, probe_shape: Sequence[int] | None
) -> Encoder:  # fmt: skip
    """Every weight once, numbers at several scales; `nodes` and `edges` are widths.

    With `statistics` neurons know those of their group; the rest as for `encoder`.
    """
    return Encoder(
        Forward(),
        MultiscaleEncoder(family.channels, nodes),
        MultiscaleEncoder(family.kernel_size * family.channels, edges),
        family.frame,
        **encoder_parts(family, nodes, edges, probes=probes, probe_shape=probe_shape, generated=True),
        statistics=GroupStatistics(nodes) if statistics else None,
    )


class ProductReadout(EditReadout):
    """Changes of biases by an MLP on neurons, of kernels by a Linear layer on what an edge and its two neurons say.

    That is `ReLU(edge + source + target)`, half as wide as nodes, and as many inner products of source and target, of
    two features each: what a step of gradient descent would add to a weight is a sum of such products.
    """

    def __init__(
        self, nodes: int, edges: int, groups: int, frame: tuple[int, int], channels: int, initial: float,
        standardise: Standardise | None,
    ):  # fmt: skip
        super().__init__(groups, frame, channels, initial, standardise)
        self.node = nn.Sequential(nn.Linear(nodes, nodes), nn.ReLU(), nn.Linear(nodes, channels))
        self.heads = hidden = nodes // 2
        self.edge = nn.Linear(edges, hidden)
        self.ends = nn.ModuleList(nn.Linear(nodes, hidden, bias=False) for _ in range(2))
        self.factors = nn.ModuleList(nn.Linear(nodes, 2 * hidden) for _ in range(2))
        self.kernel = nn.Linear(2 * hidden, frame[0] * frame[1] * channels)

    def read_neurons(self, graph: NeuralGraph) -> Tensor:
        """Changes of biases, `(*batch, neurons, channels)`."""
        return self.node(graph.nodes)

    def read_weights(self, graph: NeuralGraph) -> Tensor:
        """`(*batch, weights, nodes)`."""
        numbers = graph.edges.shape[:-1].numel() * 2 * self.heads
        return graph.topology.weights(
            checkpointed(partial(self._features, graph.topology), graph.nodes, graph.edges, numbers=numbers)
        )

    def _features(self, topology: Topology, nodes: Tensor, edges: Tensor) -> Tensor:
        source, target = (end(nodes) for end in self.ends)
        said = F.relu(self.edge(edges) + topology.gather_add(source, target))
        source, target = (factor(nodes) for factor in self.factors)
        return torch.cat([said, topology.edge_products(source, target, self.heads)], -1)


class Propagator(Metanetwork):
    """Features of neurons run through the weights, forwards and backwards, in residual rounds (`Propagation`; ours).

    `family` describes the networks it will read, `classes` the answers per network, `width`, `depth`, `heads`,
    `dropout` and `skipped` (rounds, while training) the backbone, `statistics` whether neurons know those of their
    group; the rest as for `NGGNN`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.Propagator(ng.InputSpec.of([layout]), classes=10)(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 64, depth: int = 4, heads: int = 8, probes: int = 0,
        dropout: float = 0.0, statistics: bool = True, pool: Pool | None = None,
        probe_shape: Sequence[int] | None = None, canonical: Sequence[Canonical] = (), skipped: float = 0.0,
    ):  # fmt: skip
        pool = pool or ConcatOutputs(family.outputs)
        super().__init__(
            multiscale_encoder(family, width, 2 * heads, statistics, probes, probe_shape),
            Propagation(width, depth, heads, dropout, pool.outputs_only, skipped),
            GraphReadout(width, classes, pool, 2 * width),
            canonical,
        )
        initialise(self)


class PropagatorEditor(Metanetwork):
    """A Propagator that returns a change of every parameter; arguments as for `Propagator` and `NGGNNEditor`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.PropagatorEditor(ng.InputSpec.of([layout]))(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, width: int = 64, depth: int = 4, heads: int = 8, probes: int = 0,
        dropout: float = 0.0, statistics: bool = True, initial: float = 0.01, standardised: bool = False,
        channels: int = 1, canonical: Sequence[Canonical] = (), skipped: float = 0.0,
    ):  # fmt: skip
        scale = Standardise(require_statistics(family)) if standardised else None
        super().__init__(
            multiscale_encoder(family, width, 2 * heads, statistics, probes, None),
            Propagation(width, depth, heads, dropout, skipped=skipped),
            ProductReadout(width, 2 * heads, family.groups, family.frame, channels, initial, scale),
            canonical,
        )
        initialise(self)
