"""Charts of a run: training curves, the confusion matrix, bars of results."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from neural_graphs.plots.style import BLUE, GREY, INK, LIGHT_BLUE, PAPER, RED, SHARES, SOFT, plain

QUANTITIES = {
    "loss": "cross-entropy",
    "accuracy": "accuracy, %",
    "mse": "mean squared error · 10⁻²",
    "mae": "mean absolute error, points",
    "diverged": "diverged runs, %",
    "tau": "Kendall's τ",
}


def training_curve(
    columns: Mapping[str, Sequence[float]], *, title: str = "", marks: Mapping[str, float] | None = None
) -> Figure:
    """Every quantity of training and validation over epochs, from the columns of a run's `metrics.csv`.

    `marks` draws named horizontal lines into the last quantity, such as a baseline's accuracy or the published figure,
    in the unit of the columns.
    """
    quantities = [name.removeprefix("val_") for name in columns if name.startswith("val_")]
    figure = Figure(figsize=(4.5 * len(quantities), 3.4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        _curve(axes, columns, quantity)
    unit = factor(quantities[-1])
    digits = 3 if unit == 1 else 1
    for name, value in (marks or {}).items():
        axes.axhline(unit * value, color=RED, linewidth=1, linestyle=(0, (4, 3)))
        told = f"{name} {unit * value:.{digits}f}"
        axes.text(1, unit * value, told, color=RED, fontsize=8, ha="right", va="bottom",
                  transform=axes.get_yaxis_transform())  # fmt: skip
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=11)
    return figure


def factor(quantity: str) -> int:
    """From a quantity as it is measured to the unit of its title."""
    return 1 if quantity in ("loss", "tau") else 100


def _curve(axes: Axes, columns: Mapping[str, Sequence[float]], quantity: str) -> None:
    epochs = np.asarray(columns["epoch"]) + 1
    for split, colour, name in (("train", GREY, "training"), ("val", BLUE, "validation")):
        values = factor(quantity) * np.asarray(columns[f"{split}_{quantity}"])
        axes.plot(epochs, values, color=colour, linewidth=2, label=name, solid_capstyle="round")
    plain(axes)
    axes.set(xlabel="epoch", xlim=(1, max(2, epochs[-1])))
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))  # also where epochs are few
    axes.set_title(QUANTITIES.get(quantity, quantity), loc="left", color=INK, fontsize=10)
    if quantity == "accuracy":
        axes.set_ylim(0, 100)
    elif quantity == "tau":
        axes.set_ylim(top=1)
    else:
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)


def barrier_curve(
    shares: Sequence[float], ways: Mapping[str, Sequence[float]], *, quantity: str = "cross-entropy", title: str = ""
) -> Figure:  # fmt: skip
    """What networks reach on the line between two of them, a curve per way; the last one is drawn darker."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for place, (name, values) in enumerate(ways.items()):
        last = place == len(ways) - 1
        axes.plot(shares, values, color=BLUE if last else GREY, linewidth=2, marker="o", markersize=3.5, label=name)
    plain(axes)
    axes.set(xlabel="share of the second network", xlim=(0, 1), ylim=(0, None))
    axes.set_title(title or quantity, loc="left", color=INK, fontsize=10)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def confusion_matrix(counts: NDArray[np.integer], names: Sequence[str] = (), *, title: str = "") -> Figure:
    """How often the networks of each class (rows) were taken for each class (columns)."""
    counts = np.asarray(counts)
    size = len(counts)
    names = list(names) or [str(place) for place in range(size)]
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    figure = Figure(figsize=(0.48 * size + 1.4, 0.48 * size + 1.3), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0):
        colour = PAPER if shares[row, column] > 0.55 else INK
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(size), names, rotation=0 if max(map(len, names)) < 4 else 45)
    axes.set_yticks(range(size), names)
    axes.set_xlabel("predicted", color=SOFT)
    axes.set_ylabel("true", color=SOFT)
    axes.tick_params(length=0, colors=INK, labelsize=9)
    for at in range(1, size):
        axes.axhline(at - 0.5, color=GREY, linewidth=0.4)
        axes.axvline(at - 0.5, color=GREY, linewidth=0.4)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    correct = f"{100 * np.trace(counts) / max(1, counts.sum()):.1f} % of {counts.sum()} networks right"
    axes.set_title(f"{title}: {correct}" if title else correct, loc="left", color=INK, fontsize=10)
    return figure


def bars(values: Mapping[str, float], *, published: Mapping[str, float] | None = None, title: str = "") -> Figure:
    """Named accuracies (0 to 1) as bars, the first one darker; `published` marks figures from the literature."""
    figure = Figure(figsize=(7, 0.42 * len(values) + 0.9), layout="constrained")
    axes = figure.subplots()
    names = list(values)
    places = np.arange(len(names))[::-1]
    colours = [BLUE if name == names[0] else LIGHT_BLUE for name in names]
    axes.barh(places, [100 * value for value in values.values()], color=colours, height=0.66)
    for place, value in zip(places, values.values(), strict=True):
        axes.text(100 * value + 1, place, f"{100 * value:.1f}", va="center", fontsize=9, color=INK)
    for place, name in zip(places, names, strict=True):
        if published and name in published:
            at = 100 * published[name]
            axes.plot([at, at], [place - 0.42, place + 0.42], color=RED, linewidth=2)
            axes.text(at, place + 0.44, f"published {at:.1f}", color=RED, fontsize=7, ha="center", va="bottom")
    plain(axes)
    axes.set(xlim=(0, 108), xlabel="test accuracy, %")
    axes.set_yticks(places, names)
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=11)
    return figure
