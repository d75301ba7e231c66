"""Predicted against true accuracy as a picture, and runs of accuracies in reports and curves."""

import numpy as np
import pytest

from neural_graphs.plots import scatter, training_curve
from neural_graphs.tasks import test as evaluate
from neural_graphs.tasks.report import report
from neural_graphs.zoo import Zoo
from tests.page.checking import outline


def test_points_lie_at_true_and_predicted_per_cent() -> None:
    true, predicted = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5, 0.7])
    figure = scatter(predicted, true, margin=0.1, title="three networks")
    (axes,) = figure.axes
    band, points = axes.collections
    np.testing.assert_allclose(points.get_offsets(), 100 * np.stack([true, predicted], 1))
    assert band.get_paths()[0].contains_point((50, 59)) and not band.get_paths()[0].contains_point((50, 61))
    assert axes.get_title(loc="left") == "three networks"
    assert axes.get_xlim() == axes.get_ylim() == (0, 100)


def test_a_band_is_only_drawn_where_there_is_a_margin() -> None:
    assert len(scatter(np.array([0.5]), np.array([0.5])).axes[0].collections) == 1


def test_curves_name_their_quantities() -> None:
    columns = {
        "epoch": [0.0, 1.0],
        "train_mae": [0.2, 0.1],
        "val_mae": [0.2, 0.15],
        "train_tau": [0.0, 0.5],
        "val_tau": [0.0, 0.4],
    }
    error, order = training_curve(columns, marks={"published": 0.804}).axes
    assert [text.get_text() for text in order.texts] == ["published 0.804"]
    assert "points" in error.get_title(loc="left") and "τ" in order.get_title(loc="left")
    assert error.lines[0].get_ydata() == pytest.approx([20, 10]) and order.lines[0].get_ydata() == pytest.approx(
        [0, 0.5]
    )


def test_a_report_shows_what_was_predicted(run, small) -> None:
    result = evaluate(run.folder)
    found = outline(report(run.folder).read_text(encoding="utf-8"))
    told = "".join(found.text)
    assert f"Kendall's τ, small{result['tau']:.4g}published: 0.9" in told.replace("\n", "")
    training, points, calibration = found.charts
    assert training["panels"][1]["marks"] == {"published": 0.9}
    zoo = Zoo(small).split("test")
    accuracy = 100 * zoo.column("test_accuracy")
    assert points["x"] == pytest.approx(accuracy, rel=1e-4)
    assert points["margin"] == pytest.approx(100 * result["margin"], rel=1e-4)
    errors = np.abs(np.array(points["x"]) - points["y"])
    assert errors.mean() == pytest.approx(100 * result["mae"], rel=1e-3)
    assert points["names"][0] == f"network {zoo.column('network')[0]}, epoch {zoo.column('epoch')[0]}"
    (held,) = calibration["panels"][0]["curves"]
    promised = dict(zip(held["x"], held["y"], strict=True))
    assert promised[90] == pytest.approx(100 * result["coverage"], rel=1e-4)
    assert held["y"] == sorted(held["y"])  # wider intervals hold more
