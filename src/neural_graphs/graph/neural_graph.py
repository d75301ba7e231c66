"""`NeuralGraph`: features on the graph of a batch of networks."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from neural_graphs.graph.topology import EdgeSubset, Topology


@dataclass(frozen=True)
class NeuralGraph:
    """What every layer of a backbone takes and returns.

    `nodes` `(*batch, neurons, d_n)`: one feature vector per neuron, inputs first, group after group.
    `edges` `(*batch, edges, d_e)`: one per edge of the wiring, in its order.
    `topology` tells which edges join which neurons; for networks 2 → 3 → 1 under `Forward`, edge 0 joins neuron 0 to
    neuron 2, edge 1 joins 1 to 2, and edge 6 joins hidden neuron 2 to output 5.
    `opposite` holds the features of the reversed edges where some edges were chosen (`subset`) without theirs.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 3, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> graph = ng.NGGNN(ng.InputSpec.of([layout]), classes=10, width=32).encode(networks)
        >>> graph.nodes.shape  # 2 + 3 + 1 neurons
        torch.Size([5, 6, 32])
    """

    nodes: Tensor
    edges: Tensor
    topology: Topology
    opposite: Tensor | None = None

    def reverse(self, project: Callable[[Tensor], Tensor]) -> Tensor:
        """For every edge, `project` of the features of the edge that joins the same neurons the other way round.

        Raises LayoutError where the wiring has no reversed edges.
        """
        if self.opposite is not None:
            return project(self.opposite)
        return self.topology.reverse(project(self.edges))

    def subset(self, chosen: EdgeSubset, reverse: bool) -> "NeuralGraph":
        """The graph with all neurons and the chosen edges; with `reverse` it keeps what ran the other way round."""
        opposite = chosen.take_reversed(self.edges, self.topology) if reverse else None
        return NeuralGraph(self.nodes, chosen.take(self.edges), chosen.topology, opposite)
