"""The files of a zoo: the manifest that says which shards count, shards written whole or not at all, and their lock."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neural_graphs.errors import LayoutError, ZooError
from neural_graphs.io.atomic import write_whole
from neural_graphs.layout import Layout

FORMAT = "neural-graphs zoo"
VERSION = 2  # in version 1 the manifest holds the layouts
MANIFEST = "manifest.json"
LAYOUTS = "layouts.json"
SPLITS = ("train", "val", "test")  # names in the column `split`


@dataclass(frozen=True)
class Shard:
    """One shard as the manifest lists it: its networks, the index of their layout, size and SHA-256 of its files.

    `skipped` names the inputs that could not be read, each with the reason.
    """

    name: str
    networks: int
    layout: int
    tensors_bytes: int
    tensors_sha256: str
    table_bytes: int
    table_sha256: str
    skipped: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Shard":
        """Return the shard that a manifest lists."""
        return cls(**{**value, "skipped": tuple(map(tuple, value["skipped"]))})

    def files(self, folder: Path) -> tuple[tuple[Path, int, str], ...]:
        """Return path, expected bytes and expected SHA-256 of the shard's two files."""
        return (
            (folder / f"{self.name}.safetensors", self.tensors_bytes, self.tensors_sha256),
            (folder / f"{self.name}.parquet", self.table_bytes, self.table_sha256),
        )


@dataclass(frozen=True)
class Manifest:
    """What a zoo says of itself: the recipe that grew it, its layouts, and the shards that are whole.

    `planned` counts the networks the zoo is to have, skipped inputs included; `shard_size` is the number in every shard
    but the last, or a list of each shard's number; `canvas` tells how implicit networks draw (None for other networks);
    `versions` are those of the libraries that grew the first shard. Layouts, which may be thousands, have a file of
    their own: the manifest is written anew with every shard.
    """

    recipe: dict[str, Any]
    layouts: tuple[Layout, ...]
    planned: int
    shard_size: int | tuple[int, ...]
    canvas: dict[str, Any] | None
    versions: dict[str, str]
    shards: tuple[Shard, ...] = ()

    @property
    def done(self) -> int:
        """Return how many of the planned networks are on disk or were skipped."""
        return sum(shard.networks + len(shard.skipped) for shard in self.shards)

    def room(self, place: int, done: int) -> int:
        """Return how many networks the plan has for the shard at `place`, of which `done` are in those before it."""
        size = self.shard_size
        return min(size, self.planned - done) if isinstance(size, int) else size[place] if place < len(size) else 0

    def write_layouts(self, folder: Path) -> None:
        """Put the layouts into a folder, in one step, before the manifest with shards of them."""
        write_whole(folder / LAYOUTS, _lines([_json(layout.to_json()) for layout in self.layouts], "[]").encode())

    def write(self, folder: Path) -> None:
        """Put all but the layouts into a folder, in one step: a line per fact, a line per shard."""
        facts = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("layouts", "shards")}
        lines = [f'"{key}": {_json(value)}' for key, value in {"format": FORMAT, "version": VERSION, **facts}.items()]
        lines.append(f'"shards": {_lines([_json(vars(shard)) for shard in self.shards], "[]")}')
        write_whole(folder / MANIFEST, _lines(lines, "{}").encode())

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder; raises `ZooError` where there is none or it is of another format."""
        path = folder / MANIFEST
        if not path.is_file():
            raise ZooError(f"{folder} is not a zoo: it has no {MANIFEST}. Grow one with: neural-graphs zoo grow")
        with _naming(path):
            content = json.loads(path.read_bytes())
            found = content.pop("format"), content.pop("version")
            if found not in ((FORMAT, 1), (FORMAT, VERSION)):
                raise ZooError(f"{path} is of format {found}; this library reads {(FORMAT, VERSION)}.")
            size, shards = content.pop("shard_size"), tuple(map(Shard.from_json, content.pop("shards")))
            inside = tuple(map(Layout.from_json, content.pop("layouts", ())))  # of version 1
            layouts = inside or _read_layouts(folder / LAYOUTS)
            if (last := max((shard.layout for shard in shards), default=-1)) >= len(layouts):
                raise ZooError(f"{folder / LAYOUTS} is damaged: a shard is of layout {last}, there are {len(layouts)}.")
            sizes = size if isinstance(size, int) else tuple(size)
            return cls(**content, layouts=layouts, shard_size=sizes, shards=shards)


def _read_layouts(path: Path) -> tuple[Layout, ...]:
    with _naming(path):
        return tuple(map(Layout.from_json, json.loads(path.read_bytes())))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong while it is read."""
    try:
        yield
    except FileNotFoundError as error:
        raise ZooError(f"{path} is missing; copy the whole folder, or grow the zoo again to repair it.") from error
    except (ValueError, TypeError, KeyError, AttributeError, LayoutError) as error:
        raise ZooError(f"{path} is damaged ({type(error).__name__}: {error}).") from error


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(texts: Sequence[str], brackets: str) -> str:
    """Return texts of JSON as one list or dictionary, each on a line of its own."""
    return f"{brackets[0]}\n" + ",\n".join(texts) + f"\n{brackets[1]}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one writer; the system lets go when the process ends, however it ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ZooError(f"{folder} is being written by another process; wait for it or stop it.") from error
        yield
    finally:
        os.close(handle)


DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
}  # the two a shard uses; names are those of safetensors


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file as read-only views of the mapped file, at the offsets in its header.

    Raises `ZooError` naming the file, and the tensor, where the file ends too early or the header cannot be read.
    """
    with pa.memory_map(str(path)) as file:  # which keeps no file open, unlike np.memmap: a zoo may have thousands
        data = np.frombuffer(file.read_buffer(), np.uint8)
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if data.size < 8 or start > data.size:
        raise ZooError(f"{path} ends inside its header ({data.size} bytes); grow the zoo again to repair it.")
    try:
        header = json.loads(data[8:start].tobytes())
        header.pop("__metadata__", None)
        return {name: _view(path, name, data[start:], **field) for name, field in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ZooError(f"{path} has a damaged header ({type(error).__name__}: {error}).") from error


def _view(
    path: Path, name: str, data: NDArray[np.uint8], dtype: str, shape: list[int], data_offsets: list[int]
) -> NDArray[Any]:
    first, last = data_offsets
    if last > data.size:
        raise ZooError(f"{path} is truncated: tensor {name!r} needs {last} bytes of data, there are {data.size}.")
    return data[first:last].view(DTYPES[dtype]).reshape(shape)
