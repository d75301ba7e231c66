"""What every recipe for a zoo of CNNs answers: how its runs fall into shards, and how one shard is grown."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neural_graphs.layout import Layout
from neural_graphs.zoo.recipes.training_data import Labelled, Pictures
from neural_graphs.zoo.writer import Rows


@dataclass(frozen=True)
class Study:
    """What the runs of a zoo share: images to learn and to be tested on, and the seed."""

    train: Labelled
    test: Labelled
    seed: int

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(max(self.train.labels.max(), self.test.labels.max())) + 1

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width


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
    def parts(self, count: int, study: Study) -> Sequence[Part]:
        """Return the shards of the first `count` runs; those of a larger count begin with them, but for the last."""

    def layouts(self, count: int, study: Study) -> Sequence[Layout]:
        """Return the layouts of the first `count` runs, each once; those of a larger count begin with them."""
        return tuple(dict.fromkeys(part.layout for part in self.parts(count, study)))

    @abstractmethod
    def grow(self, part: Part, study: Study) -> Rows:
        """Train the runs of a shard and return their checkpoints."""

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain values, for the manifest."""
        return {"class": type(self).__name__, **asdict(self)}
