"""Writing a zoo shard by shard: what is on disk is whole, and writing again continues where it stopped."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import save

from neural_graphs.errors import ZooError
from neural_graphs.io.atomic import PARTIAL, sha256, write_whole
from neural_graphs.layout import Layout
from neural_graphs.versions import versions
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.manifest import LAYOUTS, MANIFEST, Manifest, Shard, locked

SHARD_SIZE = 512
SHOWN = 3  # differences between two plans


@dataclass(frozen=True)
class ShardData:
    """The networks of one shard: `values` (networks, size) float32 and one column per fact about them.

    `images` (networks, height, width, channels) uint8 are what implicit networks were fitted to; `layout` indexes the
    layouts of the zoo; `skipped` pairs each input that could not be read with the reason.
    """

    values: NDArray[np.float32]
    columns: Mapping[str, Sequence[Any] | NDArray[Any] | pa.Array]
    images: NDArray[np.uint8] | None = None
    layout: int = 0
    skipped: Sequence[tuple[str, str]] = field(default_factory=tuple)


class ZooWriter:
    """Writes a zoo of `planned` networks into a folder, `shard_size` at a time; use it through `writing`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.sizes = [layout.size for layout in manifest.layouts]

    def remaining(self) -> Iterator[range]:
        """Yield the planned networks of each shard still to be written; write one before asking for the next."""
        for numbers in self.left():
            yield numbers
            if self.manifest.done == numbers.start:
                raise ZooError(f"{self.folder}: networks {numbers.start} and on were asked for, but not written.")

    def left(self) -> list[range]:
        """Return the planned networks of all shards still to be written, for a caller that makes several at a time."""
        ranges: list[range] = []
        done = self.manifest.done
        while done < self.manifest.planned:
            room = self.manifest.room(len(self.manifest.shards) + len(ranges), done)
            ranges.append(range(done, done + room))
            done += room
        return ranges

    def write(self, rows: ShardData) -> None:
        """Write the next shard: tensors, table, then the manifest that makes them count.

        Raises `ZooError` where values do not fit the layout, the columns or the plan, and where they are not finite,
        but for networks that a column `ok` marks as no good.
        """
        name = f"shard-{len(self.manifest.shards):05d}"
        self._check(name, rows)
        tensors = {"values": np.ascontiguousarray(rows.values, dtype="<f4")}
        if rows.images is not None:
            tensors["images"] = np.ascontiguousarray(rows.images)
        table = io.BytesIO()
        start = sum(shard.networks for shard in self.manifest.shards)
        index = np.arange(start, start + len(rows.values))
        pq.write_table(pa.table({"index": index, **rows.columns}), table)
        files = {"safetensors": save(tensors, {"layout": str(rows.layout)}), "parquet": table.getvalue()}
        for suffix, data in files.items():
            write_whole(self.folder / f"{name}.{suffix}", data)
        shard = Shard(
            name=name,
            networks=len(rows.values),
            layout=rows.layout,
            tensors_bytes=len(files["safetensors"]),
            tensors_sha256=sha256(files["safetensors"]),
            table_bytes=len(files["parquet"]),
            table_sha256=sha256(files["parquet"]),
            skipped=tuple(rows.skipped),
        )
        self.manifest = replace(self.manifest, shards=(*self.manifest.shards, shard))
        self.manifest.write(self.folder)

    def _check(self, name: str, rows: ShardData) -> None:
        count, plan = len(rows.values), self.manifest
        expected = plan.room(len(plan.shards), plan.done)
        if count + len(rows.skipped) != expected:
            raise ZooError(f"{name} of {self.folder}: {count} networks, but the plan has {expected} for this shard.")
        if rows.values.shape != (count, self.sizes[rows.layout]):
            size = self.sizes[rows.layout]
            raise ZooError(f"{name} of {self.folder}: values {rows.values.shape}, but a network has {size} numbers.")
        given_up = ~np.array(rows.columns.get("ok", np.ones(count, bool)), bool)  # marked as no good: kept as it is
        broken = ~np.isfinite(rows.values).all(axis=1) & ~given_up
        if broken.any():
            bad = np.flatnonzero(broken)[:5].tolist()
            raise ZooError(f"{name} of {self.folder}: the values of networks {bad} of this shard are not finite.")
        for column, entries in {**rows.columns, "images": rows.images}.items():
            if entries is not None and len(entries) != count:
                raise ZooError(f"{name} of {self.folder}: {count} networks, but {len(entries)} entries of {column}.")


