"""Gradient-boosted trees on statistics of the tensors: a strong classical baseline for predicting accuracies."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_graphs.nn.baselines import StatNN
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.generalization.conformal import Margin
from neural_graphs.tasks.generalization.measures import agreement, kendall
from neural_graphs.tasks.generalization.task import runs_of
from neural_graphs.zoo import Zoo

ROUNDS, RATE = 1000, 0.05  # at most so many trees; the val split says how many are kept
CHUNK = 512  # networks read at a time


def boosted_trees(zoo: str | Path, column: str = "test_accuracy", only: str | None = None) -> dict[str, Any]:
    """Figures of the test split, as `Generalization` gives them, for trees grown on the train split of a zoo.

    They read the statistics that `StatNN` reads (Unterthiner et al. 2020 found them the best of their predictors); of
    at most 1,000 trees as many are kept as order the val split best. Growing takes seconds: nothing is kept on disk.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    data = ZooData(Path(zoo), only=only)
    reader = StatNN(data.family, 1)
    splits = {name: data.zoo.split(name) for name in ("train", "val", "test")}
    features = {name: _features(reader, part) for name, part in splits.items()}
    true = {name: part.column(column).astype(np.float64) for name, part in splits.items()}
    trees = HistGradientBoostingRegressor(learning_rate=RATE, max_iter=ROUNDS, early_stopping=False)
    trees.fit(features["train"], true["train"])
    stages = [kendall(found, true["val"]) for found in trees.staged_predict(features["val"])]
    kept = int(np.argmax(stages))
    predicted = {name: _at(trees, features[name], kept).clip(0, 1) for name in ("val", "test")}
    margin = Margin.of(predicted["val"], true["val"], runs_of(splits["val"]))
    tested = predicted["test"], true["test"], runs_of(splits["test"])
    return {
        "zoo": str(zoo), "split": "test", "networks": len(splits["test"]), "trees": kept + 1,
        **agreement(*tested), **margin.figures(*tested),
    }  # fmt: skip


def _at(trees: Any, features: Float[np.ndarray, "networks features"], stage: int) -> Float[np.ndarray, " networks"]:
    """The predictions of the first trees, up to that one."""
    return next(islice(trees.staged_predict(features), stage, None))


@torch.no_grad()
def _features(reader: StatNN, zoo: Zoo) -> Float[np.ndarray, "networks features"]:
    found: list[Tensor] = [reader.features(batch) for batch in zoo.batches(CHUNK)]
    return torch.cat(found).numpy()
