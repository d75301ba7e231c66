"""Changes of a network's parameters that leave the function it computes unchanged."""

from neural_graphs.symmetry.align import align, interpolate, merge
from neural_graphs.symmetry.elements import (
    Element,
    Kind,
    NeuronPermutation,
    PerNetwork,
    PositiveScale,
    SignFlip,
    Symmetry,
    sample_symmetry,
)
from neural_graphs.symmetry.shuffling import shuffle

__all__ = [
    "Element",
    "Kind",
    "NeuronPermutation",
    "PerNetwork",
    "PositiveScale",
    "SignFlip",
    "Symmetry",
    "align",
    "interpolate",
    "merge",
    "sample_symmetry",
    "shuffle",
]
