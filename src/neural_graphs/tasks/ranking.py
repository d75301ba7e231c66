"""Ranking files of parameters by the accuracy that a run predicts for them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from neural_graphs.errors import CheckpointError, ConfigError, LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.tasks.calibration import Calibration, Description, calibrate
from neural_graphs.tasks.files import read_unambiguous
from neural_graphs.tasks.generalization import Generalization
from neural_graphs.tasks.runs import Run, load_task


@dataclass(frozen=True)
class Ranked:
    """A file and what a run says of the network in it.

    `accuracy` is the prediction, `low` and `high` the ends of its 90 % interval; `distance` tells how far the network
    is from those the run was trained on, 1 being as far as one in a hundred held-out ones, and `unlike` whether that is
    farther: then neither the prediction nor its interval can be relied on.
    """

    file: str
    accuracy: float
    low: float
    high: float
    distance: float
    unlike: bool


@dataclass(frozen=True)
class Ranking:
    """Files, best predicted first, and those that could not be read or that the run cannot judge, with the reason."""

    rows: list[Ranked]
    skipped: list[tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [asdict(row) for row in self.rows]
        return {"ranked": rows, "skipped": [{"file": file, "reason": why} for file, why in self.skipped]}


def rank(run: str | Path, files: Sequence[str | Path]) -> Ranking:
    """Rank networks in `.safetensors`, `.pt` or `.pth` files, by the best checkpoint of a run of `Generalization`.

    Raises ConfigError for a run of another task, or one that cannot be calibrated (see `calibrate`).
    """
    folder = Run(run)
    task, config = load_task(run)
    if not isinstance(task, Generalization):
        raise ConfigError(f"{run} was trained for {type(task).__name__}; a ranking needs a run of Generalization")
    calibration = calibrate(folder, task, config)
    describe, layouts = Description(task.metanetwork).eval(), folder.layouts
    rows: list[Ranked] = []
    skipped: list[tuple[str, str]] = []
    for path in dict.fromkeys(map(Path, files)):
        try:
            rows.append(_judge(path, task, calibration, describe, layouts))
        except (CheckpointError, LayoutError) as error:
            skipped.append((str(path), str(error).removeprefix(f"{path}: ")))
    rows.sort(key=lambda row: (-row.accuracy, row.file))
    return Ranking(rows, skipped)


@torch.no_grad()
def _judge(
    path: Path, task: Generalization, calibration: Calibration, describe: Description, layouts: Sequence[Layout]
) -> Ranked:
    """What the run says of one file; alone, since the company of a network changes no answer."""
    network: Networks = read_unambiguous(path, layouts)
    network = network.to(next(iter(task.metanetwork.parameters())).dtype)
    (accuracy,) = task.eval()(network)[:, 0].sigmoid().double().tolist()
    low, high = calibration.margin.ends(accuracy)
    (distance,) = calibration.novelty.distance(describe(network)).tolist()
    return Ranked(str(path), accuracy, low, high, distance, distance > 1)
