"""Zoos of single files, of any layouts: read once to learn what is there, and once more to write it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_graphs.errors import CheckpointError, LayoutError, ZooError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.importers.pieces import Piece, columns_of, pieces, write_pieces
from neural_graphs.zoo.importers.runs_of_files import numbered, split_networks
from neural_graphs.zoo.manifest import SPLITS
from neural_graphs.zoo.store import Progress, Zoo
from neural_graphs.zoo.writer import SHARD_SIZE, ShardData, refuse_strange

ORDER = ("network", "epoch", "split", "train_accuracy", "test_accuracy", "train_loss", "test_loss", "ok")


@dataclass(frozen=True)
class FoundFile:
    """One file: the run it belongs to, and what is known of it; or the `problem` with it."""

    file: str
    run: str = ""
    facts: Mapping[str, Any] | None = None
    layout: Layout | None = None
    problem: str = ""


Read = Callable[[str], tuple[Networks, Mapping[str, Any]]]  # a file: its network, what is known of it


def collect(
    out: str | Path,
    recipe: dict[str, Any],
    files: Sequence[str],
    read: Read,
    *,
    seed: int = 0,
    shard_size: int = SHARD_SIZE,
    progress: Progress | None = None,
) -> Zoo:
    """Convert files, each with one network, to a zoo with shards per layout and return it.

    `read` returns the network of a file and its facts: `run` (the name of what it is a checkpoint of), `epoch`,
    `test_accuracy` and any others; a `split` among the facts is kept, else runs are split at random from `seed`.
    Files for which it raises `CheckpointError` or `LayoutError` are skipped, with the reason in `info(zoo)`; progress
    receives files read and to read, each twice. Raises `ZooError` where no file can be used, or where a run is in two
    splits.
    """
    refuse_strange(Path(out))  # before the files are read, which may take minutes
    total = 2 * len(files)
    found = []
    for number, file in enumerate(files, start=1):
        found.append(_look(file, read))
        if progress is not None:
            progress(number, total)
    usable = _usable(found)
    layouts = {
        layout: place for place, layout in enumerate(dict.fromkeys(each.layout for each in usable if each.layout))
    }
    table = _table(usable, seed)
    row = {each.file: place for place, each in enumerate(usable)}
    facts = [(each.file, each.problem) for each in found] + table.drop_columns("ok").to_pylist()
    listing = json.dumps(facts, default=str)  # dates, for example
    recipe = {"kind": "cnn", **recipe, "seed": seed, "listing_sha256": hashlib.sha256(listing.encode()).hexdigest()}
    plan = pieces(np.array([layouts[each.layout] if each.layout else 0 for each in found]), shard_size)

    def rows_of(piece: Piece) -> ShardData:
        chosen = [found[place] for place in piece.rows]
        kept = [each for each in chosen if not each.problem]
        vectors = [read(each.file)[0].values[0].float().numpy() for each in kept]
        values = np.stack(vectors) if vectors else np.zeros((0, list(layouts)[piece.layout].size), np.float32)
        columns = columns_of(table, np.array([row[each.file] for each in kept], dtype=np.int64))
        skipped = [(each.file, each.problem) for each in chosen if each.problem]
        return ShardData(values, columns, layout=piece.layout, skipped=skipped)

    tick = None if progress is None else lambda done, _: progress(len(files) + done, total)
    return write_pieces(out, recipe, list(layouts), plan, rows_of, tick)


def _usable(found: Sequence[FoundFile]) -> list[FoundFile]:
    """Those without a problem. Raises ZooError, with a file of each of some problems, where there is none."""
    usable = [each for each in found if not each.problem]
    if not usable:
        first: dict[str, str] = {}  # file of every problem
        for each in found:
            first.setdefault(each.problem, each.file)
        shown = [f"{file}: {problem}" for problem, file in list(first.items())[:3]]
        raise ZooError(f"None of {len(found)} files can be used. {'; '.join(shown)}{'; …' if len(first) > 3 else ''}")
    return usable


def _look(file: str, read: Read) -> FoundFile:
    """Return what a file holds, without its numbers."""
    try:
        networks, facts = read(file)
    except (CheckpointError, LayoutError) as error:
        text = str(error)  # errors may name the file, and so does the list of skipped ones
        return FoundFile(file, problem=f"it {text.removeprefix(f'{file} ')}" if text.startswith(f"{file} ") else text)
    accuracy, epoch = facts.get("test_accuracy"), facts.get("epoch", -1)
    if not isinstance(accuracy, int | float) or isinstance(accuracy, bool):
        return FoundFile(file, problem=f"its test accuracy is {accuracy!r}, no number")
    if not (0 <= accuracy <= 1 or np.isnan(accuracy)):
        return FoundFile(file, problem=f"its test accuracy is {accuracy}; accuracies are fractions, from 0 to 1")
    if not isinstance(epoch, int | float) or epoch % 1:
        return FoundFile(file, problem=f"its epoch is {epoch!r}, no whole number")
    return FoundFile(file, str(facts["run"]), facts, networks.layout)


def _table(found: Sequence[FoundFile], seed: int) -> pa.Table:
    """Return the metadata of all networks: one schema for every shard."""
    networks = numbered([each.run for each in found])
    facts = [each.facts or {} for each in found]
    if any("split" in each for each in facts):
        splits = [str(each.get("split", "train")) for each in facts]
        _refuse_parted(found, splits)
    else:
        splits = split_networks(networks, seed)
    accuracies = [float(each["test_accuracy"]) for each in facts]
    columns: dict[str, Any] = {
        "network": networks,
        "epoch": np.array([int(each.get("epoch", -1)) for each in facts]),
        "split": splits,
        "test_accuracy": accuracies,
        "ok": np.isfinite(accuracies),
        "file": [each.file for each in found],
        "run": [each.run for each in found],
    }
    others = dict.fromkeys(name for each in facts for name in each if name not in columns)
    columns |= {name: column([each.get(name) for each in facts]) for name in others}
    return pa.table({name: columns[name] for name in (*ORDER, *columns) if name in columns})


def column(values: Sequence[Any]) -> pa.Array:
    """Return values as a column of numbers, or of words where not all of them are numbers."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


def _refuse_parted(found: Sequence[FoundFile], splits: Sequence[str]) -> None:
    """Raise `ZooError` for a split of another name, or a run with checkpoints in two splits."""
    if strange := sorted(set(splits) - set(SPLITS)):
        raise ZooError(f"There are networks in split {strange[0]!r}; splits are {', '.join(SPLITS)}.")
    first: dict[str, tuple[str, str]] = {}
    for each, split in zip(found, splits, strict=True):
        file, other = first.setdefault(each.run, (each.file, split))
        if other != split:
            raise ZooError(
                f"{file} is in {other} and {each.file} in {split}, but both are checkpoints of {each.run}:"
                " a network belongs to one split."
            )
