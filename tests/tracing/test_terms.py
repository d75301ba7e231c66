"""What is known of dimensions: sizes stay, what was joined stays joined, and nothing fixed becomes free."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_graphs.errors import LayoutError
from neural_graphs.tracing.dims import DimVar, chained, flat, freeze, new, plain, size, split, unify
from neural_graphs.tracing.sources import ParamRef
from neural_graphs.tracing.tape import Tape
from neural_graphs.tracing.values import TracedTensor, broadcast, fresh, reshaped
from neural_graphs.tracing.views import views_of

FACTORS = st.lists(st.integers(2, 3), min_size=1, max_size=4)


@given(FACTORS, st.data())
def test_reshaping_there_and_back_joins_every_factor(factors: list[int], data: st.DataObject) -> None:
    """A dimension split into factors and merged again in other places has the factors that all shapes agree on."""
    whole = new(prod(factors))
    first = reshaped((whole,), factors)
    cut = data.draw(st.integers(1, len(factors)))
    second = reshaped((whole,), (prod(factors[:cut]), prod(factors[cut:])))
    assert flat(whole) == tuple(var for dim in first for var in flat(dim))
    assert [size(dim) for dim in second] == [prod(factors[:cut]), prod(factors[cut:])]
    assert flat(second[0]) + flat(second[1]) == flat(whole)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_parts_of_a_chain_are_what_it_was_made_of(sizes: list[int], data: st.DataObject) -> None:
    parts = [new(count) for count in sizes]
    whole = chained(parts)
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    assert [flat(part) for part in split(whole, ends)] == [flat(part) for part in parts]
    other = new(sum(sizes))
    cut = data.draw(st.integers(1, sum(sizes)))
    views = split(other, sorted({cut, sum(sizes)}))
    unify(whole, other)
    assert sum(size(view) for view in views) == size(whole)
    assert {var for view in views for var in plain(view)} == set(plain(whole))


@given(FACTORS)
def test_what_is_fixed_fixes_what_it_is_joined_to(factors: list[int]) -> None:
    free, tied = new(prod(factors)), [new(count) for count in factors]
    unify(free, [var for term in tied for var in term])
    freeze(tied[-1])
    assert [var.fixed for var in plain(free)] == [False] * (len(factors) - 1) + [True]


def test_dimensions_that_do_not_line_up_stay_where_they_are() -> None:
    first, second = (*new(4), *new(6)), (*new(6), *new(4))
    unify(first, second)
    assert all(var.fixed for var in (*plain(first), *plain(second)))


def test_different_sizes_are_refused() -> None:
    with pytest.raises(LayoutError, match="6 and 5 places"):
        unify(new(6), new(5))


def test_broadcasting_joins_from_the_end() -> None:
    one, other = TracedTensor((new(4), new(3))), TracedTensor((new(3),))
    assert broadcast([one, other]) == tuple(map(flat, one.dims))
    assert flat(other.dims[0]) == flat(one.dims[1])


def test_columns_are_others_in_every_part_of_the_rows() -> None:
    """Cut at 2, then at 5 as well: what was told of the first part stays, the rest is told apart further."""
    tape, stream = Tape(), new(4)
    packed = TracedTensor(fresh((8, 4)), stored=True)
    tape.record.see(*packed.dims)
    first, _ = tape.unpack(packed, 0, [2, 8])
    tape.record.see(*first.dims, stream)
    unify(first.dims[1], stream)
    head, *others = tape.unpack(packed, 0, [2, 5, 8])
    assert flat(head.dims[1]) == flat(stream)
    assert len({flat(part.dims[1]) for part in (head, *others)}) == 3
    unify(head.dims[1], others[0].dims[1])
    assert [size(part.dims[0]) for part in (head, *others)] == [2, 3, 3]
    assert [view.offset for view in views_of(ParamRef("packed", (8, 4), buffer=False), packed.dims)] == [0, 8, 20]


def test_columns_that_occur_without_the_rows_stay_as_they_are() -> None:
    tape, packed = Tape(), TracedTensor(fresh((8, 4)), stored=True)
    tape.record.see(*packed.dims)
    tape.record.see(packed.dims[1])
    first, second = tape.unpack(packed, 0, [2, 8])
    assert flat(first.dims[1]) == flat(second.dims[1])


def test_equal_parts_of_a_chain_become_places_of_a_factor() -> None:
    """Two halves viewed as two rows (a channel shuffle): another variable at each place of the first one."""
    halves = [new(4), new(4)]
    whole = chained(halves)
    rows, columns = reshaped((whole,), (2, 4))
    (owner,), (inner,) = rows, columns
    assert owner.fixed and inner.by is not None
    assert [flat(part) for part in inner.by] == [flat(half) for half in halves]
    assert isinstance(owner, DimVar) and flat((inner.owner,)) == (owner,)  # type: ignore[arg-type]
