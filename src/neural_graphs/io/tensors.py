"""Named tensors from files of every kind: read without running code from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neural_graphs.errors import CheckpointError

StateDict = dict[str, Tensor]
WRAPPINGS = ("state_dict", "model_state_dict", "model")  # what training scripts put a state dict into
INDEX = ".safetensors.index.json"
KINDS = (".safetensors", ".pt", ".pth", INDEX)


def read_tensors(path: Path) -> StateDict:
    """Read the named tensors of a `.safetensors`, `.pt` or `.pth` file, or of the shards a `.safetensors.index.json`
    lists; one level of wrapping (`state_dict`, `model`) is taken off.

    Raises CheckpointError naming the file for one that is missing, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give state dicts in .safetensors or .pt files")
    if path.name.endswith(INDEX):
        return _read_shards(path)
    content = _load(path)
    for key in WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = list(content.values()) if isinstance(content, Mapping) else []
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        others = "" if not tensors else " with other entries than tensors"
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}{others}; expected a state dict of named tensors"
        )
    return dict(content)


def _load(path: Path) -> Any:
    """What a file holds. Raises CheckpointError for a damaged one, or one that would run code."""
    kind = "safetensors" if path.suffix == ".safetensors" else "PyTorch"
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise many kinds for damaged files, a damaged pickle can raise anything
        raise CheckpointError(f"{path} cannot be read as a {kind} file of tensors ({reason(error)})") from error


def reason(error: Exception) -> str:
    """The first line of what another library says, or the kind of its error where it says nothing."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def _read_shards(index: Path) -> StateDict:
    """The tensors of the files beside an index that it names."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({Path(file).name for file in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of shards: expected JSON with a weight_map") from error
    found = {name: tensor for file in files for name, tensor in read_tensors(index.with_name(file)).items()}
    if missing := sorted(set(places) - set(found)):
        raise CheckpointError(f"{index}: its shards {', '.join(files)} hold no {missing[0]}")
    return found


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError naming the first tensor that holds NaN or infinite values."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinite values; repair or train the network again")
