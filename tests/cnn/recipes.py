"""Recipes small enough to grow in a second, on scikit-learn's digits."""

import time

from neural_graphs.zoo.engines import Job
from neural_graphs.zoo.find_images import find_source
from neural_graphs.zoo.recipes import SmallCnn, WildPark
from neural_graphs.zoo.recipes.training_data import Pictures, TrainingData

SMALL = SmallCnn(
    "tiny-small",
    Pictures(train=96, test=40, border=4),
    batch=16,
    shares=(3, 1, 2),
    checkpoints=(0, 1, 2),
    stack=3,
    block=8,
    channels=(4, 4, 4),
    train_fractions=(0.5, 1.0),
)
PARK = WildPark(
    "tiny-park",
    Pictures(train=64, test=40),
    batch=32,
    shares=(2, 1, 1),
    epochs=(2, 5),
    every=2,
    depth=(2, 4),
    channels=(4, 8),
    kernels=(3, 5),
)


class Nap(Job):
    """Sleeps for so many seconds."""

    def count(self, part):
        return 1

    def __call__(self, part):
        time.sleep(part)
        return part


def data(recipe, seed=0):
    source = find_source("digits")
    train, test = (recipe.pictures.prepare(source.load(split), seed) for split in ("train", "test"))
    return TrainingData(train, test, seed)


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "manifest.json"}
