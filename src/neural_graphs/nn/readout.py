"""Neural graphs to answers: invariant readouts of a whole network, equivariant readouts of its parameters."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.graph import NeuralGraph
from neural_graphs.graph.index import neuron_groups
from neural_graphs.graph.topology import Kernels
from neural_graphs.layout.recorded import Recorded
from neural_graphs.networks import Networks
from neural_graphs.nn.embeddings import Standardise
from neural_graphs.nn.fourier import column_index
from neural_graphs.nn.perceptron import perceptron


class Pool(Recorded, nn.Module, ABC):
    """Nodes of each network to one vector; `factor` tells how many times as wide as a node it is.

    Where only output neurons are read (`outputs_only`), a backbone need not update the others in its last layer.
    """

    factor: int = 1
    outputs_only: bool = True

    @abstractmethod
    def forward(self, graph: NeuralGraph) -> Tensor:
        """`(networks, factor · width)`."""


class ConcatOutputs(Pool):
    """The features of the output neurons, one after another in their order (the paper's choice)."""

    def __init__(self, outputs: int):
        super().__init__()
        self.factor = outputs

    def forward(self, graph: NeuralGraph) -> Tensor:
        found = graph.topology.outputs(graph.nodes)
        if found.shape[1] != self.factor:
            raise LayoutError(f"this readout was built for {self.factor} output neurons, got {found.shape[1]}")
        return found.flatten(1)


class MeanOutputs(Pool):
    """The mean over the output neurons, however many a network has."""

    def forward(self, graph: NeuralGraph) -> Tensor:
        mask = graph.topology.is_output().to(graph.nodes.dtype)
        share = graph.topology.mean(mask.expand_as(graph.nodes[..., :1]))
        return graph.topology.mean(graph.nodes * mask) / share


class MeanNodes(Pool):
    """The mean over all neurons: layers are read even where the backbone is too shallow to carry them to the outputs.

    Along forward edges, messages about the first of n layers of weights take n rounds to the outputs.
    """

    outputs_only = False

    def forward(self, graph: NeuralGraph) -> Tensor:
        return graph.topology.mean(graph.nodes)


class GraphReadout(nn.Module):
    """An invariant answer per network: a pool, then `Linear, ReLU` × `depth` and a last Linear layer.

    `width` is the width of the nodes, `classes` the number of answers (logits).
    """

    def __init__(self, width: int, classes: int, pool: Pool, hidden: int | None = None, depth: int = 2):
        super().__init__()
        self.pool = pool
        self.mlp = perceptron((width * pool.factor, *[hidden or width] * depth, classes))

    def forward(self, graph: NeuralGraph, networks: Networks) -> Tensor:
        """`(networks, classes)`."""
        return self.mlp(self.pool(graph))


class EditReadout(nn.Module, ABC):
    """An equivariant answer: a change of every parameter, as `Networks` of the same layouts (paper section 4.2).

    Neurons give biases and edges give kernels (centred in `frame`, the last step is `kernel`), times one learned scalar
    for the weights into each group and one for its biases, initially `initial`. `groups` is the largest number of
    groups after the inputs; `standardise`, if given, is undone on the answer before the scalars. Raises ConfigError for
    less than one of the `channels`.
    """

    kernel: nn.Linear

    def __init__(
        self, groups: int, frame: tuple[int, int], channels: int, initial: float, standardise: Standardise | None
    ):  # fmt: skip
        super().__init__()
        if channels < 1:
            raise ConfigError(f"channels is {channels}: an edit has at least one number for every parameter")
        self.frame, self.channels, self.standardise = frame, channels, standardise
        self.weight_scale = nn.Parameter(torch.full((groups,), initial))
        self.bias_scale = nn.Parameter(torch.full((groups,), initial))

    @abstractmethod
    def read_neurons(self, graph: NeuralGraph) -> Tensor:
        """Changes of biases, `(*batch, neurons, channels)`."""

    @abstractmethod
    def read_weights(self, graph: NeuralGraph) -> Tensor:
        """Features of weights, `(*batch, weights, edges)`, that `kernel` makes changes of."""

    def forward(self, graph: NeuralGraph, networks: Networks) -> Networks:
        """The change of every parameter. Raises LayoutError for more groups or larger kernels than it was built for."""
        topology = graph.topology
        last = max(len(layout.groups) for layout in networks.layouts) - 1
        if last > len(self.weight_scale):
            raise LayoutError(
                f"a network has {last} groups after its inputs; this readout has {len(self.weight_scale)}"
            )
        hidden = topology.by_kernel(self.read_weights(graph))
        kernels = [self._kernels(h, k) for h, k in zip(hidden, topology.kernels(networks), strict=True)]
        groups = topology.neuron_index(neuron_groups)
        biases = self.read_neurons(graph)
        if self.standardise is not None:
            biases = self.standardise.restore_biases(biases, groups)
        biases = biases * self.bias_scale[(groups - 1).clamp(min=0)][:, None]  # input neurons have no bias to change
        return topology.fill(networks, kernels, biases, self.channels)

    def _kernels(self, hidden: Tensor, kernels: Kernels) -> Tensor:
        places = column_index(kernels.shape, self.frame, self.channels, 1, hidden.device).each[0]
        weight: Tensor = self.kernel.weight
        bias: Tensor | None = self.kernel.bias
        if places is not None:
            weight, bias = weight[places], None if bias is None else bias[places]
        numbers = F.linear(hidden, weight, bias)
        if self.standardise is not None:
            numbers = self.standardise.restore_weights(numbers, kernels.groups)
        return numbers * self.weight_scale[kernels.groups - 1][:, None]


class WeightReadout(EditReadout):
    """Neurons and edges each through `Linear, ReLU, Linear`; the rest as for `EditReadout`.

    An edge is read together with its two neurons; with `ends=False` alone, as in the released models.
    """

    def __init__(
        self, nodes: int, edges: int, groups: int, frame: tuple[int, int] = (1, 1), *, channels: int = 1,
        ends: bool = True, initial: float = 0.01, standardise: Standardise | None = None,
    ):  # fmt: skip
        super().__init__(groups, frame, channels, initial, standardise)
        self.node = nn.Sequential(nn.Linear(nodes, nodes), nn.ReLU(), nn.Linear(nodes, channels))
        self.edge, self.kernel = nn.Linear(edges, edges), nn.Linear(edges, frame[0] * frame[1] * channels)
        self.ends = nn.ModuleList(nn.Linear(nodes, edges, bias=False) for _ in range(2 if ends else 0))

    def read_neurons(self, graph: NeuralGraph) -> Tensor:
        """Changes of biases, `(*batch, neurons, channels)`."""
        return self.node(graph.nodes)

    def read_weights(self, graph: NeuralGraph) -> Tensor:
        """`(*batch, weights, edges)`."""
        features = self.edge(graph.edges)
        if self.ends:
            source, target = self.ends
            features = features + graph.topology.gather_add(source(graph.nodes), target(graph.nodes))
        return F.relu(graph.topology.weights(features))
