"""Pictures of layouts: where groups stand, what is drawn, and that nothing is left out."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PathCollection

from neural_graphs import plots
from neural_graphs.errors import LayoutError
from neural_graphs.layout import Atom, Layout
from neural_graphs.layout.strides import Table
from neural_graphs.networks import Networks
from neural_graphs.plots.graph_view import bands, sketch, streams
from neural_graphs.plots.layout import STRENGTH, curves
from neural_graphs.plots.ranks import longest_paths, place, spaced
from neural_graphs.plots.wrapping import WIDTH, arrange, cut
from tests.hand_layouts import Hand, decoder, densely, free, resnet, unet

LAYOUTS = {
    "mlp": Layout.mlp((2, 32, 32, 1), "sine"),
    "cnn": Layout.cnn((1, 4, 6, 4), (3, 1, 3), 2, residual=(-1, -1, 0)),
    "resnet": resnet((8, 16, 24, 32), classes=10),
    "decoder": decoder(3),
    "dense": densely(),
    "unet": unet((4, 8, 16)),
}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param


def pairs(layout: Layout) -> set[tuple[int, int]]:
    return {(block.source, block.target) for block in layout.blocks}


def test_every_group_and_every_joined_pair_is_drawn(layout: Layout) -> None:
    figure = plots.plot(layout, title="some name")
    axes = figure.axes[0]
    dots = [each for each in axes.collections if isinstance(each, PathCollection) and each.get_zorder() == 4]
    assert sum(len(each.get_offsets()) for each in dots) == len(sketch(layout)[0])
    lines = {each.get_label(): each for each in axes.collections if isinstance(each, LineCollection)}
    assert set(STRENGTH) <= set(lines)
    texts = [text.get_text() for text in axes.texts]
    assert any(text.startswith("some name · ") for text in texts)
    for offset in (point for each in dots for point in each.get_offsets()):
        assert 0 < offset[0] < figure.get_figwidth() and 0 < offset[1] < figure.get_figheight()


def test_marks_and_lines_are_groups_and_blocks(layout: Layout) -> None:
    marks, lines = sketch(layout)
    assert {mark.group.name for mark in marks} == {group.name for group in layout.groups}
    assert {(marks[line.source].group, marks[line.target].group) for line in lines} == {
        (layout.groups[a], layout.groups[b]) for a, b in pairs(layout)
    }
    read = sum(t.size * b.kernel_size for b, t in zip(layout.blocks, layout.tables, strict=True) if b.parameter)
    assert sum(line.numbers for line in lines) == read
    assert all(line.source < line.target for line in lines)


def test_ranks_go_forward_and_nothing_overlaps(layout: Layout) -> None:
    marks, lines = sketch(layout)
    joined = [(line.source, line.target) for line in lines]
    places = place(len(marks), joined)
    assert all(places.ranks[a] < places.ranks[b] for a, b in joined)
    for rank in range(places.ranks.max() + 1):
        heights = np.sort(places.heights[places.ranks == rank])
        assert (np.diff(heights) > 1 - 1e-6).all()
    for source, track in places.tracks.items():
        last = max((places.ranks[b] for a, b in joined if a == source), default=places.ranks[source] + 1)
        assert [rank for rank, _ in track] == list(range(places.ranks[source], last))


def test_tracks_are_straight_in_a_unet() -> None:
    marks, lines = sketch(unet())
    tracks = place(len(marks), [(line.source, line.target) for line in lines]).tracks.values()
    long = [[height for _, height in track[1:]] for track in tracks if len(track) > 4]
    assert len(long) == 3
    assert all(np.ptp(heights) < 0.1 for heights in long)


def test_norms_stand_beside_what_reads_them() -> None:
    lines = [(0, 1), (0, 2), (0, 4), (1, 3), (2, 4), (3, 4)]  # 2 reads 0, whose track runs on to 4
    assert longest_paths(5, lines).tolist() == [0, 1, 2, 2, 3]
    assert longest_paths(3, [(0, 2), (1, 2)]).tolist() == [0, 0, 1]


def test_rows_break_between_modules() -> None:
    marks, lines = sketch(decoder(12))
    places = place(len(marks), [(line.source, line.target) for line in lines])
    modules = bands(marks, places.ranks.tolist())
    assert [name for name, _, _ in modules] == [f"h.{n}" for n in range(12)]
    sheet = arrange(places, [first for _, first, _ in modules])
    assert len(sheet.starts) > 1 and set(sheet.starts[1:]) <= {first for _, first, _ in modules}
    assert sheet.size[0] <= WIDTH + 0.5
    assert [sheet.row(start) for start in sheet.starts] == list(range(len(sheet.starts)))


def test_cut_finds_the_cheapest_rank() -> None:
    assert cut([0.0] * 10, 10) == (0,)
    assert cut([5.0] * 5 + [1.0] + [5.0] * 4, 6) == (0, 5)


def test_a_line_goes_on_where_its_row_ended() -> None:
    marks, lines = sketch(decoder(12))
    places = place(len(marks), [(line.source, line.target) for line in lines])
    sheet = arrange(places, [])
    start = sheet.starts[1]
    first, second = curves([(start - 1, 0.0), (start, 2.0)], sheet)
    half = [sheet.levels[row] + 0.36 for row in (0, 1)]
    assert first[-1][1] == pytest.approx(half[0]) and second[0][1] == pytest.approx(half[1])
    assert len(curves([(start, 0.0), (start + 1, 1.0), (start + 2, 1.0)], sheet)) == 1


def test_what_permutes_together_is_one_stream() -> None:
    marks, lines = sketch(decoder(3))
    assert streams(marks, lines)[0] == "stream"
    assert sum(mark.stream == "stream" for mark in marks) == 1 + 3 * 6 + 1
    assert not streams(*sketch(Layout.mlp((2, 8, 8, 8, 1))))


def test_a_constant_stands_beside_each_of_its_readers() -> None:
    hand = Hand(2)
    one = hand.add("one", Atom("one", 1), "one")
    first = hand.dense(0, "a", free("a", 3))
    second = hand.dense(first, "b", free("b", 3))
    for target in (first, second):
        hand.join(one, target, Table.dense(3, 1), f"second{target}")
    hand.dense(second, "out", Atom("out", 1), role="output")
    marks, lines = sketch(hand.done())
    assert sum(mark.group.name == "one" for mark in marks) == 2 and len(lines) == 5
    ranks = longest_paths(len(marks), [(line.source, line.target) for line in lines])
    assert all(ranks[line.target] - ranks[line.source] == 1 for line in lines)


def test_networks_are_drawn_neuron_by_neuron_where_that_is_readable() -> None:
    chain, deep = Layout.mlp((2, 3, 1)), resnet((4, 4), (1, 1), 3)
    one = plots.plot(Networks(torch.randn(1, chain.size), chain))
    assert any("most" in text.get_text() for axes in one.axes for text in axes.get_yticklabels())
    for networks in (Networks(torch.randn(2, chain.size), chain), Networks(torch.randn(1, deep.size), deep)):
        assert len(plots.plot(networks).axes) == 1
    mixed = Networks.cat([Networks(torch.randn(1, each.size), each) for each in (chain, deep)])
    with pytest.raises(LayoutError, match="networks of 2"):
        plots.plot(mixed)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 5)), min_size=1, max_size=12))
def test_spaced_numbers_keep_their_gaps_and_the_mean(items: list[tuple[float, float]]) -> None:
    wanted, weights = (np.array(column) for column in zip(*items, strict=True))
    gaps = np.full(len(items) - 1, 0.7)
    found = spaced(wanted, weights, gaps)
    assert all(b - a > 0.7 - 1e-9 for a, b in pairwise(found))
    np.testing.assert_allclose((weights * found).sum(), (weights * wanted).sum(), atol=1e-8)
    if all(b - a >= 0.7 for a, b in pairwise(wanted)):
        np.testing.assert_allclose(found, wanted, atol=1e-9)
