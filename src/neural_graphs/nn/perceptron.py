"""`perceptron`: the MLP at the end of readouts and baselines."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from neural_graphs.nn.run.dropout import Dropout


def perceptron(sizes: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with ReLU (and dropout, where it is not 0) between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.ReLU(), *([Dropout(dropout)] if dropout else [])] if layers else []
        layers.append(nn.Linear(fan_in, fan_out))
    return nn.Sequential(*layers)
