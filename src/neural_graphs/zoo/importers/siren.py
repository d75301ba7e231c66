"""SIRENs of other projects: their tensors named and ordered our way."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.io.foreign import place
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.recipes.presets import OMEGA


def as_siren(state: Mapping[str, Tensor], offset: float) -> Networks:
    """Return a network from the state dict of a SIREN whose tensors end in `weight` and `bias`, whatever comes before.

    Layers are ordered by the numbers in the names (`seq.0.weight`, `net.1.linear.bias`, `layers.2.weight`), names
    without a number (`last.weight`) come last. Raises `CheckpointError` naming the tensor.
    """
    layers = sorted({name.rpartition(".")[0] for name in state}, key=place)
    names = [(f"{layer}.weight", f"{layer}.bias") for layer in layers]
    missing = [name for pair in names for name in pair if name not in state]
    if missing or len(state) != 2 * len(layers) or len(layers) < 2:
        raise CheckpointError(f"a SIREN has a weight and a bias per layer; {missing or list(state)} do not fit")
    flat = [weight for weight, _ in names if state[weight].ndim != 2]
    if flat:
        raise CheckpointError(f"{flat[0]} has shape {tuple(state[flat[0]].shape)}, expected (outputs, inputs)")
    for (first, _), (second, _) in pairwise(names):
        if state[first].shape[0] != state[second].shape[1]:
            shapes = f"{first} {tuple(state[first].shape)} and {second} {tuple(state[second].shape)}"
            raise CheckpointError(f"{shapes} do not follow each other")
    sizes = (state[names[0][0]].shape[1], *(state[weight].shape[0] for weight, _ in names))
    layout = Layout.mlp(sizes, activation="sine", names="layers.{}", scale=OMEGA, offset=offset)
    for name, parameter in zip((name for pair in names for name in pair), layout.parameters, strict=True):
        if tuple(state[name].shape) != parameter.shape:
            raise CheckpointError(f"{name} has shape {tuple(state[name].shape)}, expected {parameter.shape}")
        if not state[name].is_floating_point() or not state[name].isfinite().all():
            raise CheckpointError(f"{name} holds values that are not finite, or no floating-point numbers")
    vector = torch.cat([state[name].flatten().float() for pair in names for name in pair])
    return Networks(vector[None], layout)
