"""Augmentations of implicit networks: each says whether the function a network computes stays exactly the same.

The set is that of Kofinas et al. 2024 (after Navon et al. 2023); the released code adds a constant where it says noise,
here it is noise. Every network of a batch gets random numbers of its own, from the generator that is passed.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.graph.constants import table_on
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.symmetry import Kind, NeuronPermutation, PositiveScale, SignFlip, shuffle


class Transform(ABC):
    """A random change of the parameters of a regular batch; `exact` tells that every function stays as it was."""

    exact: bool

    @abstractmethod
    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        """Return the changed networks; those given stay as they are."""

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({numbers})"


class Compose(Transform):
    """One transform after the other; exact when all of them are."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    @property
    def exact(self) -> bool:  # type: ignore[override]  # read-only here, a class attribute elsewhere
        return all(transform.exact for transform in self.transforms)

    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        for transform in self.transforms:
            networks = transform(networks, generator)
        return networks


class Sometimes(Transform):
    """A transform applied to each network with probability `p`; the others stay as they are."""

    def __init__(self, transform: Transform, p: float = 0.5) -> None:
        self.transform = transform
        self.p = _within("p", p, 1.0)
        self.exact = transform.exact

    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        chosen = _uniform(generator, networks, 1, low=0.0) < self.p  # (networks, 1)
        return networks.with_values(torch.where(chosen, self.transform(networks, generator).values, networks.values))


# -- symmetries: another network, the same function ----------------------------------------------------------------


class _Shuffle(Transform):
    """A random symmetry for every network; `missing_ok`: it is fine where it moves none of them, and no error."""

    kind: ClassVar[Kind]
    exact = True

    def __init__(self, missing_ok: bool = False) -> None:
        self.missing_ok = missing_ok

    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        return shuffle(networks, generator, self.kind, missing_ok=self.missing_ok)


class Permute(_Shuffle):
    """Hidden neurons in another order: exact."""

    kind = NeuronPermutation


class FlipSigns(_Shuffle):
    """Hidden neurons of odd activations (sine, tanh) negated, with all their weights: exact."""

    kind = SignFlip


class Rescale(_Shuffle):
    """Hidden neurons of the ReLU family scaled up and their outgoing weights down: exact up to rounding."""

    kind = PositiveScale


# -- motions: the image moves, its content stays -------------------------------------------------------------------


class Motion(Transform):
    """Another network that draws the moved image: run(moved, x) = run(network, A x + t), without approximation.

    The first layer reads W x + b; it becomes W A x + (b + W t).
    """

    exact = False

    @abstractmethod
    def draw(
        self, networks: Networks, generator: Generator
    ) -> tuple[Float[Tensor, "networks inputs inputs"], Float[Tensor, "networks inputs"]]:
        """Return A and t for every network."""

    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        return move(networks, *self.draw(networks, generator))


def move(
    networks: Networks, matrix: Float[Tensor, "networks inputs inputs"], shift: Float[Tensor, "networks inputs"]
) -> Networks:
    """Return networks with run(moved, x) = run(network, A x + t), A and t given for each of them."""
    moved = networks.map(torch.clone)
    (first, *_) = _layers(networks.layout)
    weight, bias = moved.tensor(first[0]), moved.tensor(first[1])  # views of the copy
    bias += torch.einsum("nhi,ni->nh", weight, shift)
    weight.copy_(weight @ matrix)
    return moved


class Translate(Motion):
    """The image moved by up to `limit` along each coordinate (an image is 2 wide)."""

    def __init__(self, limit: float = 0.25) -> None:
        self.limit = _within("limit", limit)

    def draw(self, networks: Networks, generator: Generator) -> tuple[Tensor, Tensor]:
        return _identity(networks), self.limit * _uniform(generator, networks, _inputs(networks))


class Rotate(Motion):
    """The image turned by up to `degrees` either way around its centre; networks with two inputs."""

    def __init__(self, degrees: float = 45.0) -> None:
        self.degrees = _within("degrees", degrees, 180.0)

    def draw(self, networks: Networks, generator: Generator) -> tuple[Tensor, Tensor]:
        if _inputs(networks) != 2:
            raise LayoutError(f"{networks.layout} reads {_inputs(networks)} inputs; only images of two can be rotated.")
        angle = math.radians(self.degrees) * _uniform(generator, networks, 1)[:, 0]
        cosine, sine = angle.cos(), angle.sin()
        matrix = torch.stack((cosine, -sine, sine, cosine), dim=1).unflatten(1, (2, 2))
        return matrix, torch.zeros_like(matrix[:, 0])


