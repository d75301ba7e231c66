"""Metanetworks see the edges of a traced layout between the neurons that its blocks join."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.graph import Bidirectional, Forward
from neural_graphs.layout import Layout
from neural_graphs.testing import assert_same_function
from tests.tracing.models.everything import EXAMPLES
from tests.tracing.traced import traced


class Gated(nn.Module):
    """One of the hidden neurons gates all of them: its edges begin in the middle of a group."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        return self.last(x * x[:, 2, None])


def same(layout: Layout) -> None:
    sources, targets = layout.ends
    forward = [
        np.concatenate(each) for each in zip(*(block.ends for block in Forward().edge_blocks(layout)), strict=True)
    ]
    assert np.array_equal(forward[0], sources) and np.array_equal(forward[1], targets)
    both = [
        np.concatenate(each)
        for each in zip(*(block.ends for block in Bidirectional().edge_blocks(layout)), strict=True)
    ]
    assert np.array_equal(both[0], np.concatenate([sources, targets]))
    assert np.array_equal(both[1], np.concatenate([targets, sources]))


def test_edges_from_the_middle_of_a_group() -> None:
    layout = ng.trace(Gated(), torch.randn(5, 3))
    assert any(table.first for table in layout.tables)
    same(layout)


def test_inputs_that_are_scaled_first_are_neurons() -> None:
    """Each is joined to what is made of it, and that to the filters: the numbers are no places of a window."""
    layout = traced("centred images").layout
    assert layout.groups[0].role == "input" and layout.groups[0].size == 3
    assert [len(block.ends[0]) for block in Forward().edge_blocks(layout)] == [3, 3, 18, 12]


@pytest.mark.parametrize("name", [name for name in EXAMPLES if not name.startswith("transformers")])
def test_edges_join_what_the_layout_joins(name: str) -> None:
    same(traced(name).layout)


class One(nn.Module):
    """A layer with the name of neurons that are alone, beside an answer that is."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(x))).squeeze(-1)


def test_a_layer_may_be_called_one() -> None:
    module, x = One().double(), torch.randn(5, 3, dtype=torch.float64)
    layout = ng.trace(module, x)
    assert [atom.name for group in layout.groups for atom in group.axis.atoms()][1:] == ["one", "one#2"]
    assert_same_function(module, layout, x)
