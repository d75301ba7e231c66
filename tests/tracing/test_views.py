"""Views of neurons are views: whatever is done to a tensor, its views name the numbers that are there."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs.errors import LayoutError
from neural_graphs.layout.strides import places
from neural_graphs.tracing import views as moves
from neural_graphs.tracing.dims import Dim, DimVar, chained, new, size
from neural_graphs.tracing.sources import ParamRef
from neural_graphs.tracing.tape import Tape
from neural_graphs.tracing.values import TracedTensor
from neural_graphs.tracing.views import Views, joined, views_of

SIZES = st.integers(1, 4)


def numbers(views: Views, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor that views describe: every place the number it is made of, -1 where none is."""
    found = np.full(shape, -1)
    strides = [prod(shape[dim + 1 :]) for dim in range(len(shape))]
    for view in views:
        start = sum(s * stride for s, stride in zip(view.starts, strides, strict=True))
        axes = tuple(axis.size for axis in view.axes)
        where = start + places(axes, tuple(axis.step * strides[axis.dim] for axis in view.axes))
        assert (found.reshape(-1)[where] == -1).all(), "two views lie on each other"
        found.reshape(-1)[where] = view.offset + places(axes, tuple(axis.stride for axis in view.axes))
    return found


def stored(dims: tuple[Dim, ...]) -> Views:
    return views_of(ParamRef("w", tuple(map(size, dims)), buffer=False), dims)


PLANS = st.lists(st.lists(st.lists(SIZES, min_size=1, max_size=3), min_size=1, max_size=2), min_size=1, max_size=3)


def built(plan: list[list[list[int]]]) -> tuple[Dim, ...]:
    """Dimensions of one or two variables each, which are concatenations where several sizes are planned."""
    return tuple(tuple(var for sizes in dim for var in chained([new(count) for count in sizes])) for dim in plan)


@given(PLANS)
def test_a_tensor_is_all_its_pieces(plan: list[list[list[int]]]) -> None:
    dims = built(plan)
    shape = tuple(map(size, dims))
    assert np.array_equal(numbers(stored(dims), shape), np.arange(prod(shape)).reshape(shape))


@given(PLANS, st.data())
@settings(deadline=None)
def test_views_follow_numpy(plan: list[list[list[int]]], data: st.DataObject) -> None:
    """Any sequence of transposes, new and merged dimensions, slices and selections, as numpy does them."""
    tape, dims = Tape(), built(plan)
    value = TracedTensor(dims)
    found = np.arange(prod(value.shape)).reshape(value.shape)
    for _ in range(data.draw(st.integers(1, 5))):
        rank = len(value.dims)
        dim = data.draw(st.integers(0, rank - 1))
        count = value.shape[dim]
        kind = data.draw(st.sampled_from(["permute", "insert", "flatten", "slice", "select"]))
        if kind == "permute":
            order = data.draw(st.permutations(range(rank)))
            value, found = tape.permute(value, order), found.transpose(order)
        elif kind == "insert":
            value, found = tape.insert(value, dim), np.expand_dims(found, dim)
        elif kind == "flatten":
            value, found = tape.reshape(value, (prod(value.shape),)), found.reshape(-1)
        elif kind == "slice":
            start = data.draw(st.integers(0, count - 1))
            stop = data.draw(st.integers(start + 1, count))
            value, found = tape.slice(value, dim, start, stop), found.take(range(start, stop), dim)
        elif rank > 1:
            place = data.draw(st.integers(0, count - 1))
            value, found = tape.select(value, dim, place), found.take(place, dim)
    assert value.shape == found.shape
    tracked = {tape.ops[0].inputs[0] if tape.ops else value: stored(dims)}
    try:
        for op in tape.ops:
            tracked[op.output] = op.move(tracked[op.inputs[0]])  # type: ignore[attr-defined]
    except LayoutError:
        return  # neurons that cannot be followed are refused, not guessed
    assert np.array_equal(numbers(tracked[value], found.shape), found)


def test_packed_parts_are_told_apart() -> None:
    """Query, key and value of one packed tensor: chosen along the packed dimension, each has variables of its own."""
    tape = Tape()
    packed = TracedTensor((new(3 * 2 * 4), new(5)))
    tape.record.see(*packed.dims)
    split = tape.permute(tape.reshape(packed, (3, 2, 4, 5)), (0, 2, 1, 3))
    query, key = (tape.select(split, 0, place) for place in (0, 1))
    assert query.dims[0] != key.dims[0]
    tracked = {packed: stored(packed.dims)}
    for op in tape.ops:
        tracked[op.output] = op.move(tracked[op.inputs[0]])  # type: ignore[attr-defined]
    whole = np.arange(120).reshape(3, 2, 4, 5).transpose(0, 2, 1, 3)
    assert np.array_equal(numbers(tracked[query], (4, 2, 5)), whole[0])
    assert np.array_equal(numbers(tracked[key], (4, 2, 5)), whole[1])


def test_pieces_that_lie_on_each_other_are_joined() -> None:
    parts = chained([new(2), new(3)])
    pairs = joined([stored((parts,)), stored((parts,))])
    assert [(one.starts, other.starts) for one, other in pairs] == [((0,), (0,)), ((2,), (2,))]


def test_neurons_that_are_cut_across_are_refused() -> None:
    whole = stored((new(6), new(4)))
    with pytest.raises(LayoutError, match="cuts across"):
        moves.reshaped(whole, (6, 4), (3, 8))


def test_places_make_no_pieces() -> None:
    """A table of positions that was cut for a class token is one table again where positions are places only."""
    tokens = DimVar(5, fixed=True)
    tokens.chain = (new(1, fixed=True), new(4, fixed=True))
    dims = ((tokens,), new(3))
    (whole,) = moves.flattened(stored(dims), (5, 3), [0])
    assert np.array_equal(numbers([whole], (5, 3)), np.arange(15).reshape(5, 3))
