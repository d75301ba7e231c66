"""The Small CNN Zoo: one architecture, hyper-parameters of its own for every network (Unterthiner et al. 2020)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout
from neural_graphs.zoo.recipes.batched_cnn import BatchedCnn, BatchedDropout, Geometry, cross_entropy
from neural_graphs.zoo.recipes.cnn import CnnRecipe, Part
from neural_graphs.zoo.recipes.descent import RULES, Descent
from neural_graphs.zoo.recipes.hyper import (
    DERIVED_STD,
    OWN_STD,
    Initializer,
    generator_of,
    log_uniform,
    random_of,
    split_of,
)
from neural_graphs.zoo.recipes.metrics import Metrics, Snapshot, rows_of
from neural_graphs.zoo.recipes.training_data import Labelled, TrainingData
from neural_graphs.zoo.writer import ShardData


@dataclass(frozen=True)
class Hyperparameters:
    """The hyper-parameters of one network; `init_std` is None where the initialiser has none."""

    optimizer: str
    learning_rate: float
    l2: float
    dropout: float
    initializer: str
    init_std: float | None
    activation: str
    train_fraction: float


@dataclass(frozen=True)
class SmallCnn(CnnRecipe):
    """How the networks of a small-CNN zoo are grown; `checkpoints` are epochs.

    Ranges are uniform for `dropout`, log-uniform for `learning_rate`, `init_std` and `l2` (l2 · |weights|² is added to
    the loss); names and `train_fractions` are drawn with equal chances. Dropout follows every convolution. At most
    `stack` networks are one tensor program; `block` runs make a shard per activation.
    """

    checkpoints: tuple[int, ...]
    stack: int
    block: int = 128
    channels: tuple[int, ...] = (16, 16, 16)
    kernel: int = 3
    stride: int = 2
    optimizers: tuple[str, ...] = ("adam", "sgd", "rmsprop")
    learning_rate: tuple[float, float] = (5e-4, 5e-2)
    l2: tuple[float, float] = (1e-8, 1e-2)
    dropout: tuple[float, float] = (0.0, 0.7)
    initializers: tuple[str, ...] = (*DERIVED_STD, *OWN_STD)
    init_std: tuple[float, float] = (1e-3, 0.5)
    activations: tuple[str, ...] = ("relu", "tanh")
    train_fractions: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)

    def __post_init__(self) -> None:
        if list(self.checkpoints) != sorted(set(self.checkpoints)) or min(self.checkpoints, default=-1) < 0:
            raise ConfigError(f"recipe {self.name}: checkpoints are {self.checkpoints}, expected rising epochs from 0")

    def draw(self, run: int, seed: int) -> Hyperparameters:
        """Return the hyper-parameters of a run."""
        random = random_of(seed, 0, run)
        optimizer = str(random.choice(self.optimizers))
        learning_rate, l2 = log_uniform(random, self.learning_rate), log_uniform(random, self.l2)
        dropout = float(random.uniform(*self.dropout))
        initializer, std = str(random.choice(self.initializers)), log_uniform(random, self.init_std)
        activation, fraction = str(random.choice(self.activations)), float(random.choice(self.train_fractions))
        own = std if initializer in OWN_STD else None
        return Hyperparameters(optimizer, learning_rate, l2, dropout, initializer, own, activation, fraction)

    def geometry(self, data: TrainingData) -> Geometry:
        """Return what every network is built like."""
        channels, *image = data.image
        return Geometry((channels, *self.channels), self.kernel, self.stride, data.classes, (image[0], image[1]))

    def parts(self, count: int, data: TrainingData) -> Sequence[Part]:
        """Return a shard per activation for every `block` runs."""
        parts, layouts = [], dict(zip(self.activations, self.layouts(count, data), strict=True))
        for start in range(0, count, self.block):
            drawn = {run: self.draw(run, data.seed) for run in range(start, min(start + self.block, count))}
            for activation, layout in layouts.items():
                runs = tuple(run for run, draw in drawn.items() if draw.activation == activation)
                if runs:
                    parts.append(Part(runs, layout, len(runs) * len(self.checkpoints)))
        return parts

    def layouts(self, count: int, data: TrainingData) -> Sequence[Layout]:
        """Return a layout per activation, however few the runs are."""
        return [self.geometry(data).layout(activation) for activation in self.activations]

    def grow(self, part: Part, data: TrainingData) -> ShardData:
        """Train the runs of a shard, those with the same part of the images together."""
        fractions = defaultdict(list)
        draws = {run: self.draw(run, data.seed) for run in part.runs}
        for run, draw in draws.items():
            fractions[draw.train_fraction].append(run)
        grown: dict[int, list[Snapshot]] = {run: [] for run in part.runs}
        for runs in fractions.values():
            for start in range(0, len(runs), self.stack):
                chosen = runs[start : start + self.stack]
                lesson = Lesson(self, data, {run: draws[run] for run in chosen})
                for checkpoints in lesson.checkpoints():
                    for run, checkpoint in zip(chosen, checkpoints, strict=True):
                        grown[run].append(checkpoint)
        facts = [{"split": split_of(run, self.shares, data.seed), **asdict(draws[run])} for run in part.runs]
        return rows_of(grown, facts, data.seed)


class Lesson:
    """The training of one stack of networks, which see the same images in the same order."""

    def __init__(self, recipe: SmallCnn, data: TrainingData, draws: dict[int, Hyperparameters]) -> None:
        self.recipe, self.test, each = recipe, data.test, list(draws.values())
        self.train = data.train.first(each[0].train_fraction)
        batch = min(recipe.batch, len(self.train))
        self.stack = BatchedCnn(recipe.geometry(data), each[0].activation, len(each), batch)
        layout = self.stack.layout
        starts = [Initializer(draw.initializer, draw.init_std) for draw in each]
        generators = [generator_of(data.seed, 2, run) for run in draws]
        self.values = torch.stack([start.values(layout, own) for start, own in zip(starts, generators, strict=True)])
        self.descent = Descent([RULES[draw.optimizer] for draw in each], [d.learning_rate for d in each], self.values)
        penalised = torch.zeros(layout.size)
        for name, where in layout.slices.items():
            penalised[where] = 2.0 * name.endswith(".weight")
        self.penalty = torch.tensor([draw.l2 for draw in each])[:, None] * penalised
        self.generator = generator_of(data.seed, 3, min(draws))
        self.dropout = BatchedDropout(torch.tensor([draw.dropout for draw in each]), self.generator)

    def checkpoints(self) -> Iterator[list[Snapshot]]:
        """Train, and yield what all networks are at each of the recipe's epochs."""
        pixels, labels = _columns(self.train)
        for epoch in range(self.recipe.checkpoints[-1] + 1):
            if epoch:
                self._learn(pixels, labels)
            if epoch in self.recipe.checkpoints:
                train, test = self._examine(pixels, labels), self._examine(*_columns(self.test))
                yield Snapshot.all(epoch, self.values, train, test)

    def _learn(self, pixels: Float[Tensor, "images pixels"], labels: Int[Tensor, " images"]) -> None:
        """Train for an epoch: all images in a new order; those that do not fill a batch wait for the next."""
        order = torch.randperm(len(labels), generator=self.generator)
        for chosen in order.split(self.stack.batch):
            if len(chosen) == self.stack.batch:
                logits = self.stack.forward(self.values, pixels[chosen].T.contiguous(), self.dropout)
                _, dlogits = cross_entropy(logits, labels[chosen])
                gradient = self.stack.backward(dlogits).addcmul_(self.values, self.penalty)
                self.descent.step(gradient)

    def _examine(self, pixels: Float[Tensor, "images pixels"], labels: Int[Tensor, " images"]) -> Metrics:
        """Return how the networks do on images, without dropout."""
        logits = []
        for start in range(0, len(labels), self.stack.batch):
            chosen = torch.arange(start, start + self.stack.batch) % len(labels)  # the last batch is filled up
            kept = min(self.stack.batch, len(labels) - start)
            logits.append(self.stack.forward(self.values, pixels[chosen].T.contiguous())[:, :, :kept])
        return Metrics.of(torch.cat(logits, 2), labels)


def _columns(images: Labelled) -> tuple[Float[Tensor, "images pixels"], Int[Tensor, " images"]]:
    pixels, labels = images.tensors()
    return pixels.flatten(1), labels
