"""Ranking files of parameters by the accuracy that a run predicts for them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural_graphs.errors import CheckpointError, ConfigError, LayoutError, ZooError
from neural_graphs.io.network_files import read_unambiguous, with_activation
from neural_graphs.layout import Layout
from neural_graphs.tasks.generalization.calibration import Calibration, Embedding, calibrate
from neural_graphs.tasks.generalization.measures import kendall
from neural_graphs.tasks.generalization.task import Generalization
from neural_graphs.tasks.runs import Run, Trained
from neural_graphs.zoo.importers.metrics_table import join, read_table


@dataclass(frozen=True)
class Ranked:
    """A file and what a run says of the network in it.

    `accuracy` is the prediction, `low` and `high` the ends of its 90 % interval. `embedding` and `weights` tell how far
    the network is from those that the run was trained on, in what the metanetwork makes of it and in the size and order
    of its tensors. Beyond 1 in either lies one in twenty held-out networks: such a network is `unlike` anything seen,
    and neither the prediction nor its interval can be relied on. `measured` is the true accuracy, where it is known.
    """

    file: str
    accuracy: float
    low: float
    high: float
    embedding: float
    weights: float
    unlike: bool
    measured: float | None = None


@dataclass(frozen=True)
class Ranking:
    """Files, best predicted first, and those that could not be read or that the run cannot judge, with the reason."""

    rows: list[Ranked]
    skipped: list[tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [asdict(row) for row in self.rows]
        return {"ranked": rows, "skipped": [{"file": file, "reason": why} for file, why in self.skipped]}

    def agreement(self) -> dict[str, Any]:
        """How many networks were measured, Kendall's τ with what was predicted, and the share inside the intervals."""
        rows = [row for row in self.rows if row.measured is not None]
        predicted, true = (np.array([getattr(row, name) for row in rows], float) for name in ("accuracy", "measured"))
        low, high = (np.array([getattr(row, name) for row in rows]) for name in ("low", "high"))
        inside = float(((low <= true) & (true <= high)).mean()) if rows else 0.0
        return {"networks": len(rows), "tau": kendall(predicted, true), "inside": inside}


def rank(
    run: str | Path | Trained,
    files: Sequence[str | Path],
    table: str | Path | None = None,
    column: str = "test_accuracy",
    activation: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Rank networks in `.safetensors`, `.pt` or `.pth` files, by a run of `Generalization` or what was shared of one.

    `table` holds accuracies that were measured, shares in `column`, and names files as for `zoo import state-dicts`.
    Files that do not tell their layout have one of the run's that fits; `activation` tells which, where several do.
    `progress` receives how many files are done, and of how many. Raises ConfigError for a run of another task, or one
    that cannot be calibrated (see `calibrate`); ZooError where the table does not fit.
    """
    paths = list(dict.fromkeys(map(Path, files)))
    measured = {} if table is None else _measured(paths, Path(table), column)
    trained = run if isinstance(run, Trained) else Run(run)
    task = trained.task()
    if not isinstance(task, Generalization):
        raise ConfigError(
            f"{trained.folder} was trained for {type(task).__name__}; a ranking needs a run of Generalization"
        )
    layouts = trained.layouts if activation is None else with_activation(trained.layouts, activation)
    judge = _Judge(task, calibrate(trained, task), layouts)
    rows: list[Ranked] = []
    skipped: list[tuple[str, str]] = []
    for done, path in enumerate(paths, 1):
        try:
            rows.append(replace(judge(path), measured=measured.get(str(path))))
        except (CheckpointError, LayoutError) as error:
            skipped.append((str(path), str(error).removeprefix(f"{path}: ")))
        if progress is not None:
            progress(done, len(paths))
    rows.sort(key=lambda row: (-row.accuracy, row.file))
    return Ranking(rows, skipped)


def _measured(paths: Sequence[Path], table: Path, column: str) -> dict[str, float]:
    """The measured accuracies of the files that have one. Raises ZooError where they are no shares."""
    content = read_table(table)
    if column not in content.column_names:
        raise ZooError(f"{table} has no column {column!r}; it has {', '.join(content.column_names)}: say --column")
    rows, _ = join(content, [str(path) for path in paths])
    found = {file: row[column] for file, row in rows.items() if row[column] is not None}
    for file, share in found.items():
        if not (isinstance(share, int | float) and 0 <= share <= 1):
            raise ZooError(f"{table}: {column} must hold shares in [0, 1], that of {file} is {share!r}")
    return found


class _Judge:
    """What a run says of single files; alone, since the company of a network changes no answer."""

    def __init__(self, task: Generalization, calibration: Calibration, layouts: Sequence[Layout]) -> None:
        self.task, self.calibration, self.layouts = task.eval(), calibration, layouts
        self.embed = Embedding(task.metanetwork).eval()
        self.precision = next(task.metanetwork.parameters()).dtype

    @torch.no_grad()
    def __call__(self, path: Path) -> Ranked:
        network = read_unambiguous(path, self.layouts).to(self.precision)
        (accuracy,) = self.task(network)[:, 0].sigmoid().double().tolist()
        (embedding,), (weights,) = self.calibration.distances(network, self.embed)
        ends = self.calibration.margin.ends(accuracy)
        return Ranked(str(path), accuracy, *ends, embedding, weights, max(embedding, weights) > 1)
