"""Named tensors from files of every kind: read without running code from them."""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from torch import Tensor

from neural_graphs.errors import CheckpointError, reason

StateDict = dict[str, Tensor]
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")  # what training scripts put a state dict into
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")  # of DataParallel, torch.compile, Lightning modules
INDEX = ".safetensors.index.json"
PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pth.tar")  # what torch.save writes: read with weights_only=True
KINDS = (".safetensors", *PICKLED, INDEX)
FOREIGN = re.compile(r"(?:Unsupported (?:global|class)\W+(?:GLOBAL )?|Trying to (?:instantiate|call) \w+ )([\w.]+)")


def is_pickled(path: str | Path) -> bool:
    """Whether a file is one of torch's, by its name."""
    return str(path).endswith(PICKLED)


def without_kind(path: str) -> str:
    """A path without what tells the kind of file, or without its suffix where it is of no kind that is read here.

    >>> without_kind("runs/7/epoch_10.pth.tar")
    'runs/7/epoch_10'
    """
    found = max((kind for kind in KINDS if path.endswith(kind)), key=len, default=PurePath(path).suffix)
    return path.removesuffix(found) if found else path


def read_tensors(path: Path) -> StateDict:
    """Read the named tensors of a file, or of the shards that a `.safetensors.index.json` lists.

    Files are `.safetensors`, or those of torch (`.pt`, `.pth`, `.ckpt`, `.bin`, `.pth.tar`), where the state dict may
    be under `state_dict`, `model_state_dict`, `model` or `net`. Names stay as they are, see `bare`.

    Raises CheckpointError naming the file for one that is missing, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {state}; give state dicts in .safetensors or .pt files")
    if not path.stat().st_size:
        raise CheckpointError(f"{path} is empty, 0 bytes; copy it again, or save the state dict again")
    if path.name.endswith(INDEX):
        return _read_shards(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else load(path)
    while isinstance(content, Mapping) and (inner := _wrapped(content)) is not None:
        content = inner
    tensors = list(content.values()) if isinstance(content, Mapping) else []
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        others = "" if not tensors else " with other entries than tensors"
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}{others}; expected a state dict of named tensors"
        )
    if strange := [name for name in content if not isinstance(name, str)]:
        raise CheckpointError(f"{path} holds a tensor under {strange[0]!r}; expected names")
    return dict(content)


def _wrapped(content: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """The state dict that a dictionary holds beside other things, if it does."""
    return next((content[key] for key in WRAPPINGS if isinstance(content.get(key), Mapping)), None)


def bare(tensors: Mapping[str, Tensor], wanted: Iterable[str] = ()) -> StateDict:
    """The same tensors without the prefixes (`module.`, `_orig_mod.`, `model.`, `net.`) that all their names share.

    Prefixes are taken off one at a time, and stay once a name is one of those wanted.
    """
    found, wanted = dict(tensors), set(wanted)
    while found and not wanted & set(found):
        prefix = next((each for each in PREFIXES if all(name.startswith(each) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _read_safetensors(path: Path) -> StateDict:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # it raises many kinds for damaged files
        raise CheckpointError(f"{path} cannot be read as a safetensors file of tensors ({reason(error)})") from error


def load(path: Path) -> Any:
    """What a file of torch's holds: tensors and plain values, never code.

    Raises CheckpointError naming the file for a damaged one (its parts have checksums), or one that would run code.
    """
    if (script := _script(path)) is not None:
        return script
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path} cannot be read as a PyTorch file of tensors ({_refusal(error)})") from error
    if changed := _changed(path):
        raise CheckpointError(f"{path} is damaged: its part {changed} does not have the checksum that was written")
    return content


def _script(path: Path) -> StateDict | None:
    """The tensors of a TorchScript archive; None for any other file."""
    from neural_graphs.io.torchscript import is_torchscript, read_torchscript

    if not is_torchscript(path):
        return None
    try:
        found = read_torchscript(path)
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path} cannot be read as a TorchScript archive ({reason(error)})") from error
    if not found:
        raise CheckpointError(
            f"{path} is a TorchScript archive whose numbers are in its code, as torch.jit.freeze writes them, and code "
            "is not read: save the module before it is frozen, or by torch.export.save"
        )
    return found


def _refusal(error: Exception) -> str:
    """Why torch does not read a file, without its advice to run whatever it holds."""
    if not isinstance(error, UnpicklingError):
        return reason(error)
    if found := FOREIGN.search(str(error)):
        return f"it holds {found[1]}, an object made by code, which is never run; save the state_dict() alone"
    return "its pickle is damaged, or holds more than tensors and plain values, which is never read"


def _changed(path: Path) -> str | None:
    """The first part of a zip file whose bytes are not those that were written; None where all are, or no one knows."""
    if not is_zipfile(path):  # torch's format before 1.6
        return None
    name = "list of parts"
    try:
        with ZipFile(path) as parts:
            for part in parts.infolist():
                name = part.filename
                if part.CRC:  # 0 where torch was told to leave checksums out
                    parts.read(part)
    except (BadZipFile, zlib.error, EOFError, ValueError, RuntimeError):
        return name
    return None


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


def to_safetensors(tensors: Mapping[str, Tensor], notes: dict[str, str] | None = None) -> bytes:
    """A safetensors file of tensors, each written whole, though some share numbers; `notes` go into its header."""
    from safetensors.torch import save

    whole = torch.contiguous_format
    return save({name: each.detach().cpu().clone(memory_format=whole) for name, each in tensors.items()}, notes)
