"""The metrics of a run, a row per epoch, kept in its checkpoints so that a resumed run loses none."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from neural_graphs.io.atomic import write_whole


class History(Callback):
    """Writes `quantities` of train and val to a file after every epoch.

    `seconds` is the time spent since the first epoch, pauses left out.
    """

    def __init__(self, file: Path, quantities: Sequence[str]) -> None:
        self.file = file
        measured = (f"{split}_{quantity}" for split in ("train", "val") for quantity in quantities)
        self.columns = ("epoch", "step", *measured, "lr", "seconds")
        self.rows: list[dict[str, Any]] = []
        self._seconds = 0.0
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        now = time.perf_counter()
        self._seconds, self._since = self._seconds + now - self._since, now
        found = trainer.callback_metrics
        metrics = {name: round(float(found[name]), 6) for name in self.columns if name in found}
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics, "lr": lr}
        self.rows.append({**row, "seconds": round(self._seconds, 2)})
        if trainer.is_global_zero:
            write_whole(self.file, to_csv(self.columns, self.rows).encode())

    def state_dict(self) -> dict[str, Any]:
        return {"rows": list(self.rows), "seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self._seconds = list(state["rows"]), state["seconds"]


def to_csv(columns: Sequence[str], rows: list[dict[str, Any]]) -> str:
    """Rows as comma-separated text under the names of the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_csv(file: Path) -> dict[str, list[float]]:
    """The columns of a `metrics.csv`; empty cells are NaN."""
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        rows = list(reader)
    return {name: [float(row[name] or "nan") for row in rows] for name in reader.fieldnames or ()}
