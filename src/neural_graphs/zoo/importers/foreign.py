"""Networks from files of other projects: read without running code from them, tensors named and ordered our way."""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from neural_graphs.checkpoints.tensors import read_tensors
from neural_graphs.errors import CheckpointError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.presets import OMEGA


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, see `read_tensors`; errors do not name it: the list of skipped files does."""
    try:
        return read_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"it {str(error).removeprefix(f'{path} ')}") from error


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


def place(layer: str) -> tuple[bool, list[int]]:
    """Where a layer or a tensor comes by the numbers in its name, as a key to sort by; those without one come last."""
    numbers = [int(number) for number in re.findall(r"\d+", layer)]
    return not numbers, numbers


def in_order(names: Iterable[str]) -> list[str]:
    """Tensors layer by layer by the numbers in their names, weights before biases (safetensors keeps no order).

    They stay as they are where a name has no number.
    """
    names = list(names)
    if not all(re.search(r"\d", name) for name in names):
        return names
    return sorted(names, key=lambda name: (place(name), not name.endswith("weight")))
