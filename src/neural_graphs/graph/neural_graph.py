"""`NeuralGraph`: features on the graph of a batch of networks."""

from dataclasses import dataclass

from torch import Tensor

from neural_graphs.graph.topology import Topology


@dataclass(frozen=True)
class NeuralGraph:
    """What every layer of a backbone takes and returns.

    `nodes` `(*batch, neurons, d_n)`: one feature vector per neuron, inputs first, group after group.
    `edges` `(*batch, edges, d_e)`: one per edge of the wiring, in its order.
    `topology` tells which edges join which neurons; for networks 2 → 3 → 1 under `Forward`, edge 0 joins neuron 0 to
    neuron 2, edge 1 joins 1 to 2, and edge 6 joins hidden neuron 2 to output 5.
    """

    nodes: Tensor
    edges: Tensor
    topology: Topology
