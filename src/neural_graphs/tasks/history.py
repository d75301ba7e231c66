"""The metrics of a run, a row per epoch, kept in its checkpoints so that a resumed run loses none."""

import csv
import io
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from neural_graphs.zoo.manifest import write_whole

COLUMNS = ("epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")


class History(Callback):
    """Writes `metrics.csv` after every epoch; `seconds` is the time spent since the first epoch, pauses left out."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, Any]] = []
        self._seconds = 0.0
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        now = time.perf_counter()
        self._seconds, self._since = self._seconds + now - self._since, now
        metrics = {name: round(float(value), 6) for name, value in trainer.callback_metrics.items() if name in COLUMNS}
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics, "lr": lr}
        self.rows.append({**row, "seconds": round(self._seconds, 2)})
        if trainer.is_global_zero:
            write_whole(self.file, to_csv(self.rows).encode())

    def state_dict(self) -> dict[str, Any]:
        return {"rows": list(self.rows), "seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self._seconds = list(state["rows"]), state["seconds"]


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as comma-separated text under `COLUMNS`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_csv(file: Path) -> dict[str, list[float]]:
    """The columns of a `metrics.csv`; empty cells are NaN."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [float(row[name] or "nan") for row in rows] for name in COLUMNS}
