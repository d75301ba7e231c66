"""Axes: how tensor dimensions may be relabelled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs.errors import LayoutError
from neural_graphs.layout.axes import Atom, Axis, Concat, Product

A, B, FIXED = Atom("a", 3, free=True), Atom("b", 2, free=True), Atom("places", 2)
# Plain descriptions: run-time type checks draw random numbers, which hypothesis does not allow inside strategies.
Shape = str | tuple[str, list["Shape"]]
SHAPES = st.recursive(
    st.sampled_from(["a", "b", "places"]),
    lambda shapes: st.tuples(st.sampled_from(["product", "concat"]), st.lists(shapes, min_size=1, max_size=3)),
    max_leaves=4,
)
ORDERS = st.fixed_dictionaries({"a": st.permutations(range(3)), "b": st.permutations(range(2))})


def build(shape: Shape) -> Axis:
    if isinstance(shape, str):
        return {"a": A, "b": B, "places": FIXED}[shape]
    return {"product": Product, "concat": Concat}[shape[0]](tuple(build(part) for part in shape[1]))


def test_a_free_atom_takes_the_order_given_for_its_name() -> None:
    assert A.arrange({"a": [2, 0, 1], "b": [1, 0]}).tolist() == [2, 0, 1]
    assert A.arrange({}).tolist() == [0, 1, 2]
    assert FIXED.arrange({"places": [1, 0]}).tolist() == [0, 1]


def test_a_product_nests_and_a_concatenation_chains() -> None:
    orders = {"a": [2, 0, 1], "b": [1, 0]}
    assert Product((A, FIXED)).arrange(orders).tolist() == [4, 5, 0, 1, 2, 3]  # channel × place, places kept
    assert Product((A, B)).arrange(orders).tolist() == [5, 4, 1, 0, 3, 2]
    assert Concat((B, FIXED, A)).arrange(orders).tolist() == [1, 0, 2, 3, 6, 4, 5]
    assert Concat((A, Product((B, A)))).size == 9
    assert Concat((A, Product((B, A)))).atoms() == (A, B, A)


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3]])
def test_an_order_that_is_no_permutation_is_refused(order: list[int]) -> None:
    with pytest.raises(LayoutError, match="order of axis 'a' must be a permutation of 0 … 2"):
        A.arrange({"a": order})


def test_the_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Axis().atoms()
    with pytest.raises(TypeError, match="abstract"):
        Axis().old(np.arange(2), {}, {})


@settings(deadline=None)
@given(SHAPES, ORDERS)
def test_arranging_is_a_permutation_of_all_places(shape: Shape, orders: dict[str, list[int]]) -> None:
    axis = build(shape)
    assert sorted(axis.arrange(orders).tolist()) == list(range(axis.size))
    assert axis.size == len(axis.arrange(orders))


@settings(deadline=None)
@given(SHAPES, ORDERS, ORDERS)
def test_arranging_respects_composition(shape: Shape, first: dict[str, list[int]], then: dict[str, list[int]]) -> None:
    axis = build(shape)
    both = {name: np.array(first[name])[then[name]] for name in first}
    assert np.array_equal(axis.arrange(both), axis.arrange(first)[axis.arrange(then)])
