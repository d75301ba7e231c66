"""Growing a zoo of implicit networks on disk: which network is fitted to which image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_graphs.errors import ConfigError, ZooError
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.engines import Engine, Here, Job, Tick, nobody
from neural_graphs.zoo.find_images import find_source
from neural_graphs.zoo.grow import Growth, grow, silent
from neural_graphs.zoo.images import Images, Source
from neural_graphs.zoo.manifest import SPLITS
from neural_graphs.zoo.recipes.inr import STACK, Recipe
from neural_graphs.zoo.recipes.inr import grow as fit_sirens
from neural_graphs.zoo.recipes.presets import Preset
from neural_graphs.zoo.store import Progress, Zoo
from neural_graphs.zoo.writer import SHARD_SIZE, ShardData, ZooWriter


@dataclass(frozen=True)
class Plan:
    """Which image each network of a zoo is fitted to, arrays of shape (networks,).

    `split` indexes `SPLITS`, `image` the images of that split's source, `copy` counts the networks of one image. Any
    first part of a plan is the plan of a smaller zoo, so a zoo can be grown further later.
    """

    split: NDArray[np.int64]
    image: NDArray[np.int64]
    copy: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.split)

    @classmethod
    def of(cls, train: int, test: int, *, shares: Sequence[int] | None, copies: int, seed: int) -> "Plan":
        """Return the plan for all images of a source with `train` and `test` images, in a random order.

        Validation images are taken from the training images. `shares` weighs train, val and test (default: all images,
        a twelfth of the training images for validation); the splits keep these shares in every first part of the plan.
        Only training images get more than one of the `copies`, and all networks of an image follow each other.
        """
        val = train // 12  # 5,000 of the 60,000 of MNIST, as in the published zoos
        weights = np.array((train - val, val, test) if shares is None else shares)
        if weights.shape != (3,) or (weights < 0).any() or not weights.any():
            raise ZooError(
                f"Shares of train, val and test are three weights, none below and one above 0; got {shares}."
            )
        if copies < 1 or seed < 0:
            raise ZooError(f"Expected copies ≥ 1 and a seed ≥ 0; got {copies} copies and seed {seed}.")
        random = np.random.default_rng(seed)
        orders = {"train": random.permutation(train), "test": random.permutation(test)}
        splits = _interleave(weights, train, test)
        counts = np.where(splits == 0, copies, 1)
        images = np.empty_like(splits)
        for held_out, order in ((False, orders["train"]), (True, orders["test"])):
            chosen = (splits == SPLITS.index("test")) == held_out
            images[chosen] = order[: chosen.sum()]
        copy = np.concatenate([np.arange(count) for count in counts]) if copies > 1 else np.zeros_like(splits)
        return cls(np.repeat(splits, counts), np.repeat(images, counts), copy)

    def first(self, count: int) -> "Plan":
        """Return the plan of the first `count` networks."""
        return Plan(self.split[:count], self.image[:count], self.copy[:count])


def _interleave(weights: NDArray[np.int64], train: int, test: int) -> NDArray[np.int64]:
    """Return the split of every image: always the split furthest behind its share, until one runs out of images."""
    counts = [0, 0, 0]
    splits: list[int] = []
    shares, total = [int(weight) for weight in weights], int(weights.sum())
    while True:
        behind = [share * (len(splits) + 1) - total * count for share, count in zip(shares, counts, strict=True)]
        chosen = behind.index(max(behind))
        counts[chosen] += 1
        if counts[0] + counts[1] > train or counts[2] > test:
            return np.array(splits, dtype=np.int64)
        splits.append(chosen)


def grow_inrs(
    path: str | Path,
    source: Source | str | Path,
    preset: Preset,
    *,
    count: int | None = None,
    seed: int = 0,
    copies: int | None = None,
    shares: Sequence[int] | None = None,
    hidden: Sequence[int] = (32, 32),
    shard_size: int | None = None,
    device: str = "cpu",
    workers: int = 2,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Zoo:
    """Grow a zoo of SIRENs in a folder, or go on with one, and return it.

    `count` networks (default: all the plan has), `copies` of each training image (default: the preset's), `shares` of
    train, val and test as in `Plan.of`. A kill loses at most the shard in progress; the same arguments go on from there
    to the same bytes, and a larger `count` grows the zoo further. Without an `engine` the `workers` are threads that
    share a shard; with one, each of its workers has a shard of its own, and a kill loses all in hand. `progress`
    receives networks done and planned. Raises `ZooError` where the folder holds a zoo of another recipe, `ImageError`
    where the images cannot be read.
    """
    kind = device.partition(":")[0]
    if kind not in STACK:
        raise ConfigError(f"networks cannot be grown on device {device!r}; expected one of {', '.join(STACK)}.")
    source = source if isinstance(source, Source) else find_source(source)
    train, test = _load(source)
    height, width, channels = train.pixels.shape[1:]
    recipe = Recipe(preset, (height, width, channels), tuple(hidden), seed)
    copies = preset.copies if copies is None else copies
    plan = Plan.of(len(train), len(test), shares=shares, copies=copies, seed=seed)
    if count is not None and not 0 < count <= len(plan):
        raise ZooError(f"{source.name} has images for {len(plan)} networks with these shares and copies, not {count}.")
    plan = plan.first(len(plan) if count is None else count)
    facts = {
        **recipe.to_json(),
        "images": source.name,
        "images_sha256": [train.checksum(), test.checksum()],
        "shares": shares,
        "copies": copies,
        "device": kind,  # the same seed gives the same bytes on the same kind of device, in stacks of the same size
        "stack": STACK[kind],
    }
    growth = Growth(
        facts=facts,
        layouts=[recipe.layout],
        planned=len(plan),
        shard_size=shard_size or max(SHARD_SIZE, 4 * STACK[kind]),  # a shard fills its stacks
        networks=len(plan),
        job=Fitting(recipe, plan, (train, test), device, workers if engine is None else 1),
        left=ZooWriter.left,
        layout=lambda _: 0,
        canvas=Canvas(height, width, channels, preset.axes, low=preset.low, high=1.0),
    )
    return grow(path, growth, Here() if engine is None else engine, progress or silent)


def _load(source: Source) -> tuple[Images, Images]:
    """Training and test images, all of one shape."""
    train, test = source.load("train"), source.load("test")
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise ZooError(
            f"{source.name}: train images are {train.pixels.shape[1:]}, test images {test.pixels.shape[1:]}."
        )
    return train, test


@dataclass(frozen=True)
class Fitting(Job[range, ShardData]):
    """Fits the networks of one shard of a zoo, given by their numbers."""

    recipe: Recipe
    plan: Plan
    images: tuple[Images, Images]
    device: str
    workers: int

    def count(self, part: range) -> int:
        """Return how many networks a shard has."""
        return len(part)

    def __call__(self, part: range, tick: Tick = nobody) -> ShardData:
        """Return the fitted networks; `tick` receives how many are done since its last call."""
        chosen = slice(part.start, part.stop)
        split, image = self.plan.split[chosen], self.plan.image[chosen]
        sources = [self.images[int(SPLITS[each] == "test")] for each in split]
        pixels = np.stack([source.pixels[place] for source, place in zip(sources, image, strict=True)])
        grown = fit_sirens(
            pixels, self.recipe, first=part.start, device=self.device, workers=self.workers, progress=tick
        )
        columns: dict[str, Any] = {
            "split": [SPLITS[each] for each in split],
            "label": [int(source.labels[place]) for source, place in zip(sources, image, strict=True)],
            "source": [source.split for source in sources],
            "image": image,
            "copy": self.plan.copy[chosen],
            "psnr": grown.psnr.numpy(),
            "steps": grown.steps.numpy(),
            "seed": np.full(len(image), self.recipe.seed),
        }
        return ShardData(grown.values.numpy(), columns, images=pixels)
