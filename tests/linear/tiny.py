"""Layouts so small that their groups can be listed, and what follows from such a list."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations, product
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs import Layout, trace
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.symmetry.relabel import Relabelling
from tests.laws.intricate import INTRICATE
from tests.test_align import Recurrent


def lstm() -> Layout:
    """A cell of three neurons that reads two numbers, step after step."""
    module = Recurrent()
    module.lstm, module.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 1)
    return trace(module.eval(), torch.rand(2, 3, 2))


def grouped() -> Layout:
    """Two groups of channels: neurons move within their group."""
    inner = (nn.Conv1d(4, 4, 1, groups=2), nn.ReLU())
    module = nn.Sequential(
        nn.Conv1d(1, 4, 1), nn.ReLU(), *inner, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    return trace(module.eval(), torch.rand(2, 1, 3))


class Autoencoder(nn.Module):
    """The decoder multiplies by the transposed weights of the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.second(torch.tanh(self.first(x))))
        return torch.tanh(code @ self.second.weight) @ self.first.weight


class Products(nn.Module):
    """All products of two features, flattened: one atom occurs twice in a group."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Linear(1, 3), nn.Linear(9, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.features(x))
        return self.head((y[:, :, None] * y[:, None]).flatten(1))


TINY: dict[str, Callable[[], Layout]] = {
    "2 → 3 → 2": lambda: Layout.mlp((2, 3, 2)),
    "2 → 3 → 3 → 1": lambda: Layout.mlp((2, 3, 3, 1)),
    "1 → 2 → 2 → 1 → 1": lambda: Layout.mlp((1, 2, 2, 1, 1)),
    "no hidden neurons": lambda: Layout.mlp((2, 2)),
    "convolutions": lambda: Layout.cnn((1, 2, 3), (2, 1), 2),
    "flattened map": lambda: Layout.cnn((1, 2, 3), (1, 1), 2, places=(2, 1)),
    "residual": lambda: Layout.cnn((1, 3, 2, 3), (1, 1, 1), 1, residual=(-1, -1, 0)),
    "longer residual": lambda: Layout.cnn((1, 2, 2, 4), (1, 1, 1), 1, residual=(-1, -1, 0)),
    "two heads of two": lambda: INTRICATE["attention"],
    "packed and tied": lambda: INTRICATE["tied recurrence"],
    "tied autoencoder": lambda: trace(Autoencoder().eval(), torch.rand(4, 2)),
    "LSTM": lstm,
    "grouped convolution": grouped,
    "products of features": lambda: trace(Products().eval(), torch.rand(4, 1)),
}


@cache
def tiny(name: str) -> Layout:
    """One of them; traced once."""
    return TINY[name]()


def elements(layout: Layout) -> Iterator[np.ndarray]:
    """Old place of every number, for every element of the group: all orders of all atoms, in every outer place."""
    relabelling, choices = Relabelling(layout, {}), []
    for atom in layout.free_atoms:
        shape = relabelling.shape(atom.name)
        orders = list(permutations(range(shape[-1])))
        choices.append([np.array(each).reshape(shape) for each in product(orders, repeat=prod(shape[:-1]))])
    for chosen in product(*choices):
        names = [atom.name for atom in layout.free_atoms]
        yield NeuronPermutation(layout, dict(zip(names, chosen, strict=True))).places.numpy()


@cache
def dimensions(name: str) -> np.ndarray:
    """The dimensions of the maps of one of them."""
    return dimensions_of(tiny(name))


def dimensions_of(layout: Layout) -> np.ndarray:
    """The dimension of the equivariant maps between every two tensors, `(tensors, tensors)`, from characters: the mean
    over the group of the product of how many numbers of each stay in place."""
    every = [
        [int((places[own] == np.arange(own.start, own.stop)).sum()) for own in layout.slices.values()]
        for places in elements(layout)
    ]
    stay = np.array(every, dtype=float)
    return stay.T @ stay / len(stay)