class Zoom(Motion):
    """The image larger or smaller by up to a factor of 1 ± `limit` around its centre: the first layer scaled."""

    def __init__(self, limit: float = 0.2) -> None:
        self.limit = _within("limit", limit, 1.0)

    def draw(self, networks: Networks, generator: Generator) -> tuple[Tensor, Tensor]:
        matrix = _identity(networks) * (1 + self.limit * _uniform(generator, networks, 1)[..., None])
        return matrix, torch.zeros_like(matrix[:, 0])


# -- approximations: the function changes a little -----------------------------------------------------------------


class TranslateDeep(Transform):
    """A translation of up to `limit`, carried by the weights alone to the bias of a random layer (as in the paper).

    In layer 1 this is `Translate`; beyond, where the carrying skips the activations, it only resembles one.
    """

    exact = False

    def __init__(self, limit: float = 0.25) -> None:
        self.limit = _within("limit", limit)

    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        moved = networks.map(torch.clone)
        layers = _layers(networks.layout)
        carried = self.limit * _uniform(generator, networks, _inputs(networks))
        chosen = torch.randint(len(layers), (len(networks), 1), generator=generator, device=generator.device)
        for layer, (weight, bias) in enumerate(layers):
            carried = torch.einsum("noi,ni->no", networks.tensor(weight), carried)
            view = moved.tensor(bias)
            view += carried * (chosen == layer).to(carried.dtype)
        return moved


class Noise(Transform):
    """Gaussian noise of `scale` times the standard deviation of each trained tensor of each network."""

    exact = False

    def __init__(self, scale: float = 0.1) -> None:
        self.scale = _within("scale", scale)

    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        noise = torch.randn(networks.values.shape, generator=generator, device=generator.device).to(networks.values)
        parts = [networks.values[:, where] for where in networks.layout.slices.values()]
        spread = [part.std(dim=1, correction=0, keepdim=True).expand_as(part) for part in parts]
        untrained = table_on(networks.values.device, _untrained, networks.layout)
        amounts = torch.cat(spread, dim=1).masked_fill(untrained, 0.0)
        return networks.with_values(networks.values + self.scale * noise * amounts)


class Dropout(Transform):
    """Every weight set to zero with probability `p`; biases stay, and what is left is not scaled up."""

    exact = False

    def __init__(self, p: float = 0.01) -> None:
        self.p = _within("p", p, 1.0)

    def __call__(self, networks: Networks, generator: Generator) -> Networks:
        kept = _uniform(generator, networks, networks.layout.size, low=0.0) >= self.p
        spared = table_on(networks.values.device, _spared, networks.layout)
        return networks.with_values(networks.values * (kept | spared))


# -- parts ---------------------------------------------------------------------------------------------------------


def _layers(layout: Layout) -> list[tuple[str, str]]:
    """Return the names of weight and bias of every layer; raises `LayoutError` for anything but an MLP with biases."""
    layers = []
    for index, block in enumerate(layout.blocks):
        bias = layout.groups[block.target].bias
        chained = (block.source, block.target) == (index, index + 1)
        if not chained or block.parameter is None or bias is None or block.kernel:
            raise LayoutError(f"{layout} is not a chain of linear layers with biases, as implicit networks are.")
        layers.append((block.parameter, bias))
    return layers


def _inputs(networks: Networks) -> int:
    return networks.layout.groups[0].size


def _untrained(layout: Layout) -> Bool[np.ndarray, " size"]:
    """Mark running statistics, and whole numbers that are carried along, in the flat vector."""
    return np.concatenate([np.full(p.size, p.buffer or bool(p.dtype)) for p in layout.parameters])


def _spared(layout: Layout) -> Bool[np.ndarray, " size"]:
    """Mark them and the biases."""
    mask = _untrained(layout)
    for group in layout.groups:
        if group.bias is not None:
            mask[layout.bias_numbers(group)] = True
    return mask


def _identity(networks: Networks) -> Float[Tensor, "networks inputs inputs"]:
    size, values = _inputs(networks), networks.values
    return torch.eye(size, dtype=values.dtype, device=values.device).expand(len(networks), size, size)


def _uniform(generator: Generator, networks: Networks, size: int, low: float = -1.0) -> Float[Tensor, "networks size"]:
    """Draw numbers from [low, 1) on the generator's device, for each network `size` of them."""
    drawn = torch.rand(len(networks), size, generator=generator, device=generator.device).to(networks.values)
    return low + (1 - low) * drawn


def _within(name: str, value: float, most: float = math.inf) -> float:
    if not 0 <= value <= most:
        raise ConfigError(f"{name} is {value}, expected a number from 0 to {most}.")
    return value
