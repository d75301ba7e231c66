"""The architecture of one network as a value, without torch: groups of neurons, blocks of weights, their symmetries."""

from neural_graphs.layout.axes import Atom, Concat, Product
from neural_graphs.layout.layout import Layout
from neural_graphs.layout.parts import (
    Activation,
    Block,
    Conv,
    GlobalMean,
    Group,
    Linear,
    MaxPool,
    Parameter,
    Role,
    Skip,
)

__all__ = [
    "Activation",
    "Atom",
    "Block",
    "Concat",
    "Conv",
    "GlobalMean",
    "Group",
    "Layout",
    "Linear",
    "MaxPool",
    "Parameter",
    "Product",
    "Role",
    "Skip",
]
