"""Relabelled neurons of layouts with windows, tied dimensions, nested atoms and shared tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Atom, Concat, Group, Layout, Product
from neural_graphs.networks import Networks
from neural_graphs.symmetry import NeuronPermutation, PositiveScale, SignFlip
from tests.laws.intricate import INTRICATE


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("layout", INTRICATE.values(), ids=INTRICATE)
def test_every_number_moves_with_the_neurons_it_joins(layout: Layout) -> None:
    element = NeuronPermutation.sample(layout, seeded())
    old, orders = element.places.numpy(), element.group_orders
    read = set()
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.parameter:
            numbers = layout.numbers(block)
            pairs = zip(*(end.tolist() for end in table.ends), strict=True)
            at = dict(zip(pairs, numbers, strict=True))
            for (source, target), kernel in at.items():
                before = at[int(orders[block.source][source]), int(orders[block.target][target])]
                assert old[kernel].tolist() == before.tolist()
            read.update(numbers.reshape(-1).tolist())
    for group, order in zip(layout.groups, orders, strict=True):
        if group.bias:
            numbers = layout.bias_numbers(group)
            assert old[numbers].tolist() == numbers[order].tolist()
            read.update(numbers.tolist())
    rest = sorted(set(range(layout.size)) - read)
    assert old[rest].tolist() == rest and sorted(old.tolist()) == list(range(layout.size))
    assert not np.array_equal(old, np.arange(layout.size))


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(INTRICATE)), st.integers(0, 2**32))
def test_elements_form_a_group(name: str, seed: int) -> None:
    layout, generator = INTRICATE[name], seeded(seed)
    networks = Networks(torch.randn(2, layout.size, generator=generator, dtype=torch.float64), layout)
    first, then = (NeuronPermutation.sample(layout, generator) for _ in range(2))
    assert torch.equal((then @ first).act(networks).values, then.act(first.act(networks)).values)
    product = then @ first
    assert torch.equal(product.inverse().act(product.act(networks)).values, networks.values)
    assert torch.equal((product @ product.inverse()).act(networks).values, networks.values)


def test_nested_atoms_move_apart_at_every_place_they_lie_within() -> None:
    outer, inner = Atom("outer", 2, free=True), Atom("inner", 3, free=True, within=("outer",))
    orders = {"outer": np.array([1, 0]), "inner": np.array([[0, 2, 1], [1, 2, 0]])}
    assert Product((outer, inner)).arrange(orders).tolist() == [3, 5, 4, 1, 2, 0]
    assert Product((inner, outer)).arrange(orders).tolist() == [1, 2, 5, 4, 3, 0]
    assert Product((outer, Concat((Atom("one", 1), inner)))).arrange(orders).tolist() == [4, 5, 7, 6, 0, 2, 3, 1]
    with pytest.raises(LayoutError, match=r"'inner' lies within \['outer'\], which must surround it"):
        inner.arrange(orders)
    with pytest.raises(LayoutError, match="permutation of 0 … 2 at every place of"):
        Product((outer, inner)).arrange({**orders, "inner": np.array([[0, 2, 1], [1, 1, 0]])})


def test_one_order_for_a_nested_atom_serves_everywhere() -> None:
    layout = INTRICATE["attention"]
    element = NeuronPermutation(layout, {"angles": np.array([1, 0])})
    assert element.orders["angles"].tolist() == [[1, 0], [1, 0]]
    assert element.group_orders[2].tolist() == [1, 0, 3, 2]
    assert element.inverse().orders["angles"].tolist() == [[1, 0], [1, 0]]


def test_blocks_that_tie_and_tensors_that_are_shared_are_not_torn() -> None:
    loose = Atom("loose", 2, free=True)
    attention = _with_axis(INTRICATE["attention"], "scores", loose)
    with pytest.raises(LayoutError, match="a tied block joins products to scores, but this symmetry reorders"):
        _ = NeuronPermutation(attention, {"loose": np.array([1, 0])}).places
    recurrence = _with_axis(INTRICATE["tied recurrence"], "features", Atom("loose", 3, free=True))
    with pytest.raises(LayoutError, match=r"\['embedding.weight'\] are read more than once"):
        _ = NeuronPermutation(recurrence, {"loose": np.array([1, 2, 0])}).places
    shared = Group("again", Atom("apart", 4, free=True), bias="embed.bias", shared=True)
    twice = replace(INTRICATE["attention"], groups=(*INTRICATE["attention"].groups, shared))
    with pytest.raises(LayoutError, match=r"\['embed.bias'\] are read more than once"):
        _ = NeuronPermutation(twice, {"apart": np.array([1, 2, 0, 3])}).places


@pytest.mark.parametrize("kind", [SignFlip, PositiveScale])
def test_neurons_near_what_is_not_understood_are_not_multiplied(kind: type[SignFlip | PositiveScale]) -> None:
    """Norms, products and gates: no sign or scale goes through them. Grouped convolutions add, as others do."""
    found = {name: [each.tolist() for each in kind.movable(layout)] for name, layout in INTRICATE.items()}
    assert found == {"attention": [], "grouped convolutions": [[3, 4, 5, 6], [7, 8, 9, 10]], "tied recurrence": []}


def _with_axis(layout: Layout, name: str, axis: Atom) -> Layout:
    groups = [replace(group, axis=axis) if group.name == name else group for group in layout.groups]
    return replace(layout, groups=tuple(groups))