@contextmanager
def writing(
    path: str | Path,
    recipe: dict[str, Any],
    layouts: Sequence[Layout],
    planned: int,
    *,
    canvas: Canvas | None = None,
    shard_size: int | Sequence[int] = SHARD_SIZE,
) -> Iterator[ZooWriter]:
    """Open a folder for a zoo of `planned` networks, new or begun by the same recipe; one process at a time.

    Whole shards of a zoo begun before are kept, and those that are damaged, or shorter than this plan has them, are
    written again. Layouts, and shard sizes where they are a list, may become more from one plan to a larger one. Raises
    `ZooError` where the folder holds a zoo of another recipe, a larger zoo, or other files.
    """
    sizes = (shard_size,) if isinstance(shard_size, int) else tuple(shard_size)
    if planned < 1 or min(sizes, default=0) < 1:
        raise ZooError(f"A zoo of {planned} networks in shards of {shard_size}: all must be at least 1.")
    if not isinstance(shard_size, int) and sum(sizes) != planned:
        raise ZooError(f"A zoo of {planned} networks in shards of {shard_size}: these hold {sum(sizes)}.")
    folder = Path(path)
    refuse_strange(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Manifest(
        recipe=recipe,
        layouts=tuple(layouts),
        planned=planned,
        shard_size=shard_size if isinstance(shard_size, int) else sizes,
        canvas=None if canvas is None else canvas.to_json(),
        versions=versions("torch", "numpy", "pyarrow", "safetensors"),
    )
    with locked(folder):
        manifest = _resume(folder, fresh) if (folder / MANIFEST).exists() else fresh
        manifest = manifest.write_layouts(folder)
        manifest.write(folder)
        yield ZooWriter(folder, manifest)


def refuse_strange(folder: Path) -> None:
    """Raise `ZooError` for the path of a file, or of a folder with other files than those of a zoo."""
    if folder.exists() and not folder.is_dir():
        raise ZooError(f"{folder} is a file; expected a folder for the zoo.")
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    own = (PARTIAL, LAYOUTS)  # all there is after a kill before the first manifest
    if strange := sorted(path.name for path in folder.iterdir() if not path.name.endswith(own)):
        raise ZooError(f"{folder} is not empty and no zoo (it holds {', '.join(strange[:3])}); choose another folder.")


def _resume(folder: Path, fresh: Manifest) -> Manifest:
    """Return the manifest on disk, cut to the shards that are whole and as long as the new plan has them."""
    found = Manifest.read(folder)
    ours, theirs = _compared(fresh, found), _compared(found, fresh)
    if different := sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)):
        facts = [f"{key} is {theirs.get(key)} there, {ours.get(key)} asked for" for key in different[:SHOWN]]
        more = f", and {len(different) - SHOWN} more differ" if len(different) > SHOWN else ""
        raise ZooError(f"{folder} holds another zoo: {', '.join(facts)}{more}; choose another folder.")
    if found.done > fresh.planned:
        raise ZooError(f"{folder} holds {found.done} networks already, more than the {fresh.planned} asked for.")
    kept: list[Shard] = []
    done = 0
    for place, shard in enumerate(found.shards):
        count = shard.networks + len(shard.skipped)
        if count != fresh.room(place, done) or not is_whole(folder, shard):
            break
        kept.append(shard)
        done += count
    return replace(fresh, versions=found.versions, shards=tuple(kept))


def is_whole(folder: Path, shard: Shard) -> bool:
    """Tell whether both files of a shard are on disk with the checksums of the manifest."""
    return all(path.is_file() and sha256(path.read_bytes()) == checksum for path, _, checksum in shard.files(folder))


def _compared(plan: Manifest, other: Manifest) -> dict[str, Any]:
    """Return what two plans for one zoo must share, by dotted names; a larger one has more layouts, or listed sizes."""
    return _entries(
        {
            "recipe": plan.recipe,
            "layouts": plan.layouts[: len(other.layouts)],
            "shard_size": plan.shard_size if isinstance(plan.shard_size, int) else "listed",
            "canvas": plan.canvas,
        }
    )


def _entries(value: Any, name: str = "") -> dict[str, Any]:
    """Return the entries of nested dictionaries, lists and tuples (which JSON makes lists) under dotted names."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {name: value}
    prefix = f"{name}." if name else ""
    return {path: entry for key, each in value.items() for path, entry in _entries(each, f"{prefix}{key}").items()}
