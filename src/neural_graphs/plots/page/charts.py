"""Charts of a page, as the values that its script draws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Shaped

from neural_graphs.plots.page.blocks import Block

BINS = 24  # of a histogram
DECADES = 3  # a column of positive numbers that spans more is shown by its logarithm
DIGITS = 5  # of a number in a page

Number = int | float
Numbers = Sequence[Number]


def plain(values: Any) -> Any:
    """Values as JSON has them: rounded numbers, None for what is not finite."""
    if isinstance(values, Mapping):
        return {str(name): plain(each) for name, each in values.items()}
    if isinstance(values, list | tuple | np.ndarray):
        return [plain(each) for each in values]
    if isinstance(values, float | np.floating):
        return float(f"{values:.{DIGITS}g}") if math.isfinite(values) else None
    return int(values) if isinstance(values, np.integer) else values


class Chart(Block):
    """A block that the script draws from its `data`; `told` says in words what it shows."""

    template: ClassVar[str] = "chart.html"
    kind: ClassVar[str]  # a function of charts.js
    told: str

    @property
    def data(self) -> dict[str, Any]:
        """Plain values for the script."""
        return {"kind": self.kind, **plain({name: value for name, value in vars(self).items() if name != "told"})}

    @property
    def table(self) -> tuple[list[str], list[list[str]]] | None:
        """Names of columns and rows of text, for those who do not see the chart."""
        return None


@dataclass(frozen=True)
class Curve:
    """Values over places, both `(points,)`; `spread` is half the height of a band around them.

    A `quiet` curve, the first of its panel, is only there to compare with.
    """

    name: str
    x: Numbers
    y: Numbers
    spread: Numbers = ()
    quiet: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves in one frame; `marks` are named levels, `ends` what the y-axis holds at least."""

    y: str
    curves: Sequence[Curve]
    marks: Mapping[str, Number]
    ends: Numbers = ()


@dataclass(frozen=True)
class Lines(Chart):
    """Panels of curves over one quantity, with one legend; `diagonal` draws the line where x is y."""

    kind: ClassVar[str] = "lines"
    told: str
    x: str
    panels: Sequence[Panel]
    diagonal: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """Plain values for the script."""
        panels = [{**vars(panel), "curves": [vars(curve) for curve in panel.curves]} for panel in self.panels]
        quiet = any(curve.quiet for panel in self.panels for curve in panel.curves)
        facts = {"x": self.x, "diagonal": self.diagonal, "panels": panels, "grey": quiet}
        return {"kind": self.kind, **plain(facts)}

    @property
    def table(self) -> tuple[list[str], list[list[str]]]:
        """A row for every x."""
        names = {(panel.y, curve.name): curve for panel in self.panels for curve in panel.curves}
        found = {key: dict(zip(curve.x, curve.y, strict=True)) for key, curve in names.items()}
        places = sorted({x for each in found.values() for x in each})
        rows = [[f"{x:g}", *(_cell(each.get(x)) for each in found.values())] for x in places]
        return [self.x, *(f"{y} · {name}" for y, name in names)], rows


def _cell(value: Number | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}"


@dataclass(frozen=True)
class Points(Chart):
    """A point per network, `(networks,)` each, in one square frame from 0 to 100; `names` answer to the mouse.

    `margin` is half the width of a band along the line where x is y.
    """

    kind: ClassVar[str] = "points"
    told: str
    x_title: str
    y_title: str
    x: Float[np.ndarray, " networks"]
    y: Float[np.ndarray, " networks"]
    names: Sequence[str]
    margin: float | None = None


@dataclass(frozen=True)
class Histogram:
    """How many networks of each group fall into each bin; `bins` name the bins, `ends` the two ends of the axis."""

    title: str
    bins: Sequence[str]
    ends: tuple[str, str]
    counts: Mapping[str, Sequence[int]]  # of each group


@dataclass(frozen=True)
class Histograms(Chart):
    """Histograms side by side, stacked by the same groups."""

    kind: ClassVar[str] = "histograms"
    told: str
    panels: Sequence[Histogram]

    @property
    def data(self) -> dict[str, Any]:
        """Plain values for the script."""
        several = len({group for panel in self.panels for group in panel.counts}) > 1
        return {"kind": self.kind, "panels": plain([vars(panel) for panel in self.panels]), "grey": several}


def bins(
    title: str, numbers: Float[np.ndarray, " networks"], groups: Shaped[np.ndarray, " networks"]
) -> Histogram | None:  # fmt: skip
    """The histogram of numbers, by group; of logarithms where they span many powers of ten, None without numbers."""
    known = np.isfinite(numbers)
    found, of = numbers[known], groups[known]
    if not len(found):
        return None
    low, high = float(found.min()), float(found.max())
    if low > 0 and high / low > 10**DECADES:
        edges = np.geomspace(low, high, BINS + 1)
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = {str(group): np.histogram(found[of == group], edges)[0].tolist() for group in dict.fromkeys(of.tolist())}
    names = [f"{start:.3g} to {end:.3g}" for start, end in pairwise(edges)]
    missing = int((~known).sum())
    title = f"{title}, unknown of {missing:,} networks" if missing else title
    return Histogram(title, names, (f"{edges[0]:.3g}", f"{edges[-1]:.3g}"), counts)
