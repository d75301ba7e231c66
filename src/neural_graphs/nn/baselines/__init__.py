"""What graph metanetworks are compared with: a flat MLP, a set of numbers, and statistics of the tensors."""

from neural_graphs.nn.baselines.flat_mlp import FlatMLP
from neural_graphs.nn.baselines.set_nn import SetNN
from neural_graphs.nn.baselines.statnn import StatNN

__all__ = ["FlatMLP", "SetNN", "StatNN"]
