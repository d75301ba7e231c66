"""What is refused as a layout, and in which words."""

from dataclasses import replace
from typing import Any

import pytest

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Block, Group, Layout, Parameter
from neural_graphs.layout import validate as validity
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.strides import Table, Window
from tests.laws.intricate import INTRICATE

ATTENTION, RECURRENCE = INTRICATE["attention"], INTRICATE["tied recurrence"]
HEADS = Atom("heads", 2, free=True)
INNER = Atom("inner", 2, free=True, within=("heads",))


def change(layout: Layout, what: str, place: int, **changes: Any) -> Layout:
    items = list(getattr(layout, what))
    items[place] = replace(items[place], **changes)
    return replace(layout, **{what: tuple(items)})


@pytest.mark.parametrize(
    ("layout", "what", "place", "changes", "message"),
    [
        (ATTENTION, "blocks", 2, {"window": Window(0, (4, 4), (4, 1))}, r"read exactly once; check \['in.weight'\]"),
        (ATTENTION, "blocks", 2, {"window": Window(16, (2, 8), (8, 1))}, r"in.weight: .* must have sizes \(4, 4\)"),
        (ATTENTION, "blocks", 2, {"window": Window(40, (4, 4), (4, 1))}, r"in.weight: .* lie in 48 numbers"),
        (ATTENTION, "blocks", 2, {"window": Window(16, (4, 4), (4, -1))}, r"in.weight: .* lie in 48 numbers"),
        (ATTENTION, "blocks", 2, {"shared": True}, r"read exactly once; check \['in.weight'\]"),
        (ATTENTION, "blocks", 0, {"shared": True}, r"every reader of \['embed.weight'\] is shared"),
        (ATTENTION, "groups", 2, {"window": Window(0, (2,), (1,))}, "in.bias: .* is no window of biases for 4 neurons"),
        (ATTENTION, "blocks", 6, {"joins": Table((2, 2), (3, 1), (1, 0))}, "must reach each of 4 source neurons"),
        (ATTENTION, "blocks", 6, {"joins": Table((2, 2), (1, 1), (1, 0))}, "must reach each of 4 source neurons"),
        (ATTENTION, "blocks", 6, {"joins": Table((2, 2), (2, 1), (1,))}, "must reach each of 2 target neurons"),
        (ATTENTION, "blocks", 6, {"joins": Table((2, 3), (1, 0), (1, 0))}, r"dimensions \[3\] .* move neither end"),
        (RECURRENCE, "parameters", 0, {"dtype": "int64"}, r"\['embedding.weight'\] are carried along"),
        (RECURRENCE, "parameters", 1, {"dtype": ""}, r"read exactly once; check \['positions'\]"),
        (RECURRENCE, "parameters", 1, {"name": "head.weight"}, r"distinct names, got \['head.weight'\]"),
        (ATTENTION, "groups", 6, {"axis": Atom("heads", 2)}, r"scores: .*'heads'.* is .*'heads'.* elsewhere"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    layout: Layout, what: str, place: int, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        change(layout, what, place, **changes)


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (INNER, r"inner lies within \['heads'\], which must surround it once"),
        (Product((HEADS, HEADS, INNER)), "must surround it once"),
        (Concat((HEADS, INNER)), "must surround it once"),
        (Product((HEADS, INNER, Atom("deep", 2, within=("inner",)))), r"deep lies within .* \['heads'\]; then so"),
    ],
)
def test_nested_atoms_need_their_surroundings(axis: Axis, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        Layout((Group("input", axis, "input"),), (), ())


def test_atoms_may_lie_within_others_before_after_and_around_them() -> None:
    deep = Atom("deep", 2, free=True, within=("heads", "inner"))
    for axis in (Product((HEADS, INNER)), Product((INNER, HEADS)), Product((HEADS, Product((deep, INNER))))):
        assert Layout((Group("input", axis, "input"),), (), ()).neurons == axis.size
    inside = Product((HEADS, Concat((INNER, Atom("rest", 3)))))
    assert Layout((Group("input", inside, "input"),), (), ()).neurons == 10


def test_large_tensors_are_judged_by_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "MARKED", 10)
    assert replace(ATTENTION) == ATTENTION
    with pytest.raises(LayoutError, match=r"check \['in.weight'\]"):
        change(ATTENTION, "blocks", 2, window=Window(16, (4, 4), (0, 1)))
    with pytest.raises(LayoutError, match=r"check \['in.weight'\]"):
        change(ATTENTION, "blocks", 2, shared=True)


def test_a_tensor_without_numbers_is_read_by_nobody() -> None:
    assert Layout((Group("input", HEADS, "input"),), (), (Parameter("empty", (0, 3)),)).size == 0


def test_a_transposed_whole_is_read_once() -> None:
    groups = Group("input", Atom("a", 2), "input"), Group("output", Atom("b", 3), "output")
    block = Block(0, 1, "w", window=Window(0, (3, 2), (1, 3)))
    assert Layout(groups, (block,), (Parameter("w", (2, 3)),)).weights == 6
    with pytest.raises(LayoutError, match=r"check \['w'\]"):
        Layout(groups, (replace(block, window=Window(0, (3, 2), (0, 3))),), (Parameter("w", (2, 3)),))
