"""Hyper-parameters of the networks of a zoo: drawn for each from its own seed, and the initial values they ask for."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout
from neural_graphs.zoo.manifest import SPLITS

OWN_STD = ("normal", "truncated_normal")  # initializers that are told their standard deviation
DERIVED_STD = ("glorot_normal", "he_normal", "orthogonal")  # and those that derive it from the shape of a tensor
TRUNCATED = 0.87962566103423978  # the standard deviation that is left of a normal law cut off at two of its own


def random_of(seed: int, *path: int) -> np.random.Generator:
    """Return the random numbers of one network, or of whatever else the path names, for a seed."""
    return np.random.default_rng(np.random.SeedSequence((seed, *path)))


def generator_of(seed: int, *path: int) -> torch.Generator:
    """Return the same for torch."""
    state = np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def log_uniform(random: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw a number whose logarithm is uniform between those of the bounds."""
    return float(np.exp(random.uniform(*np.log(bounds))))


def split_of(number: int, shares: tuple[int, int, int], seed: int) -> str:
    """Return the split of a network: each run of sum(`shares`) networks holds train, val and test in these shares."""
    total = sum(shares)
    order = random_of(seed, 1, number // total).permutation(np.repeat(SPLITS, shares))
    return str(order[number % total])


@dataclass(frozen=True)
class Initializer:
    """How weights start; `std` is that of `normal` and `truncated_normal`, others derive theirs. Biases start at 0.

    Raises ConfigError for an unknown name, a missing `std`, and one that nothing asks for.
    """

    name: str
    std: float | None

    def __post_init__(self) -> None:
        if self.name not in (*OWN_STD, *DERIVED_STD):
            raise ConfigError(f"unknown initializer {self.name!r}; known: {', '.join((*OWN_STD, *DERIVED_STD))}")
        if (self.std is not None) != (self.name in OWN_STD):
            raise ConfigError(f"initializer {self.name} takes {'a' if self.std is None else 'no'} std, got {self.std}")

    def values(self, layout: Layout, generator: torch.Generator) -> Float[Tensor, " size"]:
        """Draw the parameters of one network."""
        values = torch.zeros(layout.size)
        for name, where in layout.slices.items():
            if name.endswith(".weight"):
                self._fill(values[where].view(layout.shapes[name]), generator)
        return values

    def _fill(self, weight: Tensor, generator: torch.Generator) -> None:
        taps = math.prod(weight.shape[2:])
        fan_in, fan_out = weight.shape[1] * taps, weight.shape[0] * taps
        match self.name:
            case "orthogonal":  # Saxe et al. 2014
                nn.init.orthogonal_(weight, generator=generator)
            case "normal" if self.std is not None:
                weight.normal_(0, self.std, generator=generator)
            case "truncated_normal" if self.std is not None:
                truncated(weight, self.std, generator)
            case "glorot_normal":  # Glorot and Bengio 2010
                truncated(weight, math.sqrt(2 / (fan_in + fan_out)) / TRUNCATED, generator)
            case "he_normal":  # He et al. 2015
                truncated(weight, math.sqrt(2 / fan_in) / TRUNCATED, generator)


def truncated(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill a tensor from the normal law of that standard deviation, cut off at twice it."""
    nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)
