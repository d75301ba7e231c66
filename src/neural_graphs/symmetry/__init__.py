"""Changes of a network's parameters that leave the function it computes unchanged."""

from neural_graphs.symmetry.elements import (
    Element,
    Kind,
    NeuronPermutation,
    PerNetwork,
    PositiveScale,
    SignFlip,
    Symmetry,
    sample_symmetry,
    shuffle,
)

__all__ = [
    "Element",
    "Kind",
    "NeuronPermutation",
    "PerNetwork",
    "PositiveScale",
    "SignFlip",
    "Symmetry",
    "sample_symmetry",
    "shuffle",
]
