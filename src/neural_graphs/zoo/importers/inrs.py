"""Published zoos of implicit networks, one file per network, converted to ours: Navon et al. 2023, Zhou et al. 2023."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from neural_graphs.errors import CheckpointError, ZooError
from neural_graphs.io.foreign import load_tensors
from neural_graphs.io.tensors import PICKLED, is_pickled
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.importers.siren import as_siren
from neural_graphs.zoo.recipes.presets import PRESETS, Preset
from neural_graphs.zoo.store import Zoo
from neural_graphs.zoo.writer import SHARD_SIZE, ShardData, writing

SIDES = {1: 28, 3: 32}  # pixels along each side: grey sets are MNIST's size, colour is CIFAR-10's


@dataclass(frozen=True)
class Entry:
    """A file of a published zoo: what its name, or a list of splits, says of it; or the `problem` with that.

    `image` numbers the images of one `label` and `source` ("train" or "test"), `copy` the networks of one image.
    """

    file: str
    source: str = ""
    split: str = ""
    label: int = -1
    image: int = -1
    copy: int = 0
    problem: str = ""


class InrFormat(ABC):
    """How a published zoo names its files; `preset` is the recipe that grew it, which says how its networks draw."""

    preset: ClassVar[Preset]

    @abstractmethod
    def entries(self, folder: Path) -> list[Entry]:
        """Return an entry for every network; raises `ZooError` where the folder holds none."""


class Navon(InrFormat):
    """One folder per network, `mnist_png_training_5_41/checkpoints/model_final.pth`: label 5, image 41.

    A JSON file beside them names the splits, `{"train": {"path": […], "label": […]}, "val": …, "test": …}`; its paths
    may start at another folder. Without one, training images are held out for validation.
    """

    preset = PRESETS["dws2023"]
    NAME = re.compile(r"_(train|test)(?:ing)?_(\d+)_(\d+)/")

    def entries(self, folder: Path) -> list[Entry]:
        lists = [content for path in sorted(folder.glob("*.json")) if (content := _splits(path)) is not None]
        if len(lists) > 1:
            raise ZooError(f"{folder} holds {len(lists)} JSON files of splits; leave one.")
        if not lists:
            return hold_out([self._named(file) for file in _files(folder)])
        return [
            self._listed(folder, split, name, int(label))
            for split, names in lists[0].items()
            for name, label in zip(names["path"], names["label"], strict=True)
        ]

    def _named(self, file: str) -> Entry:
        match = self.NAME.search(file)
        if match is None:
            return Entry(file, problem="its folder is not named like mnist_png_training_5_41 (label 5, image 41)")
        return Entry(file, source=match[1], split=match[1], label=int(match[2]), image=int(match[3]))

    def _listed(self, folder: Path, split: str, name: str, label: int) -> Entry:
        """Return the entry of a file in the list of splits: the longest end of its path that exists."""
        parts = Path(name).parts
        ends = (Path(*parts[start:]).as_posix() for start in range(int(Path(name).is_absolute()), len(parts)))
        file = next((end for end in ends if (folder / end).is_file()), None)
        if file is None:
            return Entry(name, problem="it is in the list of splits, but not in the folder")
        entry = replace(self._named(file), split=split)
        if not entry.problem and entry.label != label:
            return replace(entry, problem=f"its label is {entry.label} by its name, {label} in the list of splits")
        return entry


class Zhou(InrFormat):
    """One file per network; its path carries the label, the number of the image and the number of the copy.

    Each fact is the first group of a regular expression searched for in the path below the folder, such as
    `train_aug3/mnist_5s/net41.pth`; the defaults read label 5, image 41, copy 3 of the training images there. Without
    the word train or test an image counts as a training image, without a copy as copy 0. Pass other expressions for
    files named otherwise. Training images are held out for validation, all copies of an image together.
    """

    preset = PRESETS["nfn2023"]

    def __init__(
        self,
        image: str = r"(?:net|siren|image|img|index|idx)_?(\d+)[^/]*$",
        label: str = r"(?:_(\d+)s(?=[/_.]))|(?:label|class)_?(\d+)",
        copy: str = r"(?:aug|copy|randinit)_?(\d+)",
        source: str = r"(train|test)",
    ) -> None:
        self.expressions = {"image": image, "label": label, "copy": copy, "source": source}

    def entries(self, folder: Path) -> list[Entry]:
        return hold_out([self._named(file) for file in _files(folder)])

    def _named(self, file: str) -> Entry:
        found = {}
        for fact, expression in self.expressions.items():
            match = re.search(expression, file)
            found[fact] = next((group for group in match.groups() if group), "") if match else ""
        if not (found["image"].isdigit() and found["label"].isdigit()):
            return Entry(file, problem=f"its path tells no image or no label ({found}); pass expressions that do")
        source = found["source"] or "train"
        copy = int(found["copy"] or 0)
        return Entry(file, source, source, label=int(found["label"]), image=int(found["image"]), copy=copy)


Format = InrFormat  # its former name
FORMATS: dict[str, type[InrFormat]] = {"navon": Navon, "zhou": Zhou}


def hold_out(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries with 5,000 training images, at most a tenth, moved to validation: always the same, by number."""
    images = sorted({(entry.image, entry.label) for entry in entries if entry.split == "train"})
    order = np.random.default_rng(0).permutation(len(images))
    held = {images[place] for place in order[: min(5_000, len(images) // 10)]}
    moves = [entry.split == "train" and (entry.image, entry.label) in held for entry in entries]
    return [replace(entry, split="val") if move else entry for entry, move in zip(entries, moves, strict=True)]


def convert(
    form: InrFormat,
    folder: str | Path,
    out: str | Path,
    *,
    shard_size: int = SHARD_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Zoo:
    """Convert a folder of a published zoo to a zoo of ours and return it; interrupted, it goes on where it stopped.

    Files that cannot be used do not stop the others: `info(zoo)["skipped"]` lists them with the reasons. `progress`
    receives files done and in all. Raises `ZooError` where no file can be used or two networks are the same copy.
    """
    folder = Path(folder)
    entries = form.entries(folder)
    _refuse_twins(folder, entries)
    layout = _first_layout(form, folder, entries)
    side, channels = SIDES.get(layout.groups[-1].size, 0), layout.groups[-1].size
    canvas = Canvas(side, side, channels, form.preset.axes, low=form.preset.low) if side else None
    listing = json.dumps([astuple(entry) for entry in entries]).encode()
    recipe = {
        "kind": "published",
        "preset": form.preset.name,
        "images": folder.resolve().name,
        "listing_sha256": hashlib.sha256(listing).hexdigest(),
    }
    with writing(out, recipe, [layout], len(entries), canvas=canvas, shard_size=shard_size) as writer:
        for numbers in writer.remaining():
            writer.write(_rows(form, folder, entries[numbers.start : numbers.stop], layout))
            if progress is not None:
                progress(numbers.stop, len(entries))
    return Zoo(out)


def _rows(form: InrFormat, folder: Path, entries: Sequence[Entry], layout: Layout) -> ShardData:
    """Read the networks of one shard; what cannot be read is skipped with its reason."""
    vectors, kept, skipped = [], [], []
    for entry in entries:
        try:
            networks = _read(form, folder, entry)
            if networks.layout != layout:
                raise CheckpointError(f"it is a network {networks.layout}, the others are {layout}")
        except CheckpointError as error:
            skipped.append((entry.file, str(error)))
        else:
            vectors.append(networks.values[0].numpy())
            kept.append(entry)
    columns: dict[str, Any] = {
        name: pa.array([getattr(entry, name) for entry in kept], pa.string()) for name in ("split", "source", "file")
    }
    for name in ("label", "image", "copy"):
        columns[name] = np.array([getattr(entry, name) for entry in kept], dtype=np.int64)
    values = np.stack(vectors) if vectors else np.zeros((0, layout.size))
    return ShardData(values.astype(np.float32), columns, skipped=skipped)


def _read(form: InrFormat, folder: Path, entry: Entry) -> Networks:
    """Return the network of a file; raises `CheckpointError` saying what is wrong with it."""
    if entry.problem:
        raise CheckpointError(entry.problem)
    return as_siren(load_tensors(folder / entry.file), form.preset.offset)


def _first_layout(form: InrFormat, folder: Path, entries: Sequence[Entry]) -> Layout:
    """Return the layout of the first file that can be read."""
    reasons = []
    for entry in entries:
        try:
            return _read(form, folder, entry).layout
        except CheckpointError as error:
            reasons.append(f"{entry.file}: {error}")
    shown = "; ".join(reasons[:3])
    raise ZooError(f"{folder}: none of {len(entries)} files can be used. {shown}{'; …' if len(reasons) > 3 else ''}")


def _refuse_twins(folder: Path, entries: Sequence[Entry]) -> None:
    """Raise `ZooError` where two files claim to be the same copy of an image, or an image is in two splits."""
    seen: dict[tuple[object, ...], Entry] = {}
    for entry in (entry for entry in entries if not entry.problem):
        image = (entry.source, entry.label, entry.image)
        twin = seen.setdefault((*image, entry.copy), entry)
        if twin is not entry:
            raise ZooError(f"{folder}: {twin.file} and {entry.file} are both copy {entry.copy} of one image.")
        other = seen.setdefault(image, entry)
        if other.split != entry.split:
            raise ZooError(f"{folder}: one image is in two splits, {other.file} and {entry.file}.")


def _files(folder: Path) -> list[str]:
    """Return all PyTorch files at or below a folder, relative to it, sorted."""
    if not folder.is_dir():
        raise ZooError(f"{folder} is not a folder.")
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and is_pickled(path)
    )
    if not files:
        raise ZooError(f"{folder} holds no file of {', '.join(PICKLED)}.")
    return files


def _splits(path: Path) -> dict[str, dict[str, list[Any]]] | None:
    """Return the lists of a JSON file of splits; None for a JSON file of something else."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ZooError(f"{path} is not JSON ({error}).") from error
    if not isinstance(content, dict) or not {"train", "test"} <= set(content):
        return None
    for split, names in content.items():
        if not isinstance(names, dict) or {"path", "label"} - set(names) or len(names["path"]) != len(names["label"]):
            raise ZooError(f"{path}: {split} is not a pair of lists path and label of equal length.")
    return content
