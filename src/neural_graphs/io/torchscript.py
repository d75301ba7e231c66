"""TorchScript archives: their tensors are read, their code is neither compiled nor run.

An archive holds a pickle of the module, whose classes are code beside it. Here every class is one that only keeps what
it is given, and the functions that put tensors together are our own; a pickle that names anything else is refused.
"""

import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from torch import Tensor

CODE = "__torch__"  # the package that all classes of archives are in
STORAGES = {
    f"{name}Storage": kind
    for name, kind in {
        "Byte": torch.uint8, "Char": torch.int8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
        "Half": torch.float16, "Float": torch.float32, "Double": torch.float64, "Bool": torch.bool,
        "BFloat16": torch.bfloat16,
    }.items()
}  # fmt: skip


def from_bytes(content: bytes, kind: torch.dtype) -> Tensor:
    """The numbers that bytes are, in a row; torch itself refuses to read none."""
    return torch.frombuffer(bytearray(content), dtype=kind) if content else torch.zeros(0, dtype=kind)


class Kept:
    """An object of any class: what it was given."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of TorchScript; a damaged one is of no kind, and torch says so."""
    if not is_zipfile(path):
        return False
    try:
        with ZipFile(path) as archive:
            return {"data.pkl", "constants.pkl"} <= {name.partition("/")[2] for name in archive.namelist()}
    except (BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error):
        return False


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The tensors of an archive by their names in the module. Raises UnpicklingError for a pickle with more in it."""
    with ZipFile(path) as archive:
        (top,) = (name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl"))
        return dict(_named(_Reader(archive, top).load(), ""))


class _Reader(pickle.Unpickler):
    """Makes tensors and `Kept` objects, and nothing else."""

    def __init__(self, archive: ZipFile, top: str):
        super().__init__(BytesIO(archive.read(f"{top}data.pkl")))
        self.archive, self.top = archive, top

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == CODE:
            return Kept
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda flat, offset, sizes, strides, *_: flat.as_strided(sizes, strides, offset).clone()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if module == "torch.jit._pickle":  # lists of one type
            return lambda values, *_: values
        raise pickle.UnpicklingError(f"it holds {module}.{name}, an object made by code, which is never run")

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers of a storage, `("storage", dtype, key, device, count)`."""
        _, kind, key, *_ = pid
        content = self.archive.read(f"{self.top}data/{key}")
        return from_bytes(content, kind)


def _named(found: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors of an object and of those in it."""
    if isinstance(found, Tensor):
        yield prefix[:-1], found
    elif isinstance(found, Kept) and isinstance(found.state, dict):
        for name, each in found.state.items():
            yield from _named(each, f"{prefix}{name}.")
