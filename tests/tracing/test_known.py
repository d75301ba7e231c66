"""Modules built like one that was traced before have its layout, unless only a part of its answer was looked at."""

import torch
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.networks import Networks

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class Heads(nn.Module):
    """A trunk and two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.left, self.right = nn.Linear(3, 5), nn.Linear(5, 2), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = torch.tanh(self.trunk(x))
        return {"left": self.left(x), "right": self.right(x)}


class Others(Heads):
    """A class of its own, so that no other test has traced it."""


def test_networks_built_alike_are_traced_once() -> None:
    layout = ng.trace(Heads(), X)
    assert all(each is layout for each in Networks.from_modules([Heads(), Heads()]).layouts)


def test_a_chosen_answer_is_not_that_of_networks_built_alike() -> None:
    """What was not chosen there is an output here, whose order stays."""
    chosen = ng.trace(Others(), X, output=lambda found: found["left"])
    whole = Networks.from_modules([Others()], example_input=X).layout
    assert (chosen.role_count("output"), whole.role_count("output")) == (2, 2 + 4)
