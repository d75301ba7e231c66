"""What a `.pt2` file says, as values of our own.

`torch.export.load` unpickles whatever an archive holds, and so runs its code. Here the graph is read as JSON, tensors
as the bytes they are, and example inputs, which are pickled, with `weights_only=True`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from neural_graphs.errors import CheckpointError, reason
from neural_graphs.io.torchscript import from_bytes

SCHEMA = 8  # the major version of the format, of torch 2.7 and later
KINDS = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, torch.bfloat16,
)  # fmt: skip
DTYPES = dict(enumerate(KINDS, start=1))  # as the format numbers them
SMALL = (torch.float16, torch.bfloat16)

Json = dict[str, Any]


@dataclass(frozen=True)
class ExportedProgram:
    """A program as its file has it: `graph` in torch's terms, `tensors` by their names in it.

    `parameters`, `buffers` and `constants` give their names in the module; `given` are the inputs of the user,
    `answers` the outputs, and `example` what the program was exported with, where that can be read.
    """

    path: Path
    graph: Json
    tensors: dict[str, Tensor]
    parameters: dict[str, str]
    buffers: dict[str, str]
    constants: dict[str, str]
    given: tuple[str, ...]
    answers: tuple[str, ...]
    example: tuple[Tensor, ...] | None


def read_program(path: Path) -> ExportedProgram:
    """Read a `.pt2` file; nothing in it is run. Half precision is read as single.

    Raises CheckpointError naming the file for anything that is no program of `torch.export`.
    """
    try:
        with ZipFile(path) as archive:
            parts = {part.filename.partition("/")[2]: part for part in archive.infolist()}
            if any(part.compress_type != ZIP_STORED for part in parts.values()):
                raise CheckpointError(
                    f"{path} is compressed, which torch.export.save never does; save the program again"
                )
            return _program({name: archive.read(part) for name, part in parts.items()}, path)
    except (BadZipFile, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is damaged, or no archive of torch.export.save ({reason(error)})") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no program of torch.export.save ({_why(error)}); save it again") from error


def _why(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else reason(error)


def _program(parts: Mapping[str, bytes], path: Path) -> ExportedProgram:
    (name,) = _models(parts, path)
    said = json.loads(parts[f"models/{name}.json"])
    if (version := said["schema_version"]["major"]) != SCHEMA:
        raise CheckpointError(f"{path} is of version {version} of torch's format, {SCHEMA} is read; save it again")
    module = said["graph_module"]
    kinds: dict[str, dict[str, str]] = {"parameter": {}, "buffer": {}, "tensor_constant": {}}
    given: list[str] = []
    for spec in module["signature"]["input_specs"]:
        ((kind, each),) = spec.items()
        if kind in kinds:
            kept = kind != "buffer" or each["persistent"]  # others are in no state dict
            kinds[kind if kept else "tensor_constant"][each["arg"]["name"]] = each[f"{kind}_name"]
        elif kind == "user_input" and "as_tensor" in each["arg"]:
            given.append(each["arg"]["as_tensor"]["name"])
        elif kind not in ("user_input", "constant_input"):
            raise CheckpointError(f"{path} reads a {kind}, which is no tensor; export the module without it")
    stored = {**_tensors(parts, f"data/weights/{name}_weights_config.json", path),
              **_tensors(parts, f"data/constants/{name}_constants_config.json", path)}  # fmt: skip
    own = {arg: stored[key] for names in kinds.values() for arg, key in names.items()}
    outputs = [spec["user_output"]["arg"] for spec in module["signature"]["output_specs"] if "user_output" in spec]
    answers = tuple(each["as_tensor"]["name"] for each in outputs if "as_tensor" in each)
    if not answers or not module["graph"]["nodes"]:
        raise CheckpointError(f"{path} holds no network: its program makes no tensor")
    example = _example(parts.get(f"data/sample_inputs/{name}.pt"))
    parameters, buffers, constants = kinds.values()
    return ExportedProgram(path, module["graph"], own, parameters, buffers, constants, tuple(given), answers, example)


def _models(parts: Mapping[str, bytes], path: Path) -> list[str]:
    """The name of the only program of an archive."""
    if any(name.startswith("data/aotinductor/") for name in parts):
        raise CheckpointError(f"{path} holds compiled code, which is never run; save the exported program instead")
    if "serialized_exported_program.json" in {*parts} | {name.rpartition("/")[2] for name in parts}:
        raise CheckpointError(f"{path} was saved by a torch before 2.7, whose tensors are pickled; save it again")
    found = [name[7:-5] for name in parts if name.startswith("models/") and name.endswith(".json")]
    if len(found) != 1:
        raise CheckpointError(f"{path} holds {len(found)} programs of torch.export.save, expected one")
    return found


def _tensors(parts: Mapping[str, bytes], config: str, path: Path) -> dict[str, Tensor]:
    """The tensors that a list of them names, by their names in the module; tied ones are one tensor."""
    folder, found, known = config.rpartition("/")[0], dict[str, Tensor](), dict[str, Tensor]()
    for name, said in json.loads(parts[config])["config"].items() if config in parts else ():
        key = json.dumps(said, sort_keys=True)
        if key not in known:
            try:
                known[key] = _tensor(parts[f"{folder}/{said['path_name']}"], said)
            except Exception as error:  # a damaged pickle can raise anything
                raise CheckpointError(f"{path}: the tensor {name} cannot be read ({_why(error)})") from error
        found[name] = known[key]
    return found


def _tensor(content: bytes, said: Json) -> Tensor:
    if said["use_pickle"]:
        found = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(found, Tensor):
            raise TypeError(f"expected a tensor, got a {type(found).__name__}")
    else:
        meta = said["tensor_meta"]
        sizes, strides = ([each["as_int"] for each in meta[key]] for key in ("sizes", "strides"))
        flat = from_bytes(content, DTYPES[meta["dtype"]])
        found = flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()
    return found.float() if found.dtype in SMALL else found


def _example(content: bytes | None) -> tuple[Tensor, ...] | None:
    """The inputs a program was exported with; None where they are no tensors and plain values, or there are none."""
    try:
        found = torch.load(BytesIO(content or b""), map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle can raise anything
        return None
    leaves = [each for each in pytree.tree_leaves(found) if isinstance(each, Tensor)]
    return tuple(each.detach().float() if each.dtype in SMALL else each.detach() for each in leaves)
