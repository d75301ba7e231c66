"""Networks in files of their own: read by a layout, written back in the form they came in."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.manifest import write_whole

StateDict = dict[str, Tensor]


def read_network(path: Path, layouts: Sequence[Layout]) -> Networks:
    """One network from a state dict on disk, of the first of `layouts` whose shapes it has, in their order."""
    state = read_state(path)
    shapes = [tuple(tensor.shape) for tensor in state.values()]
    for layout in layouts:
        if set(state) == set(layout.shapes):  # names agree, in any order
            return Networks.from_state_dicts([state], layout, [str(path)])
        if shapes == list(layout.shapes.values()):
            renamed = dict(zip(layout.shapes, state.values(), strict=True))
            return Networks.from_state_dicts([renamed], layout, [str(path)])
    found = ", ".join(f"{name} {shape}" for name, shape in zip(state, shapes, strict=True))
    expected = " or ".join(str(layout) for layout in layouts)
    raise CheckpointError(f"{path}: expected a network {expected}; got tensors {found}")


def read_state(path: Path) -> StateDict:
    """The named tensors of a `.safetensors`, `.pt` or `.pth` file. Raises CheckpointError naming the file."""
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give state dicts in .safetensors or .pt files")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise many kinds for damaged files
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}); expected a state dict") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict of named tensors")
    return state


def write_network(network: Networks, path: Path, like: StateDict | None = None) -> None:
    """Write a network, a batch of one, as a `.safetensors` file.

    Names, order and precision are those of `like`, the tensors it was read from; by default those of its layout.
    Raises CheckpointError for a path of another kind: a `.pt` file would be a pickle, and none is ever written.
    """
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} should end in .safetensors, the one format that networks are written in")
    (state,) = network.state_dicts()
    if like is not None and set(like) != set(state):
        state = dict(zip(like, state.values(), strict=True))
    elif like is not None:
        state = {name: state[name] for name in like}
    from safetensors.torch import save

    kept = {
        name: tensor.contiguous() if like is None else tensor.to(like[name].dtype) for name, tensor in state.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(kept))
