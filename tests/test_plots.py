"""Pictures show what they are given, and a report is one file that needs no other."""

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.image import imread

from neural_graphs import plots
from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.plots.network import DRAWN


def network(layout: Layout) -> Networks:
    return Networks(torch.randn(1, layout.size, generator=torch.Generator().manual_seed(0)), layout)


def drawn(figure, kind) -> list:
    return [each for each in figure.axes[0].collections if isinstance(each, kind)]


@pytest.mark.parametrize("colours", [(), (3,)], ids=["grey", "colour"])
def test_a_contact_sheet_puts_renders_beside_images(tmp_path, colours) -> None:
    images, renders = np.zeros((5, 8, 6, *colours)), np.full((5, 8, 6, *colours), 1.7)
    figure = plots.contact_sheet(images, renders, ["a"] * 5, columns=3, title="t")
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 5 and len(figure.axes) == 6
    assert shown[0].shape == (8, 13, *colours)
    assert shown[0][:, :6].max() == 0 and shown[0][:, 7:].min() == 1  # out of range is clipped
    path = plots.save(figure, tmp_path / "deeper" / "sheet.png")
    assert imread(path).ndim == 3


def test_training_curves_leave_out_nothing() -> None:
    columns = {"epoch": [0.0, 1.0, 2.0], "train_loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.0]}
    columns |= {"train_accuracy": [0.1, 0.5, 0.9], "val_accuracy": [0.1, 0.4, float("nan")]}
    figure = plots.training_curve(columns, marks={"flat MLP": 0.3})
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [10, 50, 90])
    assert "flat MLP 30.0" in [text.get_text() for text in accuracy.texts]


def test_a_confusion_matrix_counts() -> None:
    counts = np.array([[3, 1], [0, 4]])
    axes = plots.confusion_matrix(counts, ["cat", "dog"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "4"]
    assert "87.5 % of 8 networks" in axes.get_title(loc="left")
    assert plots.confusion_matrix(np.zeros((2, 2), int)).axes[0].get_title(loc="left").startswith("0.0 %")


def test_bars_are_as_long_as_the_accuracies() -> None:
    axes = plots.bars({"ours": 0.9, "theirs": 0.5}, published={"ours": 0.88}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([90, 50])
    assert "published 88.0" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("colours", [(), (3,)], ids=["grey", "colour"])
def test_a_gallery_shows_every_picture_and_what_is_missing(colours) -> None:
    wanted = np.full((3, 4, 6, *colours), 0.5)
    edited = wanted.copy()
    edited[0, 1, 2], edited[2, 0, 0] = 0.9, 0.1  # one too bright, one too dark
    pictures = {"network": np.full_like(wanted, -0.3), "target": wanted, "edited": edited}
    figure = plots.gallery(pictures, title="t")
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 4 * 3
    assert shown[0].shape == (4, 6, *colours) and shown[0].max() == 0  # clipped
    np.testing.assert_array_equal(shown[6], edited[0])
    np.testing.assert_allclose(shown[9][1, 2], 0.4)
    np.testing.assert_allclose(shown[11][0, 0], -0.4)
    assert np.count_nonzero(np.stack(shown[9:])) == 2
    red, _, blue, _ = figure.axes[9].images[0].to_rgba(np.array([[1.0, -1.0]]))[0].T
    assert blue[0] > red[0] and red[1] > blue[1]  # too bright is blue, too dark is red
    names = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert names == ["network", "target", "edited", "edited\n− target"]
    assert len(plots.gallery(pictures, difference=False).axes) == 3 * 3
    assert len(plots.gallery({"before": wanted[:1], "after": edited[:1]}).axes) == 3


@pytest.mark.parametrize(
    "layout",
    [
        Layout.mlp((2, 5, 4, 1), activation="sine"),
        Layout.cnn((1, 3, 4), kernels=(3, 3), classes=2),
        Layout.cnn((1, 4, 6, 4), kernels=(3, 1, 3), classes=2, residual=(-1, -1, 0)),
    ],
    ids=str,
)
def test_a_network_is_drawn_whole(layout) -> None:
    figure = plots.network_graph(network(layout))
    assert sum(len(lines.get_segments()) for lines in drawn(figure, LineCollection)) == layout.weights
    assert sum(len(dots.get_offsets()) for dots in drawn(figure, PathCollection)) == layout.neurons
    assert len(figure.axes[0].texts) == len(layout.groups)


def test_the_strongest_weight_has_the_strongest_line() -> None:
    layout = Layout.mlp((2, 3, 1))
    values = torch.full((1, layout.size), 0.1)
    values[0, 3] = -2.0  # weight 3: from input 1 to hidden neuron 1
    lines = drawn(plots.network_graph(Networks(values, layout)), LineCollection)[0]
    strongest = int(np.argmax(lines.get_linewidths()))
    red, _, blue, alpha = lines.get_colors()[strongest]
    assert strongest == 5 and alpha == 1 and red > blue  # on top, opaque, negative
    (x0, y0), (x1, y1) = lines.get_segments()[strongest]
    assert (x0, x1) == (0, 1) and y0 < 0 and y1 == 0


def test_large_groups_are_thinned_and_say_so() -> None:
    figure = plots.network_graph(network(Layout.mlp((2, 3 * DRAWN, 1))))
    assert sum(len(dots.get_offsets()) for dots in drawn(figure, PathCollection)) == 2 + DRAWN + 1
    assert f"{DRAWN} of {3 * DRAWN} drawn" in figure.axes[0].texts[1].get_text()
    with pytest.raises(LayoutError, match="one network, got 2"):
        plots.network_graph(Networks.cat([network(Layout.mlp((2, 3, 1)))] * 2))


def test_epochs_are_whole_numbers() -> None:
    for epochs in (1, 2, 3, 40):
        columns = {name: [0.5] * epochs for name in ("train_loss", "val_loss")}
        (axes,) = plots.training_curve({"epoch": list(map(float, range(epochs))), **columns}).axes
        ticks = axes.get_xticks()
        assert (ticks == ticks.round()).all() and len(ticks) > 1
