"""`read_checkpoint`: a module with its weights, and inputs to trace it with, from files and folders of all formats."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from neural_graphs.errors import CheckpointError
from neural_graphs.io.modules import Source, fill, make
from neural_graphs.io.tensors import KINDS, PICKLED, read_tensors
from neural_graphs.networks import Inputs


class Checkpoint(NamedTuple):
    """A network as a module in evaluation mode, and inputs that it can be run and traced with."""

    module: nn.Module
    inputs: Inputs


class Format(ABC):
    """One way in which networks are stored."""

    name: str

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a path looks like this format; nothing is read but names."""

    @abstractmethod
    def read(self, path: Path, module: Source | None, inputs: Inputs | None) -> Checkpoint:
        """The network. Raises CheckpointError naming the file, and the tensor or what else is wrong."""


class Onnx(Format):
    """An `.onnx` file: weights and operators, which are run as they stand."""

    name = ".onnx file"

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".onnx"

    def read(self, path: Path, module: Source | None, inputs: Inputs | None) -> Checkpoint:
        from neural_graphs.io.onnx import OnnxModule, example, read_graph

        _refuse(module, path, "the operators")
        graph = read_graph(path)
        return Checkpoint(OnnxModule(graph).eval(), example(graph) if inputs is None else inputs)


class Exported(Format):
    """A `.pt2` file of `torch.export.save`: weights and operators, read as data and run as they stand."""

    name = ".pt2 file (torch.export.save)"

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".pt2"

    def read(self, path: Path, module: Source | None, inputs: Inputs | None) -> Checkpoint:
        from neural_graphs.io.exported import ExportedModule, read_program

        _refuse(module, path, "the operators")
        program = read_program(path)
        found = program.example if inputs is None else inputs
        if found is None or len(found) != len(program.given):
            raise CheckpointError(
                f"{path} does not say what it reads: give an example input, {len(program.given)} tensors"
            )
        return Checkpoint(ExportedModule(program).eval(), found)


class HuggingFace(Format):
    """A folder with `config.json` and `model.safetensors` (or an index of shards)."""

    name = "Hugging Face folder (config.json, model.safetensors)"

    def recognises(self, path: Path) -> bool:
        return (path / "config.json").is_file()

    def read(self, path: Path, module: Source | None, inputs: Inputs | None) -> Checkpoint:
        from neural_graphs.io.huggingface import example, read_model

        _refuse(module, path, "the class")
        model = read_model(path)
        return Checkpoint(model, example(model) if inputs is None else inputs)


class Tensors(Format):
    """A state dict in `.safetensors`, its index, or a file of torch's: tensors only, so a module is needed."""

    name = f"state dict (.safetensors, {', '.join(PICKLED)}) with its module"

    def recognises(self, path: Path) -> bool:
        return path.name.endswith(KINDS)

    def read(self, path: Path, module: Source | None, inputs: Inputs | None) -> Checkpoint:
        tensors = read_tensors(path)
        if module is None:
            raise CheckpointError(
                f"{path} holds tensors and no network: give its module too (a module, a function that makes one, or "
                "package.module:function)"
            )
        filled = fill(make(module), tensors, path)
        if inputs is None:
            raise CheckpointError(f"{path} does not say what {type(filled).__name__} reads: give an example input")
        return Checkpoint(filled, inputs)


FORMATS: tuple[Format, ...] = (Onnx(), Exported(), HuggingFace(), Tensors())


def read_checkpoint(path: str | Path, module: Source | None = None, example_input: Inputs | None = None) -> Checkpoint:
    """Read a network that somebody else has stored; no code that comes with it is run.

    Args:
        path: an `.onnx` or `.pt2` file, a Hugging Face folder, or a state dict in a `.safetensors` file or one
            of torch's (`.pt`, `.pth`, `.ckpt`, `.bin`, `.pth.tar`).
        module: for a state dict: the module, a function that makes one, or `package.module:function`.
        example_input: what the network reads: a tensor, a tuple of arguments, or a dict of keyword arguments; by
            default what a `.pt2` file was exported with, or from declared shapes (ONNX) or the config (Hugging Face).

    Returns:
        The module in evaluation mode and the inputs; `ng.trace(*read_checkpoint(path))` is its layout.

    Raises:
        CheckpointError: naming the file, and the tensor or operator, that is missing, damaged or not understood.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> from tempfile import NamedTemporaryFile
        >>> from safetensors.torch import save_file
        >>> net, x = torch.nn.Linear(3, 2), torch.zeros(1, 3)
        >>> with NamedTemporaryFile(suffix=".safetensors") as file:
        ...     save_file({f"module.{name}": value for name, value in net.state_dict().items()}, file.name)
        ...     read = ng.read_checkpoint(file.name, lambda: torch.nn.Linear(3, 2), x)
        >>> torch.equal(read.module.weight, net.weight)
        True
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    found = next((each for each in FORMATS if each.recognises(path)), None)
    if found is None:
        raise CheckpointError(f"{path} is of no known format: {'; '.join(each.name for each in FORMATS)}")
    with torch.no_grad():
        return found.read(path, module, example_input)


def _refuse(module: Source | None, path: Path, what: str) -> None:
    if module is not None:
        raise CheckpointError(f"{path} brings {what} along: leave the module out")
