"""Grids hold every number once, and the group moves their indices as they say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs import Layout, trace
from neural_graphs.errors import LayoutError
from neural_graphs.layout import Atom, Block, Group, Parameter, Product
from neural_graphs.layout.grids import Grid, grids
from neural_graphs.symmetry import NeuronPermutation
from tests.laws.intricate import INTRICATE
from tests.linear.tiny import TINY, tiny
from tests.tracing.models.everything import OURS

TRACED = {example.name: example for example in OURS}


def assert_partition(layout: Layout, ends: bool) -> tuple[Grid, ...]:
    """Every number that is read lies in one grid, and in one place of it."""
    found = grids(layout, ends)
    places = np.concatenate([grid.places.reshape(-1) for grid in found])
    assert sorted(places) == np.flatnonzero(layout.number_ends[1] >= 0).tolist()
    assert all(grid.places.shape == (*grid.sizes, grid.features) for grid in found)
    assert len({grid.indices for grid in found}) == len(found)
    return found


def assert_moves(layout: Layout, grid: Grid, places: np.ndarray) -> None:
    """A symmetry moves places of the grid along its indices: features stay, and equal indices move alike."""
    back = {number: at for at, number in enumerate(grid.places.reshape(-1))}
    moved = np.array([back[number] for number in places[grid.places].reshape(-1)]).reshape(grid.places.shape)
    *old, feature = np.unravel_index(moved, grid.places.shape)
    assert (feature == np.arange(grid.features)).all()
    new = np.indices(grid.places.shape)[:-1]
    rules: dict[tuple[object, ...], int] = {}  # atom and place, in which outer places, to the old place
    for index, was, now in zip(grid.indices, old, new, strict=True):
        around = [new[outer] for outer in index.outer]
        for key in zip(*(each.reshape(-1) for each in (now, *around)), was.reshape(-1), strict=True):
            assert rules.setdefault((index.atom, *key[:-1]), key[-1]) == key[-1]


@pytest.mark.parametrize("name", [*TINY, *INTRICATE, *TRACED])
@pytest.mark.parametrize("ends", [False, True], ids=["hidden", "ends"])
def test_numbers_move_along_the_indices(name: str, ends: bool) -> None:
    if name in TINY:
        layout = tiny(name)
    else:
        layout = INTRICATE[name] if name in INTRICATE else trace(TRACED[name].module(), TRACED[name].inputs())
    found = assert_partition(layout, ends)
    symmetry = NeuronPermutation.sample(layout, torch.Generator().manual_seed(0), missing_ok=True)
    for grid in found:
        assert_moves(layout, grid, symmetry.places.numpy())


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_mlps_have_a_grid_per_hidden_layer_and_pair(sizes: list[int]) -> None:
    found = assert_partition(Layout.mlp(sizes), ends=False)
    hidden = len(sizes) - 2
    assert sorted(len(grid.indices) for grid in found) == sorted([0] + [1] * hidden + [2] * max(0, hidden - 1))


def test_a_wider_network_has_grids_of_the_same_kind() -> None:
    kinds = [[grid.kind for grid in grids(Layout.mlp(sizes))] for sizes in [(2, 5, 4, 1), (2, 9, 3, 1), (2, 5, 4, 2)]]
    assert kinds[0] == kinds[1] != kinds[2]


def test_free_places_within_fixed_ones_are_other_atoms_at_each() -> None:
    """Neurons that may be exchanged within each of two places with an order cannot be compared across these."""
    places, inner = Atom("places", 2), Atom("inner", 3, free=True, within=("places",))
    groups = (Group("in", Atom("in", 1), "input"), Group("h", Product((places, inner)), bias="b"))
    groups += (Group("out", Atom("out", 1), "output", "c"),)
    parameters = [("w", (6, 1)), ("b", (6,)), ("v", (1, 6)), ("c", (1,))]
    layout = Layout(groups, (Block(0, 1, "w"), Block(1, 2, "v")), tuple(Parameter(*each) for each in parameters))
    first, second, rest = grids(layout)
    assert [grid.sizes for grid in (first, second, rest)] == [(3,), (3,), ()]
    assert first.indices[0].atom != second.indices[0].atom and first.features == second.features == 3
    assert grids(layout, ends=True)[0].sizes == (2, 3, 1)


def test_blocks_without_a_number_for_every_place_are_refused() -> None:
    """Input i is joined to output i only: there is no number for every input and every output."""
    groups = (Group("in", Atom("in", 3), "input"), Group("out", Atom("out", 3), "output"))
    layout = Layout(groups, (Block(0, 1, "w", span=2),), (Parameter("w", (2,)),))
    assert grids(layout)[0].features == 2
    with pytest.raises(LayoutError, match="the numbers of w do not lie on a grid of 3 × 3"):
        grids(layout, ends=True)
