"""Networks as graphs: which neurons the edges join, feature tensors on them, and sums over them."""

from neural_graphs.graph.edges import AllPairs, Bidirectional, Forward, Looped, Wiring
from neural_graphs.graph.neural_graph import NeuralGraph
from neural_graphs.graph.topology import Topology

__all__ = ["AllPairs", "Bidirectional", "Forward", "Looped", "NeuralGraph", "Topology", "Wiring"]
