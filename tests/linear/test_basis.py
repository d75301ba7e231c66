"""The maps of a linear layer are all there are, and no two are one: counted against characters of the whole group."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neural_graphs import Layout
from neural_graphs.layout.equivariant_maps import All, EquivariantMap, Maps, equivariant_maps
from neural_graphs.layout.grids import Grid, Index, grids
from neural_graphs.nn.linear import EquivariantLinear
from tests.linear.tiny import TINY, dimensions, dimensions_of, elements, tiny

every_layout = pytest.mark.parametrize("name", TINY)


def counted(layout: Layout, maps: Maps) -> np.ndarray:
    """How many maps lead from every tensor to every other, features counted apart, `(tensors, tensors)`."""
    names, every = list(layout.slices), grids(layout)
    found = np.zeros((len(names), len(names)))
    for source in every:
        for target in every:
            basis = equivariant_maps(source.indices, target.indices)
            kept = sum(maps.keeps(source, target, each) for each in basis)
            for one in source.tensors:
                for other in target.tensors:
                    found[names.index(one), names.index(other)] += kept
    return found


def read(layout: Layout) -> list[int]:
    """The places of the tensors that the layout reads."""
    owned = {tensor for grid in grids(layout) for tensor in grid.tensors}
    return [place for place, name in enumerate(layout.slices) if name in owned]


def matrices(layout: Layout, maps: Maps) -> Tensor:
    """What the layer computes with one of its parameters one and all others zero, `(parameters, size, size)`."""
    every = grids(layout)
    layer = EquivariantLinear(every, 1, 1, maps).double().requires_grad_(False)
    places = [torch.from_numpy(grid.places) for grid in every]
    values = [torch.eye(layout.size, dtype=torch.float64)[:, place] for place in places]
    for parameter in layer.parameters():
        parameter.zero_()
    return torch.stack([image(layer, values, places) for _ in one_by_one(layer)])


@cache
def complete(name: str) -> Tensor:
    """The maps of a layer that has all."""
    return matrices(tiny(name), All())


def one_by_one(layer: EquivariantLinear) -> Iterator[None]:
    for into in layer.into:
        for weight in into.weights:
            for place in range(weight.numel()):
                weight.view(-1)[place] = 1
                yield
                weight.view(-1)[place] = 0


def image(layer: EquivariantLinear, values: list[Tensor], places: list[Tensor]) -> Tensor:
    """The matrix `(size, size)` of a layer: rows are what it writes."""
    found = torch.zeros(len(values[0]), len(values[0]), dtype=torch.float64)
    for place, written in zip(places, layer(values), strict=True):
        found[:, place] = written
    return found.T


def ranks(layout: Layout, found: Tensor) -> np.ndarray:
    """The rank of the maps from every tensor to every other, `(tensors, tensors)`."""
    rows = [
        [np.linalg.matrix_rank(found[:, target, source].flatten(1).numpy()) for target in layout.slices.values()]
        for source in layout.slices.values()
    ]
    return np.array(rows)


@every_layout
def test_there_are_as_many_maps_as_characters_say(name: str) -> None:
    known = np.ix_(read(tiny(name)), read(tiny(name)))
    assert np.array_equal(counted(tiny(name), All())[known], dimensions(name)[known])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=5))
def test_also_in_any_short_chain(sizes: list[int]) -> None:
    layout = Layout.mlp(sizes)
    assert np.array_equal(counted(layout, All()), dimensions_of(layout))


@every_layout
def test_the_layer_represents_all_of_them_and_none_twice(name: str) -> None:
    layout = tiny(name)
    known = np.ix_(read(layout), read(layout))
    found = complete(name)
    assert np.array_equal(ranks(layout, found)[known], dimensions(name)[known])
    assert len(found) == np.linalg.matrix_rank(found.flatten(1).numpy()) == dimensions(name)[known].sum()


@every_layout
def test_each_of_them_is_equivariant(name: str) -> None:
    layout = tiny(name)
    found = complete(name)
    for _, places in zip(range(20), elements(layout), strict=False):
        assert torch.equal(found[:, places][:, :, places], found)


class Without(All):
    """All maps but one: the first that keeps an index, of those from a grid to itself."""

    def __init__(self) -> None:
        self.left_out: EquivariantMap | None = None

    def keeps(self, source: Grid, target: Grid, each: EquivariantMap) -> bool:
        if self.left_out is None and source is target and each.kept:
            self.left_out = each
        return not (source.indices == target.indices and each == self.left_out)


@every_layout
def test_a_map_that_is_left_out_is_missed(name: str) -> None:
    layout = tiny(name)
    if not layout.free_atoms:
        return
    found, expected = matrices(layout, Without()), dimensions(name)[np.ix_(read(layout), read(layout))].sum()
    assert np.linalg.matrix_rank(found.flatten(1).numpy()) < expected
    assert counted(layout, Without()).sum() < expected


def test_a_map_that_is_counted_twice_is_noticed() -> None:
    found = complete("2 → 3 → 3 → 1")
    twice = torch.cat([found, found[:1]])
    assert np.linalg.matrix_rank(twice.flatten(1).numpy()) < len(twice)


def test_comparing_places_in_different_heads_breaks_the_symmetry() -> None:
    """Test the tester: without the nesting of dimensions in heads there would be a map more than is equivariant."""
    heads, inner = Index("heads", 2), Index("inner", 3, (0,))
    nested, flat = ((heads, inner), (heads, Index("inner", 3)))
    assert len(equivariant_maps(nested, nested)) == 3  # all, same head, same dimension of the same head
    assert len(equivariant_maps(flat, flat)) == 4


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_np_layers_have_the_maps_of_their_authors(depth: int) -> None:
    """Zhou et al. 2023, equation 3 with biases: means of all tensors, rows and columns of neighbours, the number."""
    layout = Layout.mlp([4] * (depth + 1))
    every = grids(layout, ends=True)
    found = sum(len(equivariant_maps(a.indices, b.indices)) for a in every for b in every)
    assert len(every) == 2 * depth and all(grid.features == 1 for grid in every)
    assert found == 4 * depth**2 + 10 * depth - 4


@pytest.mark.parametrize("sizes", [(2, 5, 3), (2, 4, 5, 1), (3, 4, 5, 6, 2)])
def test_hnp_layers_have_the_maps_of_their_authors(sizes: tuple[int, ...]) -> None:
    """The same, with inputs and outputs as features: O((L + n₀ + n_L)²) in all (Zhou et al. 2023, section 3.1)."""
    inputs, outputs, hidden = sizes[0], sizes[-1], len(sizes) - 2
    vectors = [1 + inputs * (i == 0) + outputs * (i == hidden - 1) for i in range(hidden)]
    matrices = hidden - 1
    means = (sum(vectors) + matrices + outputs) ** 2
    near = sum(each**2 for each in vectors) + 3 * matrices + 2 * max(0, matrices - 1)
    near += sum(2 * (a + b) for a, b in pairwise(vectors))
    assert counted(Layout.mlp(sizes), All()).sum() == means + near
