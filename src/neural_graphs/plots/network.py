"""One network as a graph: neurons in columns, weights as lines."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Group, Layout
from neural_graphs.networks import Networks
from neural_graphs.plots.style import GREY, INK, SIGNED, SOFT

DRAWN = 40  # neurons drawn of one group; of larger groups evenly spaced ones
PITCH = 0.26  # largest distance between neurons of a column, which spans −1 … 1


def network_graph(networks: Networks, *, title: str = "") -> Figure:
    """One network as a graph: neurons in columns by group, coloured by bias; weights by sign and magnitude.

    A weight's magnitude is measured against the largest of its block, a bias against the largest of its group. Kernels
    of several numbers count by their norm, with the sign of their sum; skips are dashed. Of groups with more than
    `DRAWN` neurons evenly spaced ones are drawn. `networks` is a batch of one; raises LayoutError for another number.
    """
    if len(networks) != 1:
        raise LayoutError(f"a picture shows one network, got {len(networks)}; choose one, as in networks[0]")
    networks = networks[0]
    layout = networks.layouts[0]
    values = networks.vectors()[0].detach().double().cpu().numpy()
    figure = Figure(figsize=(2.5 * len(layout.groups) + 0.6, 5.2), layout="constrained")
    axes = figure.subplots()
    places = _places(layout)
    _draw_weights(axes, layout, values, places)
    _draw_neurons(axes, layout, values, places)
    for column, group in enumerate(layout.groups):
        axes.text(column, -1.13, _caption(group), ha="center", va="top", fontsize=10, color=INK, linespacing=1.4)
    axes.set(xlim=(-0.25, len(layout.groups) - 0.75), ylim=(-1.36, 1.06))
    axes.axis("off")
    scale = ScalarMappable(Normalize(-1, 1), SIGNED)
    bar = figure.colorbar(scale, ax=axes, shrink=0.42, aspect=16, pad=0.01, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["most\nnegative", "0", "most\npositive"], fontsize=8, color=SOFT)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=11)
    return figure


def _caption(group: Group) -> str:
    kind = group.activation.kind if group.role == "hidden" else f"{group.role}{'s' * (group.size > 1)}"
    drawn = f"\n{DRAWN} of {group.size} drawn" if group.size > DRAWN else ""
    return f"{group.size} {kind}{drawn}"


def _places(layout: Layout) -> NDArray[np.float64]:
    """Where each neuron stands, (neurons, 2); NaN where it is not drawn."""
    places = np.full((layout.neurons, 2), np.nan)
    for column, group in enumerate(layout.groups):
        drawn = np.linspace(0, group.size - 1, min(group.size, DRAWN)).round().astype(int)
        half = min(1.0, PITCH * (len(drawn) - 1) / 2)
        places[layout.neuron_slices[column].start + drawn, 0] = column
        places[layout.neuron_slices[column].start + drawn, 1] = np.linspace(half, -half, len(drawn))
    return places


def _draw_weights(axes: Axes, layout: Layout, values: NDArray[np.float64], places: NDArray[np.float64]) -> None:
    """Lines block by block, the strongest on top; strength is faded so that the strong ones stand out."""
    sources, targets = layout.ends
    for block, chosen in zip(layout.blocks, layout.weight_slices, strict=True):
        lines = np.stack((places[sources[chosen]], places[targets[chosen]]), 1)
        visible = np.isfinite(lines).all((1, 2))
        if block.parameter is None:
            skips = LineCollection(lines[visible], colors=GREY, linewidths=0.8, linestyles=(0, (4, 3)), zorder=1)
            axes.add_collection(skips)
            continue
        kernels = values[layout.numbers(block)]
        strength = np.linalg.norm(kernels, axis=1)
        value = (np.copysign(strength, kernels.sum(1)) / max(strength.max(), 1e-30))[visible]
        order = np.argsort(np.abs(value))
        value, size = value[order], np.abs(value[order])
        crowd = min(1.0, (160 / len(order)) ** 0.5)  # many lines: thinner and paler ones
        colours = SIGNED(0.5 + 0.5 * np.sign(value) * size**0.5)
        colours[:, 3] = (0.12 + 0.88 * size) ** (2 - crowd)
        widths = (0.25 + 2.4 * size) * (0.35 + 0.65 * crowd)
        axes.add_collection(LineCollection(lines[visible][order], colors=colours, linewidths=widths, zorder=2))


def _draw_neurons(axes: Axes, layout: Layout, values: NDArray[np.float64], places: NDArray[np.float64]) -> None:
    for group, chosen in zip(layout.groups, layout.neuron_slices, strict=True):
        where = places[chosen]
        visible = np.isfinite(where).all(1)
        bias = values[layout.bias_numbers(group)] if group.bias else np.zeros(group.size)
        colours = SIGNED(0.5 + 0.5 * bias / max(np.abs(bias).max(), 1e-30))[visible]
        size = 130 if visible.sum() < 12 else 34
        x, y = where[visible].T
        axes.scatter(x, y, s=size, c=colours, edgecolors=INK, linewidths=0.8, zorder=3)
