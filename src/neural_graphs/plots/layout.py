"""One architecture as a picture: groups of neurons as marks, blocks of weights as lines, modules as bands."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log10
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from neural_graphs.layout import Layout
from neural_graphs.layout.describe import line as in_words
from neural_graphs.plots.graph_view import Line, Mark, bands, flows, sketch, streams
from neural_graphs.plots.ranks import Placement, place
from neural_graphs.plots.style import FAINT, INK, PAPER, SOFT
from neural_graphs.plots.wrapping import Sheet, arrange

STEPS = 16  # points of half a curve
POINTS = 72  # of an inch
WORDS = 4  # kinds of a family that the legend names
COLOURS = {
    "input": INK, "constant": "#c9b458", "weights": "#2f6fb3", "norm": "#5fae9b", "sum": "#9aa5b1",
    "product": "#dd8b3d", "other": "#8a63a6",
}  # fmt: skip
RIVERS = ("#cfe3f5", "#f9dcc0", "#d5ecd2", "#ecd5ea", "#f6eab8", "#c9ebe9", "#f6cfd3", "#dcd9f2")
STROKES: dict[str, tuple[str, str | tuple[int, tuple[float, ...]]]] = {
    "dense": ("#5f7183", "solid"),
    "tied": ("#a05a2c", "solid"),
    "one-to-one": ("#5fae9b", "solid"),
    "shared": ("#c8453b", (0, (1, 1.2))),
    "structural": ("#a3adb8", (0, (3, 2))),
}
STRENGTH = ("structural", "shared", "one-to-one", "tied", "dense")  # of lines on one track the last one is drawn


def layout_graph(layout: Layout, *, title: str = "") -> Figure:
    """An architecture as a layered drawing, computation from left to right.

    A mark is a group of neurons, its area the logarithm of their number, its colour what computes them; discs are free
    to permute, squares are fixed. A line is all blocks between two groups, its width the logarithm of their numbers.
    Groups that permute together lie in one coloured stream. Long drawings continue in the next row.
    """
    marks, lines = sketch(layout)
    level = [3.0 if flows(marks, line) else 1.0 for line in lines]
    places = place(len(marks), [(line.source, line.target) for line in lines], level)
    modules = bands(marks, places.ranks.tolist())
    sheet = arrange(places, [first for _, first, _ in modules])
    size = sheet.size
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    _draw_bands(axes, modules, sheet)
    named = streams(marks, lines)
    _draw_streams(axes, marks, lines, places, sheet, named)
    _draw_lines(axes, lines, places, sheet)
    _draw_marks(axes, marks, places, sheet)
    heading = " · ".join(filter(None, (title, in_words(layout))))
    axes.text(0.25, size[1] - 0.2, heading, ha="left", va="top", color=INK, fontsize=10)
    _legend(axes, marks, lines, bool(named))
    return figure


# -- curves -----------------------------------------------------------------------------------------------------------


def curves(stops: Sequence[tuple[int, float]], sheet: Sheet) -> list[NDArray[np.float64]]:
    """A smooth line through neighbouring ranks in inches, level at every stop; parted where a row ends."""
    found: list[NDArray[np.float64]] = []
    for (left, low), (right, high) in pairwise(stops):
        for half in (0, 1):
            t = half / 2 + np.linspace(0, 0.5, STEPS)
            height = low + (high - low) * t * t * (3 - 2 * t)
            row = sheet.row((left, right)[half])
            points = np.array([sheet.point(*at, row) for at in zip(left + (right - left) * t, height, strict=True)])
            if found and np.allclose(found[-1][-1], points[0]):
                found[-1] = np.concatenate((found[-1], points[1:]))
            else:
                found.append(points)
    return found


def _route(line: Line, places: Placement) -> list[tuple[int, float]]:
    """The stops of a line: along its source's track, then to its target."""
    end = (int(places.ranks[line.target]), float(places.heights[line.target]))
    return [*(stop for stop in places.tracks[line.source] if stop[0] < end[0]), end]


def _draw_lines(axes: Axes, lines: Sequence[Line], places: Placement, sheet: Sheet) -> None:
    """Weak lines first; every piece of a track once, as the strongest line that runs on it."""
    pieces: dict[tuple[tuple[int, float], tuple[int, float]], Line] = {}
    for line in sorted(lines, key=lambda line: (STRENGTH.index(line.kind), line.numbers)):
        route = _route(line, places)
        pieces |= dict.fromkeys(pairwise(route), line)
    for kind in STRENGTH:
        colour, dashes = STROKES[kind]
        own = [(curve, line) for stops, line in pieces.items() if line.kind == kind for curve in curves(stops, sheet)]
        widths = [_width(line) * (1.5 if sheet.roomy else 1) for _, line in own]
        axes.add_collection(
            LineCollection([curve for curve, _ in own], colors=colour, linewidths=widths, linestyles=[dashes], zorder=3,
                           capstyle="butt", label=kind)
        )  # fmt: skip


def _width(line: Line) -> float:
    return 0.9 if not line.numbers else 0.5 + 0.3 * log10(line.numbers)


