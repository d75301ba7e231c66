"""A page is one file of whole HTML, and text stays text, whoever wrote it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.plots.kernels import first_kernels
from neural_graphs.plots.page import (
    Card,
    Cards,
    Curve,
    Lines,
    Matrix,
    Note,
    Page,
    Panel,
    Picture,
    Section,
    Slider,
    Table,
    bins,
)
from neural_graphs.plots.page.charts import plain
from tests.page.checking import HOSTILE, Outline, outline

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)


def test_a_page_of_every_block_is_whole(everything: Callable[[str], Page]) -> None:
    found = outline(everything("plain").html())
    tags = [tag for tag, _ in found.elements]
    assert {"main", "header", "section", "h1", "h2", "figure", "table", "details", "select", "output"} <= set(tags)
    assert [chart["kind"] for chart in found.charts] == ["lines", "points", "histograms"]
    assert tags.count("h1") == 1 and tags.count("section") == tags.count("h2")
    named = {held["id"] for tag, held in found.elements if tag == "h2"}
    assert named == {held["aria-labelledby"] for tag, held in found.elements if tag == "section"}


def test_hostile_text_stays_text(everything: Callable[[str], Page]) -> None:
    calm, hostile = outline(everything("calm").html()), outline(everything(HOSTILE).html())
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in calm.elements]
    assert sum(text.count(HOSTILE) for text in hostile.text) == sum(text.count("calm") for text in calm.text) > 20
    assert hostile.charts[0]["panels"][0]["curves"][1]["name"] == HOSTILE
    assert "49" not in "".join(hostile.text)  # it is no template either


@given(TEXT)
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    chart = Lines(text, text, [Panel(text, [Curve(text, [1.0], [2.0])], {text: 1.0})])
    found = outline(Page(text, text, [Section(text, [Note(text), Cards([Card(text, text)]), chart])]).html())
    assert sum(each.count(text) for each in found.text) >= 7
    assert found.charts == [chart.data] and chart.data["panels"][0]["marks"] == {text: 1.0}


def test_the_checker_sees_what_is_wrong() -> None:
    for page, said in (
        ("<p><b>x</p>", "</p> closes something else"),
        ("<p>", "<p> is not closed"),
        ("<img src='https://x/y.png' alt='a'>", "is another file"),
        ("<link href='style.css'>", "is another file"),
        ("<img src='data:image/png;base64,' alt='a' onerror='f()'>", "runs a script"),
        ("<img src='data:image/png;base64,'>", "without words"),
    ):
        assert any(said in each for each in Outline(page).wrong), said
    with pytest.raises(AssertionError, match="addresses"):
        outline("<p>see http://x.y</p>")
    with pytest.raises(AssertionError, match="2 programs"):
        outline("<script>1</script><script>2</script>")


def test_the_browser_is_told_which_script_and_style_to_take(everything: Callable[[str], Page]) -> None:
    (policy,) = [held["content"] for _, held in outline(everything("x").html()).elements if "http-equiv" in held]
    assert policy.startswith("default-src 'none'; img-src data:;") and policy.count("'sha256-") == 2
    assert "unsafe" not in policy


@given(st.lists(st.floats(width=32) | st.none() | st.booleans() | st.integers(-9, 9)))
def test_values_of_a_page_are_json(values: list[object]) -> None:
    found = plain({"a": values})["a"]
    for value, made in zip(values, found, strict=True):
        if isinstance(value, float):
            assert (made is None) == (not np.isfinite(value))
            assert made is None or made == pytest.approx(value, rel=1e-4)
        else:
            assert made is value or made == value


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6) | st.just(np.nan)), st.data())
def test_histograms_lose_no_network(numbers: np.ndarray, data: st.DataObject) -> None:
    groups = np.array(data.draw(st.lists(st.sampled_from("abc"), min_size=len(numbers), max_size=len(numbers))))
    found, known = bins("n", numbers, groups), np.isfinite(numbers)
    if not known.any():
        assert found is None
        return
    assert found is not None
    assert {name: sum(counts) for name, counts in found.counts.items()} == {
        name: int((groups[known] == name).sum()) for name in set(groups[known].tolist())
    }
    assert ("unknown of" in found.title) == (not known.all())


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e4, 1e4)))
def test_a_slider_begins_below_every_network_and_ends_at_the_best(numbers: np.ndarray) -> None:
    slider = Slider.over("n", "n", np.append(numbers, np.nan))
    assert slider.low <= numbers.min() and slider.step > 0
    assert abs(slider.high - numbers.max()) <= slider.step


def test_long_names_may_be_broken_and_stay_text() -> None:
    page = Page("a", "b", [Section("c", [Table(["d"], [["e.f_g<wbr>&amp;"]])])]).html()
    assert "e.<wbr>f_<wbr>g&lt;wbr&gt;&amp;amp;" in page
    assert "e.f_g<wbr>&amp;" in "".join(outline(page).text)


def test_what_is_only_there_to_compare_with_is_grey() -> None:
    loud, quiet = Curve("a", [1.0], [2.0]), Curve("b", [1.0], [2.0], quiet=True)
    for curves, grey in (([loud], False), ([quiet, loud], True)):
        assert Lines("a", "b", [Panel("c", curves, {})]).data["grey"] is grey


def test_a_matrix_counts() -> None:
    matrix = Matrix(np.array([[8, 2], [0, 0]]))
    assert matrix.told == "8 of 10 networks right (80.0%)"
    assert matrix.cells[0] == [(8, 8, "is 0, said 0: 8 of 10 (80.0%)"), (2, 2, "is 0, said 1: 2 of 10 (20.0%)")]
    assert [cell[:2] for cell in matrix.cells[1]] == [(0, 0), (0, 0)]  # a class without networks
    assert not Matrix(np.eye(30, dtype=int)).numbered


def test_pictures_are_small() -> None:
    assert (Picture.of(np.zeros((28, 28)), "x").width, Picture.of(np.zeros((300, 200, 3)), "x").height) == (28, 64)
    assert Picture.side_by_side(np.zeros((28, 28)), np.ones((28, 28)), "x").width == 58


def test_kernels_are_drawn_by_sign_whatever_their_scale() -> None:
    layout = Layout.cnn((1, 4, 4), (3, 3), 2)
    values = torch.randn(1, layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = Networks(values, layout)
    picture = first_kernels(network)
    assert picture.shape == (7, 7, 3)  # a grid of two by two, one place empty
    np.testing.assert_allclose(first_kernels(network * 3.0), picture, atol=0.01)  # one of 256 colours further
    red, blue = picture[..., 0], picture[..., 2]
    kernels = network.tensor(layout.blocks[0].parameter)[0, :, 0]
    np.testing.assert_array_equal(np.sign((blue - red)[:3, :3] + 0.008), np.sign(kernels[0].numpy()))
    assert first_kernels(network * 0.0).std() < 0.01
