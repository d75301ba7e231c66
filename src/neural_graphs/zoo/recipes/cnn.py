"""What every recipe for a zoo of CNNs answers: how its runs fall into shards, and how one shard is grown."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neural_graphs.layout import Layout
from neural_graphs.zoo.recipes.training_data import Pictures, TrainingData
from neural_graphs.zoo.writer import ShardData


@dataclass(frozen=True)
class Part:
    """One shard to be: the runs in it, all of one layout, and how many checkpoints they make together."""

    runs: tuple[int, ...]
    layout: Layout
    rows: int


@dataclass(frozen=True)
class CnnRecipe(ABC):
    """How the networks of a zoo are grown: every number that decides their bytes, beside images and seed.

    `shares` weighs the splits train, val and test, which are of runs, never of checkpoints.
    """

    name: str
    pictures: Pictures
    batch: int
    shares: tuple[int, int, int]

    @abstractmethod
    def parts(self, count: int, data: TrainingData) -> Sequence[Part]:
        """Return the shards of the first `count` runs; those of a larger count begin with them, but for the last."""

    def layouts(self, count: int, data: TrainingData) -> Sequence[Layout]:
        """Return the layouts of the first `count` runs, each once; those of a larger count begin with them."""
        return tuple(dict.fromkeys(part.layout for part in self.parts(count, data)))

    @abstractmethod
    def grow(self, part: Part, data: TrainingData) -> ShardData:
        """Train the runs of a shard and return their checkpoints."""

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain values, for the manifest."""
        return {"class": type(self).__name__, **asdict(self)}