def _draw_streams(
    axes: Axes, marks: Sequence[Mark], lines: Sequence[Line], places: Placement, sheet: Sheet, named: Sequence[str]
) -> None:
    """A broad band of colour under the lines between groups that permute together, and under their marks."""
    for index, name in enumerate(named):
        colour = RIVERS[index % len(RIVERS)]
        own = [line for line in lines if flows(marks, line) and marks[line.source].stream == name]
        found = [curve for line in own for curve in curves(_route(line, places), sheet)]
        axes.add_collection(LineCollection(found, colors=colour, linewidths=9, zorder=1, capstyle="round"))
        spots = [_spot(place, places, sheet) for place, mark in enumerate(marks) if mark.stream == name]
        axes.scatter([x for x, _ in spots], [y for _, y in spots], s=190, c=colour, linewidths=0, zorder=1)


# -- marks ------------------------------------------------------------------------------------------------------------


def _spot(number: int, places: Placement, sheet: Sheet) -> tuple[float, float]:
    rank = int(places.ranks[number])
    return sheet.point(float(rank), float(places.heights[number]), sheet.row(rank))


def _draw_marks(axes: Axes, marks: Sequence[Mark], places: Placement, sheet: Sheet) -> None:
    areas = [_area(mark, sheet) for mark in marks]
    spots = [_spot(number, places, sheet) for number in range(len(marks))]
    for free, shape in ((True, "o"), (False, "s")):
        own = [number for number, mark in enumerate(marks) if mark.free == free]
        xs, ys = ([spots[number][axis] for number in own] for axis in (0, 1))
        colours = [COLOURS[marks[number].family] for number in own]
        axes.scatter(xs, ys, s=[areas[number] for number in own], c=colours, marker=shape, edgecolors=PAPER,
                     linewidths=0.7, zorder=4)  # fmt: skip
    for (x, y), area, mark in zip(spots, areas, marks, strict=True):
        axes.text(x, y - area**0.5 / 2 / POINTS - 0.03, _caption(mark, sheet), ha="center", va="top", color=INK,
                  fontsize=7.5 if sheet.roomy else 5.2, linespacing=1.25, zorder=5)  # fmt: skip


def _area(mark: Mark, sheet: Sheet) -> float:
    """Square points, by the logarithm of the number of neurons."""
    return (18 + 20 * log10(mark.group.size) * (0.5 if mark.family == "constant" else 1)) * (3 if sheet.roomy else 1)


def _caption(mark: Mark, sheet: Sheet) -> str:
    group = mark.group
    if not sheet.roomy:
        return f"{group.size}"
    activation = "" if group.activation.kind == "none" else group.activation.kind
    room = int(sheet.step / 0.07)  # letters
    name = group.name if len(group.name) <= room else f"…{group.name[len(group.name) - room + 1 :]}"
    return f"{name}\n{group.size} {activation}".strip()


def _draw_bands(axes: Axes, modules: Sequence[tuple[str, int, int]], sheet: Sheet) -> None:
    for name, first, last in modules:
        for row in range(sheet.row(first), sheet.row(last) + 1):
            end = sheet.starts[row + 1] - 1 if row + 1 < len(sheet.starts) else last
            left = sheet.point(max(first, sheet.starts[row]) - 0.44, 0.0, row)[0]
            width = sheet.point(min(last, end) + 0.44, 0.0, row)[0] - left
            bottom, top = sheet.spans[row]
            axes.add_patch(
                FancyBboxPatch((left, bottom), width, top - bottom, boxstyle="round,pad=0,rounding_size=0.06",
                               facecolor=FAINT, alpha=0.45, linewidth=0, zorder=0)
            )  # fmt: skip
            room = int((width - 0.1) / 0.052)  # letters
            shown = name if len(name) <= room else f"…{name[len(name) - room + 1 :]}" if room > 2 else ""
            axes.text(left + 0.05, top - 0.04, shown, ha="left", va="top", color=SOFT, fontsize=6.5, zorder=2)


def _legend(axes: Axes, marks: Sequence[Mark], lines: Sequence[Line], rivers: bool) -> None:
    """What occurs in this picture, at its foot."""
    shown: list[Line2D] = []
    for family, colour in COLOURS.items():
        words = dict.fromkeys(mark.group.kind or family for mark in marks if mark.family == family)
        if words:
            label = ", ".join([*words][:WORDS]) + (", …" if len(words) > WORDS else "")
            shape = "s" if family in ("input", "constant") else "o"
            shown.append(_sign(label, color=colour, marker=shape, linestyle="none", markersize=6))
    if any(mark.free for mark in marks) and not all(mark.free for mark in marks):
        shown.append(_sign("fixed order", color=SOFT, marker="s", linestyle="none", markersize=5))
    for kind in reversed(STRENGTH):
        if any(line.kind == kind for line in lines):
            colour, dashes = STROKES[kind]
            shown.append(_sign(LABELS[kind], color=colour, linestyle=dashes, linewidth=1.8))
    if rivers:
        shown.append(_sign("permute together", color=RIVERS[0], linewidth=6, solid_capstyle="butt"))
    length = sum(0.055 * len(str(sign.get_label())) + 0.42 for sign in shown)  # inches
    rows = ceil(length / (axes.get_xlim()[1] - 0.2))
    axes.legend(handles=shown, loc="lower center", ncols=ceil(len(shown) / rows), frameon=False, fontsize=7,
                labelcolor=INK, bbox_to_anchor=(0.5, 0.0), handlelength=1.6, columnspacing=1.3)  # fmt: skip


LABELS = {
    "dense": "dense", "tied": "dense within each", "one-to-one": "one to one", "shared": "numbers used again",
    "structural": "no numbers",
}  # fmt: skip


def _sign(label: str, **style: Any) -> Line2D:
    return Line2D([], [], label=label, **style)
