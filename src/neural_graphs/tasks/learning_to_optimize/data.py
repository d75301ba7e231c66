"""What update rules are trained on and compared on: images of a source, and the architectures that learn them."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout
from neural_graphs.nn.spec import InputSpec
from neural_graphs.optim.architectures import Architecture, ConvNet
from neural_graphs.optim.inner import ImageSet, InnerTask
from neural_graphs.optim.signals import CHANNELS
from neural_graphs.zoo.find_images import find_source
from neural_graphs.zoo.recipes.training_data import Pictures

SPLIT = 0  # seed of which images are held out to choose by


@dataclass(frozen=True)
class Unseen:
    """A setting to compare on besides the one of the training: another architecture, other images, or both."""

    name: str
    architecture: Architecture | None = None
    images: str | None = None


@dataclass(frozen=True)
class Splits:
    """Images to train on, to choose by, and to be tested on; all normalised alike."""

    train: ImageSet
    val: ImageSet
    test: ImageSet

    def to(self, device: torch.device, dtype: torch.dtype) -> "Splits":
        """The same images on a device, pixels in a precision."""
        return Splits(*(each.to(device, dtype) for each in (self.train, self.val, self.test)))


class InnerTasks(LightningDataModule):
    """Inner networks and their images.

    Args:
        images: name or folder of the images, see `load_images`.
        architectures: of the networks in training; the first is that of the comparison.
        unseen: further settings of the comparison.
        batch_size: images that a network sees in a step.
        shrink: images become means of `shrink`² pixels.
        grey: colour becomes luma.
        mean: of the pixels in [0, 1], subtracted, one for all channels.
        std: of the pixels, divided by.
        held_out: images of the train split that are left out of it, at most a fifth, to choose by: checkpoints, and the
            tuning of other optimizers.
        outer_steps: meta-gradients in an epoch.
    """

    NEEDED = ("images", "batch_size")

    def __init__(
        self, images: str = "fashion-mnist", architectures: Sequence[Architecture] = (ConvNet(),),
        unseen: Sequence[Unseen] = (), batch_size: int = 128, shrink: int = 1, grey: bool = True, mean: float = 0.1307,
        std: float = 0.3081, held_out: int = 5000, outer_steps: int = 10,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(batch_size, held_out, outer_steps) < 1 or std <= 0 or not architectures:
            raise ConfigError(
                f"expected an architecture, and batch_size, held_out, outer_steps ≥ 1 and std > 0; got {batch_size}, "
                f"{held_out}, {outer_steps} and {std}"
            )
        self.images, self.architectures, self.unseen = images, tuple(architectures), tuple(unseen)
        self.batch_size, self.outer_steps, self.held_out = batch_size, outer_steps, held_out
        self.pictures, self.mean, self.std = Pictures(shrink=shrink, grey=grey), mean, std

    @classmethod
    def of(cls, config: Mapping[str, Any], place: Any) -> "InnerTasks":
        """The images and architectures of a configuration, or the same architectures with other images."""
        from jsonargparse import ArgumentParser

        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(cls, "data")
        asked = deepcopy(dict(config))  # the parser writes into what it is given
        asked |= {} if place is None else {"images": str(place)}
        found: InnerTasks = parser.instantiate(parser.parse_object({"data": asked})).data
        return found

    @cached_property
    def splits(self) -> Splits:
        """The images of the training."""
        return self.prepared(self.images)

    def prepared(self, name: str) -> Splits:
        """The images of a source."""
        source = find_source(name)
        train, test = (self._normalised(source.load(split)) for split in ("train", "test"))
        count = len(train.labels) - min(self.held_out, len(train.labels) // 5)
        return Splits(
            ImageSet(train.pixels[:count], train.labels[:count]),
            ImageSet(train.pixels[count:], train.labels[count:]),
            test,
        )

    def _normalised(self, images: Any) -> ImageSet:
        pixels, labels = self.pictures.prepare(images, SPLIT).tensors()  # in a random order, from −1 to 1
        return ImageSet(((pixels + 1) / 2 - self.mean) / self.std, labels)

    def layout(self, architecture: Architecture, images: ImageSet) -> Layout:
        """The layout of an architecture for some images."""
        channels, height, width = images.pixels.shape[1:]
        return architecture.layout((channels, height, width), images.classes)

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts of the networks in training."""
        return tuple(self.layout(each, self.splits.train) for each in self.architectures)

    @property
    def family(self) -> InputSpec:
        """What a rule must know of the networks it trains."""
        return InputSpec.of(self.layouts, channels=CHANNELS)

    def inner_task(self, splits: Splits) -> InnerTask:
        """What the rule is trained on: networks of all layouts, and the images to train on."""
        return InnerTask(self.layouts, splits.train, self.batch_size)

    @property
    def place(self) -> str:
        """The images."""
        return self.images

    @property
    def facts(self) -> dict[str, Any]:
        """What a run keeps of the inner tasks."""
        layouts = [layout.to_json() for layout in self.layouts]
        return {"layouts": layouts, "classes": self.splits.train.classes, "canvas": None, "recipe": None}

    def count(self, split: str) -> int:
        """The settings that a rule is compared in."""
        return 1 + len(self.unseen) if split == "test" else 1

    def train_dataloader(self) -> DataLoader[int]:
        """A number per meta-gradient: tasks are drawn by the seed of the step."""
        return self._numbers(self.outer_steps)

    def val_dataloader(self) -> DataLoader[int]:
        """One number."""
        return self._numbers(1)

    def _numbers(self, count: int) -> DataLoader[int]:
        return DataLoader(torch.arange(count), batch_size=None, generator=torch.Generator())  # type: ignore[arg-type]
