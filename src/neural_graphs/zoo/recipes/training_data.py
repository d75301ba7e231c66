"""The images that small CNNs learn: how many, how small, and in which range."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_graphs.errors import ConfigError
from neural_graphs.zoo.images import Images

GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue, ITU-R BT.601


@dataclass(frozen=True)
class Labelled:
    """Images in [−1, 1] and their classes, as arrays: they travel to worker processes."""

    pixels: Float[np.ndarray, "images channels height width"]
    labels: Int[np.ndarray, " images"]

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self) -> tuple[Float[Tensor, "images channels height width"], Int[Tensor, " images"]]:
        """Return both as tensors that share their memory."""
        return torch.from_numpy(self.pixels), torch.from_numpy(self.labels)

    def first(self, part: float) -> "Labelled":
        """Return the first part of the images, a number in (0, 1], at least one of them."""
        count = max(1, round(part * len(self)))
        return Labelled(self.pixels[:count], self.labels[:count])


@dataclass(frozen=True)
class Pictures:
    """How images are prepared: `train` and `test` of them (None: all), a black `border`, means of `shrink`² pixels.

    With `grey` colour is turned into luma.
    """

    train: int | None = None
    test: int | None = None
    border: int = 0
    shrink: int = 1
    grey: bool = True

    def __post_init__(self) -> None:
        if self.shrink < 1 or self.border < 0 or min(self.train or 1, self.test or 1) < 1:
            raise ConfigError(f"{self}: expected shrink ≥ 1, border ≥ 0, and at least one image of each split")

    def prepare(self, images: Images, seed: int) -> Labelled:
        """Return the images of one split, a fixed random choice of them where not all are asked for."""
        wanted = self.train if images.split == "train" else self.test
        if wanted is not None and wanted > len(images):
            raise ConfigError(
                f"{images.name} has {len(images)} {images.split} images, the recipe asks for {wanted}; choose other"
                " images, or a recipe with fewer"
            )
        chosen = np.random.default_rng(seed).permutation(len(images))[:wanted]
        pixels = torch.from_numpy(images.pixels[chosen]).float().movedim(3, 1) / 255
        if self.grey and pixels.shape[1] == len(GREY):
            pixels = (pixels * pixels.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
        pixels = torch.nn.functional.pad(pixels, (self.border,) * 4)
        sides = tuple(pixels.shape[2:])
        if any(side % self.shrink for side in sides):
            raise ConfigError(f"images of {sides} pixels with their border cannot be shrunk by {self.shrink}")
        pixels = torch.nn.functional.avg_pool2d(pixels, self.shrink)
        return Labelled(np.ascontiguousarray((2 * pixels - 1).numpy()), images.labels[chosen])


@dataclass(frozen=True)
class TrainingData:
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
