"""Probing: what networks do, not what they are (Kahana et al. 2024, Deep Linear Probe Generators for Weight Space).

Learned inputs are run through every network, and the answers, in order, are read. Whatever leaves the function of a
network alone leaves what is read alone: permutations, signs, scales, and symmetries that nobody has named.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.networks import Networks
from neural_graphs.nn.baselines.flat_mlp import perceptron
from neural_graphs.nn.run.microbatch import Reader, widest_group
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import InputSpec

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


class ProbeGen(Shareable, Reader):
    """An MLP on the answers of a network to probes that a deep linear generator makes; no weight is seen.

    Reads every network that runs: networks of one batch may differ in all but the shapes of inputs and outputs.

    Args:
        family: the networks it will read.
        classes: the answers per network.
        probes: how many inputs are asked.
        shape: of one input, such as `(2,)` for coordinates or `(1, 28, 28)` for images; default: all inputs as one row.
        hidden: widths of the hidden layers of the MLP.
        dropout: probability of dropping a hidden feature in training.
    """

    def __init__(
        self, family: InputSpec, classes: int, probes: int = 128, shape: Sequence[int] | None = None,
        hidden: Sequence[int] = (512, 512), dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.probes: LinearProbes | ImageProbes = generator(probes, (family.inputs,) if shape is None else shape)
        self.mlp = perceptron((probes * family.outputs, *hidden, classes), dropout)

    def embed(self, networks: Networks) -> Float[Tensor, "networks features"]:
        """The answers to all probes, in order."""
        return networks.run(self.probes()).flatten(1)

    def read(self, networks: Networks) -> Float[Tensor, "networks classes"]:
        """The answers in one go."""
        return self.mlp(self.embed(networks))

    def numbers(self, networks: Networks) -> int:
        """How many numbers the widest group of the largest network holds for all probes, about."""
        places = prod(self.probes.size) if isinstance(self.probes, ImageProbes) else 1
        return len(self.probes.codes) * widest_group(networks) * places
