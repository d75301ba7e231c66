"""Zoos of random CNNs whose accuracy is a function of their weights that can be learned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neural_graphs.layout import Layout
from neural_graphs.zoo.writer import ShardData, writing

SMALL = Layout.cnn((1, 4, 4), kernels=(3, 3), classes=3, stride=2, padding=0)
PARK = (
    Layout.cnn((1, 4, 6), kernels=(3, 5), classes=3, activations=("relu", "tanh")),
    Layout.cnn((1, 4, 4, 8), kernels=(3, 3, 3), classes=3, activations="gelu", residual=(-1, -1, 0)),
    Layout.cnn((1, 8, 6), kernels=(5, 3), classes=3, activations=("none", "sigmoid")),
)
SPLITS = ("train", "train", "train", "val", "test")


def write_zoo(folder: Path, layouts: Sequence[Layout], runs: int, checkpoints: int = 1, seed: int = 0) -> Path:
    """Runs of `checkpoints` networks each: random numbers whose size, drawn per network, is the accuracy.

    Five runs, of all splits, make a shard; `runs` is a multiple of that.
    """
    random = np.random.default_rng(seed)
    shard = len(SPLITS) * checkpoints
    with writing(folder, {"kind": "random", "seed": seed}, layouts, runs * checkpoints, shard_size=shard) as zoo:
        for number, places in enumerate(zoo.remaining()):
            layout = number % len(layouts)
            size = random.uniform(0.1, 0.9, len(places))
            values = size[:, None] * random.standard_normal((len(places), layouts[layout].size))
            columns = {
                "network": np.asarray(places) // checkpoints,
                "epoch": np.asarray(places) % checkpoints,
                "split": np.repeat(SPLITS, checkpoints).tolist(),
                "test_accuracy": np.round(size, 3),
            }
            zoo.write(ShardData(values.astype(np.float32), columns, layout=layout))
    return folder
