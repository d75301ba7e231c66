"""CNN Wild Park: depth, widths, kernels, activations and skips of its own for every network (Kofinas et al. 2024)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.recipes.cnn import CnnRecipe, Part
from neural_graphs.zoo.recipes.hyper import generator_of, random_of, split_of
from neural_graphs.zoo.recipes.metrics import Metrics, Snapshot, rows_of
from neural_graphs.zoo.recipes.training_data import TrainingData
from neural_graphs.zoo.writer import ShardData

EXAMINED = 500  # images that are tested at a time


@dataclass(frozen=True)
class Species:
    """The architecture of one network, and how long it learns. `skips[l]` is the layer added to layer l, or −1."""

    channels: tuple[int, ...]  # of each convolution
    kernels: tuple[int, ...]
    activations: tuple[str, ...]
    skips: tuple[int, ...]
    epochs: int

    def layout(self, inputs: int, classes: int) -> Layout:
        """Return the layout: convolutions with stride 1 that keep the size, a global mean, a Linear head."""
        channels = (inputs, *self.channels)
        return Layout.cnn(channels, self.kernels, classes, activations=self.activations, residual=self.skips)

    def facts(self) -> dict[str, Any]:
        """Return the metadata columns."""
        each = {
            "channels": self.channels,
            "kernels": self.kernels,
            "activations": self.activations,
            "skips": self.skips,
        }
        return {"depth": len(self.channels), **{name: " ".join(map(str, entry)) for name, entry in each.items()}}


@dataclass(frozen=True)
class WildPark(CnnRecipe):
    """How the networks of a wild park are grown: an architecture at random each, trained by AdamW.

    `depth` and `epochs` are ranges, both ends included; every `every` epochs there is a checkpoint. `skip` is the
    chance that a layer that may have a skip has one; its source is any earlier layer but the one before.
    """

    epochs: tuple[int, int]
    every: int
    depth: tuple[int, int] = (2, 5)
    channels: tuple[int, ...] = (4, 8, 16, 32)
    kernels: tuple[int, ...] = (3, 5, 7)
    activations: tuple[str, ...] = ("relu", "gelu", "tanh", "sigmoid", "leaky_relu", "none")
    skip: float = 0.5
    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.every < 1 or self.epochs[0] < self.every:
            raise ConfigError(f"recipe {self.name}: no checkpoint in {self.epochs[0]} epochs, one every {self.every}")

    def draw(self, run: int, seed: int) -> Species:
        """Return the architecture of a run."""
        random = random_of(seed, 0, run)
        depth = int(random.integers(*self.depth, endpoint=True))
        return Species(
            channels=tuple(random.choice(self.channels, depth).tolist()),
            kernels=tuple(random.choice(self.kernels, depth).tolist()),
            activations=tuple(random.choice(self.activations, depth).tolist()),
            skips=tuple(
                int(random.integers(layer - 1)) if random.random() < self.skip and layer > 1 else -1
                for layer in range(depth)
            ),
            epochs=int(random.integers(*self.epochs, endpoint=True)),
        )

    def parts(self, count: int, data: TrainingData) -> Sequence[Part]:
        """Return a shard per network."""
        drawn = [self.draw(run, data.seed) for run in range(count)]
        layouts = [species.layout(data.image[0], data.classes) for species in drawn]
        return [
            Part((run,), layout, species.epochs // self.every)
            for run, (layout, species) in enumerate(zip(layouts, drawn, strict=True))
        ]

    def grow(self, part: Part, data: TrainingData) -> ShardData:
        """Train one network."""
        (run,) = part.runs
        species = self.draw(run, data.seed)
        checkpoints = list(self._train(part.layout, species, data, generator_of(data.seed, 2, run)))
        facts = {"split": split_of(run, self.shares, data.seed), **species.facts()}
        return rows_of({run: checkpoints}, [facts], data.seed)

    def _train(
        self, layout: Layout, species: Species, data: TrainingData, generator: torch.Generator
    ) -> Iterator[Snapshot]:
        """Train a network and yield its checkpoints."""
        values = initial(layout, generator)[None].requires_grad_()
        adam = torch.optim.AdamW([values], lr=self.learning_rate, weight_decay=self.weight_decay)
        train, test = data.train.tensors(), data.test.tensors()
        batch = min(self.batch, len(data.train))
        for epoch in range(1, species.epochs - species.epochs % self.every + 1):
            for chosen in torch.randperm(len(data.train), generator=generator).split(batch):
                if len(chosen) == batch:
                    adam.zero_grad()
                    logits = Networks(values, layout).run(train[0][chosen])[0]
                    nn.functional.cross_entropy(logits, train[1][chosen]).backward()
                    adam.step()
            if epoch % self.every == 0:
                networks = Networks(values.detach(), layout)
                yield from Snapshot.all(epoch, networks.values, examine(networks, *train), examine(networks, *test))


def initial(layout: Layout, generator: torch.Generator) -> Float[Tensor, " size"]:
    """Return initial values as PyTorch's: U(−1/√fan_in, 1/√fan_in) for weights and biases."""
    values = 2 * torch.rand(layout.size, generator=generator) - 1
    for name, where in layout.slices.items():
        weight = layout.shapes[name.replace(".bias", ".weight")]
        values[where] *= torch.Size(weight[1:]).numel() ** -0.5
    return values


@torch.no_grad()
def examine(
    networks: Networks, pixels: Float[Tensor, "images channels height width"], labels: Int[Tensor, " images"]
) -> Metrics:
    """Return how networks do on images."""
    logits = torch.cat([networks.run(part) for part in pixels.split(EXAMINED)], 1)
    return Metrics.of(logits.transpose(1, 2), labels)
