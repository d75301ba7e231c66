"""What is measured of a network at a checkpoint, what becomes of it, and the rows of a zoo that this makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_graphs.zoo.writer import ShardData

TRAINED, COLLAPSED, DIVERGED = "trained", "collapsed", "diverged"


@dataclass(frozen=True)
class Metrics:
    """Accuracy and mean cross-entropy of networks on one set of images, and whether each tells any two images apart."""

    accuracy: Float[Tensor, " networks"]
    loss: Float[Tensor, " networks"]
    varied: Bool[Tensor, " networks"]

    @classmethod
    def of(cls, logits: Float[Tensor, "networks classes images"], labels: Int[Tensor, " images"]) -> "Metrics":
        """Return what logits reach."""
        answers = logits.argmax(1)
        picked = labels.expand(len(logits), 1, -1)
        losses = -logits.double().log_softmax(1).gather(1, picked)[:, 0]
        return cls((answers == labels).double().mean(1), losses.mean(1), (answers != answers[:, :1]).any(1))


@dataclass(frozen=True)
class Snapshot:
    """The parameters of one network at an epoch, and its row of the metadata table."""

    values: Float[Tensor, " size"]
    row: dict[str, Any]

    @classmethod
    def all(cls, epoch: int, values: Float[Tensor, "networks size"], train: Metrics, test: Metrics) -> list["Snapshot"]:
        """Return the checkpoints of networks; the values are copied.

        The fate of a network is "diverged" where values or losses are not finite, "collapsed" where it gives the same
        answer to every test image, else "trained". Collapsed ones are `ok`, as in the published zoos: finite numbers
        with an accuracy, if that of chance.
        """
        finite = values.isfinite().all(1) & test.loss.isfinite() & train.loss.isfinite()
        checkpoints = []
        for place, copy in enumerate(values.clone()):
            fate = DIVERGED if not finite[place] else TRAINED if test.varied[place] else COLLAPSED
            row = {
                "epoch": epoch,
                "train_accuracy": float(train.accuracy[place]),
                "test_accuracy": float(test.accuracy[place]),
                "train_loss": float(train.loss[place]),
                "test_loss": float(test.loss[place]),
                "ok": fate != DIVERGED,
                "fate": fate,
            }
            checkpoints.append(cls(copy, row))
        return checkpoints


def rows_of(grown: Mapping[int, Sequence[Snapshot]], facts: Sequence[Mapping[str, Any]], seed: int) -> ShardData:
    """Return the rows of runs, one after another, each with its checkpoints and what is known of the run itself."""
    rows = [
        {"network": run, **checkpoint.row, **known, "seed": seed}
        for (run, checkpoints), known in zip(grown.items(), facts, strict=True)
        for checkpoint in checkpoints
    ]
    values = torch.stack([checkpoint.values for checkpoints in grown.values() for checkpoint in checkpoints])
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    for name, column in columns.items():
        if None in column:  # numbers that some runs do not have; a shard of such runs only must have the same type
            columns[name] = pa.array(column, pa.float64())
    return ShardData(values.numpy().astype(np.float32, copy=False), columns)
