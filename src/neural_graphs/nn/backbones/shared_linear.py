"""SharedLinear: equivariant linear layers whose maps are shared by all layers of all networks (ours).

Complete layers (`EquivariantLinear`) have parameters for every pair of tensors, so they read one layout. Here a map has
one matrix wherever it occurs: tensors are told apart by what is encoded with their numbers, places and kinds.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.graph import NeuralGraph
from neural_graphs.graph.index import fan_out
from neural_graphs.nn.backbones.base import Backbone
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.run.memory import EdgeMemory
from neural_graphs.nn.spec import require_size


def summaries(graph: NeuralGraph, width: int) -> Float[Tensor, "*batch neurons summaries"]:
    """What maps read at a neuron, `(*batch, neurons, 3 · width)`: its bias, the mean of its weights in, and out."""
    topology, edges = graph.topology, graph.edges
    into = topology.sum(edges) / topology.in_degree.clamp(min=1).to(edges.dtype)
    leaving = topology.neuron_index(fan_out)[:, None].clamp(min=1)
    out_of = topology.sum(edges, "source") / leaving.to(edges.dtype)
    return torch.cat([graph.nodes[..., :width], into, out_of], -1)


class SharedLinearLayer(nn.Module):
    """`ReLU(LayerNorm(Σ_maps Θ · map(X) + b))` for biases and for weights.

    With a the summaries at a neuron, ā their mean over its group and ã over its network, a bias b is made of
    `[a; ā; ã]`, and a weight w from s to t of `[w; a_s; ā_s; a_t; ā_t; ã]`. Nodes are `4 · width` wide: new biases, and
    the old summaries, which edges are made of.
    """

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.width, self.dropout = width, Dropout(dropout)
        self.bias, self.weight = nn.Linear(6 * width, width), nn.Linear(width, width)
        self.source, self.target = (nn.Linear(6 * width, width, bias=False) for _ in range(2))
        self.network = nn.Linear(3 * width, 2 * width, bias=False)
        self.bias_norm, self.weight_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def nodes(self, graph: NeuralGraph) -> Float[Tensor, "*batch neurons nodes"]:
        """New biases and old summaries, `(*batch, neurons, 4 · width)`."""
        topology, own = graph.topology, summaries(graph, self.width)
        whole = self.network(topology.mean(own))[..., : self.width]
        found = self.bias(torch.cat([own, topology.group_mean(own)], -1)) + topology.repeat(whole)
        return torch.cat([self.dropout(F.relu(self.bias_norm(found))), own], -1)

    def edges(self, graph: NeuralGraph) -> Float[Tensor, "*batch edges width"]:
        """New weights, `(*batch, edges, width)`."""
        topology, own = graph.topology, graph.nodes[..., self.width :]
        whole = self.network(topology.mean(own))[..., self.width :]
        ends = torch.cat([own, topology.group_mean(own)], -1)
        told = topology.gather_add(self.source(ends), self.target(ends) + topology.repeat(whole))
        return self.dropout(F.relu(self.weight_norm(self.weight(graph.edges) + told)))


class SharedLinear(Backbone):
    """`depth` layers over nodes and edges, `width` wide each; nodes are `3 · width` wide at the end, summaries.

    Raises ConfigError for less than one channel or layer.
    """

    def __init__(self, width: int, depth: int = 4, dropout: float = 0.0):
        require_size(width, depth)
        super().__init__(EdgeMemory(state=width, largest=width, work=4 * width, layers=depth))
        self.width, self.layers = width, nn.ModuleList(SharedLinearLayer(width, dropout) for _ in range(depth))

    def stack(self) -> list[SharedLinearLayer]:
        """The layers."""
        return list(self.layers)

    def forward(self, graph: NeuralGraph) -> NeuralGraph:
        """Run the layers, and sum up what they found at every neuron."""
        found = super().forward(graph)
        return NeuralGraph(summaries(found, self.width), found.edges, found.topology)
