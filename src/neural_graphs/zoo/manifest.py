"""The files of a zoo: the manifest that says which shards count, shards written whole or not at all, and their lock."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neural_graphs.errors import ZooError
from neural_graphs.io.atomic import sha256, write_whole
from neural_graphs.io.documents import SEAL, json_object, reading, seal, unsealed
from neural_graphs.layout import Layout
from neural_graphs.layout.serialise import build
from neural_graphs.zoo.canvas import Canvas

FORMAT = "neural-graphs zoo"
VERSION = 3  # version 1 has the layouts in the manifest, version 2 has no checksums of manifest and layouts
READ = tuple((FORMAT, version) for version in range(1, VERSION + 1))
MANIFEST = "manifest.json"
LAYOUTS = "layouts.json"
REPAIR = "copy the whole folder, or grow the zoo again to repair it"
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
        return build(cls, {**value, "skipped": tuple((str(name), str(why)) for name, why in value["skipped"])})

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
    layouts_sha256: str | None = None  # of their file; older zoos do not know it

    @property
    def done(self) -> int:
        """Return how many of the planned networks are on disk or were skipped."""
        return sum(shard.networks + len(shard.skipped) for shard in self.shards)

    def room(self, place: int, done: int) -> int:
        """Return how many networks the plan has for the shard at `place`, of which `done` are in those before it."""
        size = self.shard_size
        return min(size, self.planned - done) if isinstance(size, int) else size[place] if place < len(size) else 0

    def write_layouts(self, folder: Path) -> "Manifest":
        """Put the layouts into a folder, in one step, before their shards; return the manifest with the checksum."""
        data = _lines([_json(layout.to_json()) for layout in self.layouts], "[]").encode()
        write_whole(folder / LAYOUTS, data)
        return replace(self, layouts_sha256=sha256(data))

    def write(self, folder: Path) -> None:
        """Put all but the layouts into a folder, in one step, sealed: a line per fact, a line per shard."""
        facts = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("layouts", "shards")}
        content = {"format": FORMAT, "version": VERSION, **facts, "shards": [vars(shard) for shard in self.shards]}
        lines = [f'"{key}": {_json(value)}' for key, value in content.items() if key != "shards"]
        lines.append(f'"shards": {_lines([_json(shard) for shard in content["shards"]], "[]")}')
        lines.append(f'"{SEAL}": {_json(seal(content))}')
        write_whole(folder / MANIFEST, _lines(lines, "{}").encode())

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder; raises `ZooError` where there is none, or it or the layouts are damaged."""
        path = folder / MANIFEST
        if not path.is_file():
            raise ZooError(f"{folder} is not a zoo: it has no {MANIFEST}. Grow one with: neural-graphs zoo grow")
        with reading(path, ZooError, REPAIR):
            content = json_object(path)
            found = content["format"], content["version"]
        if found not in READ:
            raise ZooError(f"{path} is of format {found}; this library reads {READ[0]} to {READ[-1]}.")
        with reading(path, ZooError, REPAIR):
            content = {key: value for key, value in unsealed(content).items() if key not in ("format", "version")}
            inside = tuple(map(Layout.from_json, content.pop("layouts", ())))  # of version 1
            content |= {"shards": tuple(map(Shard.from_json, content["shards"]))}
            content["shard_size"] = _sizes(content["shard_size"])
            if content["canvas"] is not None:
                Canvas.from_json(content["canvas"])
            made = build(cls, {**content, "layouts": inside})
        made = made if inside else replace(made, layouts=_read_layouts(folder / LAYOUTS, made.layouts_sha256))
        if (last := max((shard.layout for shard in made.shards), default=-1)) >= len(made.layouts):
            raise ZooError(
                f"{folder / LAYOUTS} is damaged: a shard is of layout {last}, there are {len(made.layouts)}."
            )
        return made


def _sizes(value: Any) -> int | tuple[int, ...]:
    sizes = value if isinstance(value, list) else [value]
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"shard_size is {value!r}, expected a number of networks or a list of such numbers")
    return tuple(value) if isinstance(value, list) else int(value)


def _read_layouts(path: Path, checksum: str | None) -> tuple[Layout, ...]:
    with reading(path, ZooError, REPAIR):
        data = path.read_bytes()
        if checksum is not None and sha256(data) != checksum:
            raise ValueError(f"its checksum is not the one in {MANIFEST}")
        return tuple(map(Layout.from_json, json.loads(data)))


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
