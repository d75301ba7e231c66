"""What graph metanetworks are compared with: a flat MLP, rows of matrices, a set of numbers, and statistics."""

from neural_graphs.nn.baselines.flat_mlp import FlatMLP
from neural_graphs.nn.baselines.inr2vec import Inr2Vec
from neural_graphs.nn.baselines.set_nn import SetNN
from neural_graphs.nn.baselines.statnn import StatNN

__all__ = ["FlatMLP", "Inr2Vec", "SetNN", "StatNN"]
