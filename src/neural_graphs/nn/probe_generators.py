"""Deep linear generators of probes (Kahana et al. 2024): what regularises probes is a product of matrices."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, prod

import torch
from torch import Tensor, nn

from neural_graphs.errors import ConfigError

SPREAD = 0.6  # standard deviation of the first probes: inputs are about [−1, 1]


class LinearProbes(nn.Module):
    """Probes of any shape from learned codes by linear layers without activations between them.

    The product of matrices can do no more than one of them, but learns probes that are alike where that suffices.
    `forward()` gives `(count, *shape)`.
    """

    def __init__(self, count: int, shape: Sequence[int], width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.codes = nn.Parameter(torch.randn(count, width))
        sizes = [width] * depth + [prod(self.shape)]
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))
        self.scale = nn.Parameter(torch.tensor(SPREAD))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self) -> Tensor:
        return self.scale * self.layers(self.codes).unflatten(1, self.shape)


class ImageProbes(nn.Module):
    """Images `(channels, height, width)` from learned codes by two transposed convolutions without activations.

    `forward()` gives `(count, channels, height, width)`.
    """

    def __init__(self, count: int, shape: Sequence[int], width: int = 32) -> None:
        super().__init__()
        channels, *self.size = shape
        self.codes = nn.Parameter(torch.randn(count, width, *(ceil(side / 4) for side in self.size)))
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        )
        with torch.no_grad():
            self.scale = nn.Parameter(SPREAD / self.layers(self.codes).std())

    def forward(self) -> Tensor:
        height, width = self.size
        return self.scale * self.layers(self.codes)[..., :height, :width]


def generator(count: int, shape: Sequence[int]) -> "LinearProbes | ImageProbes":
    """The generator for inputs of a shape: images have three axes. Raises ConfigError for an empty shape."""
    if count < 1 or not shape or min(shape) < 1:
        raise ConfigError(f"expected at least one probe of a shape such as (2,) or (1, 28, 28), got {count} of {shape}")
    return ImageProbes(count, shape) if len(shape) == 3 else LinearProbes(count, shape)
