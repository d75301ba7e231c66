"""What a zoo holds, as data, and whether it is what its manifest says."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_graphs.errors import ZooError
from neural_graphs.io.atomic import sha256
from neural_graphs.zoo.manifest import MANIFEST
from neural_graphs.zoo.store import Zoo

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def info(zoo: Zoo) -> dict[str, Any]:
    """Return what a zoo holds as plain values: counts per split, label and fate, quantiles of PSNR and test accuracy,
    layouts, recipe.

    Columns that the zoo does not have are left out.
    """
    names = zoo.table.column_names
    splits = zoo.column("split").tolist() if "split" in names else ["all"] * len(zoo)
    labels = zoo.labels.tolist() if "label" in names else [None] * len(zoo)
    counts: dict[str, dict[Any, int]] = {split: {} for split in dict.fromkeys(splits)}
    for (split, label), count in sorted(Counter(zip(splits, labels, strict=True)).items()):
        counts[split][label] = count
    plan = zoo.manifest
    facts: dict[str, Any] = {
        "path": zoo.place,
        "networks": len(zoo),
        "planned": plan.planned,
        "layouts": {format(layout): layout.size for layout in zoo.layouts},
        "splits": {split: sum(each.values()) for split, each in counts.items()},
        "labels": counts,
        "skipped": [list(each) for shard in plan.shards for each in shard.skipped],
        "bytes": sum(shard.tensors_bytes + shard.table_bytes for shard in plan.shards),
        "recipe": plan.recipe,
        "versions": plan.versions,
    }
    for name in ("psnr", "test_accuracy"):
        if name in names and (known := zoo.column(name)[np.isfinite(zoo.column(name))]).size:
            facts[name] = dict(zip(QUANTILES, np.quantile(known, QUANTILES).tolist(), strict=True))
    if "fate" in names:
        facts["fates"] = dict(sorted(Counter(zoo.column("fate").tolist()).items()))
    if "network" in names:
        facts["runs"] = len(set(zoo.column("network").tolist()))
    return facts


def _expected_finite(zoo: Zoo) -> NDArray[np.bool_]:
    """Return which networks must be finite: all but those that a column `ok` marks as no good."""
    return zoo.column("ok").astype(bool) if "ok" in zoo.table.column_names else np.ones(len(zoo), bool)


def _changed_files(zoo: Zoo) -> list[str]:
    """Return a line for every file of a shard whose checksum is not the one of the manifest."""
    files = (file for place in range(len(zoo.manifest.shards)) for file in zoo.files(place))
    changed = (path for path, _, checksum in files if sha256(path.read_bytes()) != checksum)
    return [f"{path}: the checksum is not the one in {MANIFEST}; the file was changed." for path in changed]


def check_zoo(zoo: Zoo | str | Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Verify a zoo to the last byte: sizes, checksums, finite values, one row of metadata per network.

    Raises `ZooError` with one line per problem, each naming its file. `progress` receives shards done and in all.
    """
    zoo = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
    whole = Zoo(zoo.place, partial=True)
    problems = _changed_files(whole)
    start = 0
    try:
        index, finite = whole.column("index"), _expected_finite(whole)
    except ZooError as error:
        raise ZooError("\n".join([*problems, str(error)])) from error
    for place, shard in enumerate(whole.manifest.shards):
        stop = start + shard.networks
        try:
            if (rows := start + np.flatnonzero(finite[start:stop])).size:
                whole.networks(rows)
        except ZooError as error:
            problems.append(str(error))
        if index[start:stop].tolist() != list(range(start, stop)):
            problems.append(f"{shard.files(zoo.path)[1][0]}: its index is not {start} … {stop - 1}.")
        start = stop
        if progress is not None:
            progress(place + 1, len(whole.manifest.shards))
    if problems:
        raise ZooError("\n".join(problems))
