"""A part of the answer may be chosen; modules built alike share the layout of the whole answer, traced once."""

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import neural_graphs as ng
from neural_graphs.networks import Networks
from neural_graphs.testing import assert_same_function

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


def test_an_answer_can_be_picked() -> None:
    """What the chosen output does not depend on is free as well, or refused: never read wrongly."""
    module, x = Heads().double(), X.double()
    layout = ng.trace(module, x, output=lambda found: found["left"])
    assert_same_function(module, layout, x)
    assert layout.program is not None
    (answer,) = layout.program.outputs(module.state_dict(), x)
    assert torch.equal(answer, module(x)["left"])
    both = ng.trace(module, x).program
    assert both is not None
    assert len(pytree.tree_leaves(both.outputs(module.state_dict(), x))) == 2


def test_networks_built_alike_are_traced_once() -> None:
    layout = ng.trace(Heads(), X)
    assert all(each is layout for each in Networks.from_modules([Heads(), Heads()]).layouts)


def test_a_chosen_answer_is_not_that_of_networks_built_alike() -> None:
    """What was not chosen there is an output here, whose order stays."""
    chosen = ng.trace(Others(), X, output=lambda found: found["left"])
    whole = Networks.from_modules([Others()], example_input=X).layout
    assert (chosen.role_count("output"), whole.role_count("output")) == (2, 2 + 4)
