"""A layout in words: the line, folded tables, symmetry groups, coverage."""

from math import lgamma, log

import pytest

from neural_graphs.layout import Atom, Block, Concat, Group, Layout, Parameter, Product
from neural_graphs.layout.describe import coverage, description, factors, is_chain, line, symmetry
from neural_graphs.layout.repeats import Row, folds, merged
from tests.hand_layouts import Hand, decoder, densely, free, resnet, unet


def rows(text: str, start: str) -> list[str]:
    return [row for row in text.splitlines() if row.startswith(start)]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout.mlp((2, 32, 32, 1), "sine"), "2 → 32 → 32 → 1 · sine"),
        (Layout.cnn((1, 3, 4), (3, 5), 2), "1 →(3×3) 3 →(5×5) 4 → 2 · relu"),
        (Layout.cnn((1, 4, 6, 4), (3, 1, 3), 2, residual=(-1, -1, 0)), "1 →(3×3) 4 →(1×1) 6 →(3×3) 4 → 2 · relu · 1⇢3"),
        (resnet(), "50 groups, 97 blocks · 11,689,512 parameters"),
    ],
    ids=["mlp", "cnn", "skip", "resnet"],
)
def test_the_line(layout: Layout, expected: str) -> None:
    assert line(layout) == expected
    assert description(layout).startswith(expected + "\n")


def test_only_chains_are_written_as_chains() -> None:
    assert is_chain(Layout.mlp((2, 3, 1)))
    hand = Hand(3)
    hand.dense(hand.norm(0, "n"), "out", Atom("out", 2), role="output")
    assert not is_chain(hand.done())


def test_equal_blocks_are_folded_where_the_module_begins() -> None:
    text = description(resnet(depths=(2, 4, 6, 3)))
    (last,) = rows(text, "layer3.{1…5} ")
    assert rows(text, "layer3.{1…5}.conv1")[0].endswith("┐ 5 ×") and last.endswith("┘")
    assert rows(text, "layer3.0.downsample.0")[0].split("  ")[-1].strip() == "conv"
    assert len(text.splitlines()) < 70
    assert not rows(text, "layer3.2")


def test_a_decoder_fits_a_screen() -> None:
    text = description(decoder(12, 768, 12, 64, 50257, 1024))
    assert len(text.splitlines()) < 45
    assert "12 free × 64 free in each" in rows(text, "h.{0…11}.attn.q")[0]
    assert "12 × 64 as h.0.attn.q" in rows(text, "h.{0…11}.attn.k")[0]
    assert "768 as wte" in rows(text, "h.{0…11}.mlp.c_proj")[0]
    assert rows(text, "linear, shared")[0].endswith("shared")


@pytest.mark.parametrize(
    "layout", [resnet(), decoder(3), densely(), unet()], ids=["resnet", "decoder", "dense", "unet"]
)
def test_the_tables_add_up(layout: Layout) -> None:
    tables = description(layout).split("\n\n")
    body = [row.split("  ") for row in tables[2].splitlines()[1:]]
    words = [[word.strip() for word in row if word.strip()] for row in body]
    assert sum(int(row[2].replace(",", "")) for row in words if row[0] != "bias") == len(layout.blocks)
    count = sum(int(row[-1 if "×" not in row[-1] else -2].replace(",", "")) for row in words
                if row[0] != "structural" and "shared" not in row[0])  # fmt: skip
    assert count == layout.size


def test_symmetry_groups_are_products_and_wreaths() -> None:
    assert symmetry(Layout.mlp((2, 1, 1))) == "no neuron is free to permute"
    assert symmetry(Layout.mlp((2, 32, 32, 1))).startswith("2 free axes: S_32^2, ")
    text = symmetry(decoder(2, 32, 4, 8))
    assert "S_32 × ((S_8 × S_8) ≀ S_4)^2 × S_128^2" in text
    sizes = [32] + 2 * (2 * 4 * [8] + [4, 128])  # of all symmetric groups in the product
    assert f"10^{sum(lgamma(n + 1) for n in sizes) / log(10):,.0f} relabellings" in text


def test_atoms_nested_in_fixed_ones_are_free_at_each_place() -> None:
    outer, inner = Atom("groups", 3), Atom("inner", 5, True, ("groups",))
    groups = (
        Group("in", Atom("in", 2), "input"),
        Group("middle", Product((outer, inner))),
        Group("out", Atom("out", 1), "output"),
    )
    layout = Layout(groups, (Block(0, 1, "a"), Block(1, 2, "b")), (Parameter("a", (15, 2)), Parameter("b", (1, 15))))
    assert symmetry(layout).startswith("1 free axis: S_5^3, ")
    assert "3 fixed × 5 free in each" in description(layout)


def test_concatenations_are_shortened() -> None:
    pieces = tuple(free(f"piece{n}", 4 + n) for n in range(5))
    hand = Hand(2)
    hand.dense(hand.dense(0, "a", Concat(pieces)), "b", Concat(pieces[:2]))
    text = description(hand.done())
    assert "4 free + 5 free + … (5 parts)" in rows(text, "a ")[0]
    assert "4 as a + 5 as a" in rows(text, "b ")[0]


def test_neurons_that_may_be_multiplied_are_marked() -> None:
    tied = Layout.cnn((1, 4, 6, 4), (3, 1, 3), 2, activations=("tanh", "relu", "none"), residual=(-1, -1, 0))
    text = description(tied)
    assert rows(text, "conv0")[0].endswith("tanh ±") and rows(text, "conv1")[0].endswith("relu ×")
    assert rows(text, "conv2")[0].endswith("±") and "±" not in rows(text, "output")[0]
    last = "8 neurons may change sign (±: 4 factors, tied by skips), 6 neurons may be scaled (×)"
    assert factors(tied) == last and last in text
    assert factors(resnet()) == "" and factors(Layout.mlp((2, 5, 1), "gelu")) == ""


def test_coverage_counts_what_is_read() -> None:
    layout = Layout.mlp((2, 3, 1))
    carried = Parameter("steps", (), True, dtype="int64")
    assert coverage(layout) == "13 of 13 parameters"
    more = Layout(layout.groups, layout.blocks, (*layout.parameters, carried))
    assert coverage(more) == "13 of 13 parameters, 1 carried along"
    assert "9,600 numbers in buffers" in coverage(resnet())


def test_numbers_are_merged() -> None:
    assert merged(["h.0.a1", "h.1.a1", "h.2.a1"]) == "h.{0…2}.a1"
    assert merged(["l.0", "l.2", "l.4"]) == "l.{0, 2 … 4}" and merged(["l.0", "l.2"]) == "l.{0, 2}"


def test_what_does_not_count_on_is_not_folded() -> None:
    def row(place: int, name: str, ties: tuple[int, ...] = ()) -> Row:
        return Row(place, name, ("x",), ties)

    assert [fold.count for fold in folds([row(0, "a.0"), row(1, "a.1"), row(2, "a.5")])] == [2, 1]
    assert [fold.count for fold in folds([row(0, "a.0", (0,)), row(1, "a.1", (0,)), row(2, "a.2", (0,))])] == [1, 2]
    assert [fold.count for fold in folds([row(0, "a.0"), row(1, "b.1")])] == [1, 1]
