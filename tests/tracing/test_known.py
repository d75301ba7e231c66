"""A part of the answer may be chosen; modules built alike share the layout of the whole answer, traced once."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import neural_graphs as ng
from neural_graphs.errors import LayoutError
from neural_graphs.networks import Networks
from neural_graphs.testing import assert_same_function
from neural_graphs.tracing import cache

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


class Act(nn.Module):
    """Prints alike, whatever its function and its scale are."""

    def __init__(self, function: Callable[[Tensor], Tensor], scale: float = 1.0) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 5, bias=False), nn.Linear(5, 2)
        self.function, self.scale = function, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.scale * self.first(x)))


def sine(scale: float) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.sin(scale * x)


@pytest.mark.parametrize(
    ("traced", "other", "odd"),
    [
        ((torch.relu,), (torch.tanh,), "function"),
        ((torch.sin,), (torch.sin, 30.0), "scale"),
        ((sine(1.0),), (sine(2.0),), "function"),
    ],
)
@torch.no_grad()
def test_what_does_not_print_tells_modules_apart(traced: tuple[Any, ...], other: tuple[Any, ...], odd: str) -> None:
    """Even where all answers are zero: the function is told by the attributes."""
    layout = ng.trace(Act(*traced), X)
    with pytest.raises(LayoutError, match=f"looks like a module that was traced, but {odd} differs; trace it"):
        Networks.from_modules([Act(*other)])
    module = Act(*other)
    for x in (torch.zeros(6, 3), X):
        networks = Networks.from_modules([module], example_input=x)
        torch.testing.assert_close(networks.run(X)[0], module(X), rtol=1e-6, atol=1e-7)
    assert Networks.from_modules([Act(*traced)]).layout is layout
    assert Networks.from_modules([deepcopy(module), Act(*other)]).layout is networks.layout


class Array(nn.Module):
    """Multiplies by numbers that its attributes show only in part."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.layer, self.array = nn.Linear(3, 5), np.ones(5000)
        self.array[2000] = number

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x)) * float(self.array[2000])


@torch.no_grad()
def test_with_an_example_only_what_answers_alike_is_known() -> None:
    layout, module = ng.trace(Array(1.0), X), Array(2.0)
    assert Networks.from_modules([Array(1.0)], example_input=X).layout is layout
    assert torch.equal(Networks.from_modules([module], example_input=X).run(X)[0], module(X))


def test_recurrent_layers_built_alike_are_known() -> None:
    """They hold lists of their tensors, and references to them."""
    layout = ng.trace(nn.LSTM(3, 4), X[None])
    assert Networks.from_modules([nn.LSTM(3, 4)]).layout is layout


def test_what_was_traced_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KNOWN", {})
    monkeypatch.setattr(cache, "ROOM", 100)
    modules = [nn.Sequential(nn.Linear(3, size), nn.SiLU(), nn.Linear(size, 2)) for size in (6, 7, 8)]
    layouts = [ng.trace(module, X) for module in modules]
    assert [cache.recall(module, None) for module in modules] == [None, *layouts[1:]]
