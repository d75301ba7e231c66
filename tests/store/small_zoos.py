"""Zoos of twenty small networks, and the bytes of what is written."""

import numpy as np
import torch

from neural_graphs.layout import Layout
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.writer import ShardData, writing

LAYOUT = Layout.mlp((2, 3, 1), activation="sine", names="layers.{}", scale=30.0, offset=0.5)
CANVAS = Canvas(2, 3, 1)


def rows(numbers, layout=LAYOUT, index=0, skipped=()):
    count = len(numbers) - len(skipped)
    first = torch.arange(count * layout.size, dtype=torch.float32).reshape(count, layout.size)
    columns = {
        "split": [("train", "val", "test")[number % 3] for number in numbers[:count]],
        "label": [number % 5 for number in numbers[:count]],
        "psnr": np.linspace(10, 30, count, dtype=np.float32),
    }
    pixels = np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3, 1)
    return ShardData((first / 100 + numbers.start).numpy(), columns, images=pixels, layout=index, skipped=skipped)


def write_zoo(path, planned=20, shard_size=8, seed=0, layouts=(LAYOUT,), stop_after=None):
    with writing(path, {"seed": seed}, layouts, planned, canvas=CANVAS, shard_size=shard_size) as writer:
        for place, numbers in enumerate(writer.remaining()):
            if place == stop_after:
                return path
            index = place % len(layouts)
            writer.write(rows(numbers, layouts[index], index))
    return path


def files(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}
