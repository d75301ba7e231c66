"""Tables and windows: which neurons weights join, where numbers lie, and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs.layout.strides import Table, Window, distinct

ENDS = ("source", "target")


# Plain descriptions: run-time type checks draw random numbers, which hypothesis does not allow inside strategies.
DIMENSIONS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["source", "target", "both"])), min_size=1, max_size=4
)
SEEDS = st.integers(0, 1000)
Dimensions = list[tuple[int, str]]


def build(dimensions: Dimensions, seed: int) -> Table:
    """Every dimension moves one end or both, each end by mixed radix in an order of its own."""
    generator, strides = np.random.default_rng(seed), []
    for end in ENDS:
        step, found = 1, [0] * len(dimensions)
        for dim in generator.permutation(len(dimensions)).tolist():
            size, moves = dimensions[dim]
            if moves in (end, "both"):
                found[dim] = step
                step *= size
        strides.append(tuple(found))
    return Table(tuple(size for size, _ in dimensions), *strides)


def test_the_usual_blocks() -> None:
    dense, pairs = Table.dense(2, 3), Table.one_to_one(4)
    assert [end.tolist() for end in dense.ends] == [[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]]
    assert [end.tolist() for end in pairs.ends] == [[0, 1, 2, 3]] * 2
    grouped = Table((2, 3, 2), source=(2, 0, 1), target=(3, 1, 0))
    assert (dense.kind, pairs.kind, grouped.kind, grouped.tied) == ("dense", "one-to-one", "tied", (2,))


@settings(deadline=None)
@given(DIMENSIONS, SEEDS)
def test_a_shorter_table_joins_the_same_neurons(dimensions: Dimensions, seed: int) -> None:
    table = build(dimensions, seed)
    short = table.short
    assert short.short == short and 1 <= len(short.sizes) <= len(table.sizes)
    for ours, theirs, turned in zip(short.ends, table.ends, reversed(table.turned.ends), strict=True):
        assert np.array_equal(ours, theirs) and np.array_equal(turned, theirs)


@settings(deadline=None)
@given(DIMENSIONS, SEEDS)
def test_neurons_are_found_again(dimensions: Dimensions, seed: int) -> None:
    table = build(dimensions, seed)
    for end, ends in zip(ENDS, table.ends, strict=True):
        every = np.arange(int(ends.max()) + 1)
        assert np.array_equal(table.along(every, end).reshape(-1), ends)
        assert sorted(table.neurons(every, end).reshape(-1).tolist()) == np.unique(ends).tolist()
        assert distinct(table.sizes, table.strides(end))
        indices, reached = table.indices(every, end)
        assert reached.all()
        strides = table.strides(end)
        assert np.array_equal(sum((strides[dim] * at for dim, at in indices.items()), 0 * every), every)


def test_neurons_out_of_reach_are_told_apart() -> None:
    _, reached = Table((2, 2), source=(1, 0), target=(4, 1)).indices(np.arange(8), "target")
    assert reached.tolist() == [True, True, False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("sizes", "strides", "apart"),
    [
        ((2, 3), (3, 1), True),
        ((2, 3), (2, 1), False),
        ((3,), (0,), True),
        ((1, 3), (1, 1), True),
        ((2, 2), (1, 1), False),
    ],
)
def test_places_reached_twice_are_noticed(sizes: tuple[int, ...], strides: tuple[int, ...], apart: bool) -> None:
    assert distinct(sizes, strides) == apart


def test_windows_are_parts_of_a_flattened_tensor() -> None:
    tensor = np.arange(12).reshape(3, 4)
    transposed, corner = Window(0, (4, 3), (1, 4)), Window(5, (2, 2), (4, 1))
    assert np.array_equal(transposed.places, tensor.T.reshape(-1))
    assert np.array_equal(corner.places, tensor[1:, 1:3].reshape(-1))
    assert (corner.size, corner.last) == (4, 10)
    assert Window(0, (3, 1, 4), (4, 9, 1)).whole and not transposed.whole and not corner.whole
