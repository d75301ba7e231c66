"""How a long drawing is cut into rows, like a text into lines, and where ranks and heights are in inches."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np

from neural_graphs.plots.ranks import Placement

WIDTH = 12.0  # inches of the longest row
STEP, WIDE = 0.33, 1.35  # inches between ranks: at least, at most
LANE = 0.36  # inches between marks above each other
ROOMY = 0.8  # inches between ranks from which on marks are large and named, and twice as far above each other
SHAPE = 2.0  # a picture should be as many times as wide as it is high
HEAD, FOOT = 0.45, 0.6  # inches for the title and for the legend
FEWEST = 24  # ranks of a row that is not the only one
ABOVE, BELOW = 0.4, 0.45  # inches of a row beyond its highest and its lowest mark


@dataclass(frozen=True)
class Sheet:
    """Rows of ranks below each other. `starts` is the first rank of every row, `levels` the inch of its height 0, and
    `spans` its lowest and highest inch."""

    starts: tuple[int, ...]
    step: float
    levels: tuple[float, ...]
    spans: tuple[tuple[float, float], ...]
    size: tuple[float, float]

    @property
    def roomy(self) -> bool:
        """Whether there is room for names."""
        return self.step > ROOMY

    def row(self, rank: int) -> int:
        """The row a rank stands in."""
        return sum(start <= rank for start in self.starts) - 1

    def point(self, rank: float, height: float, row: int) -> tuple[float, float]:
        """Inches from the left and from the bottom."""
        return (rank - self.starts[row] + 0.75) * self.step, self.levels[row] + height * lane(self.step)


def arrange(places: Placement, modules: Sequence[int]) -> Sheet:
    """The cut into rows whose picture is nearest to `SHAPE`; a row best ends before one of the ranks `modules`."""
    ranks = int(places.ranks.max()) + 1
    costs = _costs(places, ranks, modules)
    limits = range(min(ranks, FEWEST), ranks + 1)
    sheets = [_sheet(places, ranks, starts) for starts in dict.fromkeys(cut(costs, limit) for limit in limits)]
    fitting = [sheet for sheet in sheets if sheet.size[0] <= WIDTH + STEP] or sheets[:1]

    def misfit(sheet: Sheet) -> float:
        """How far it is from `SHAPE`, and how empty its last row is."""
        short = 1 - (ranks - sheet.starts[-1]) * sheet.step / sheet.size[0]
        return abs(log(sheet.size[0] / sheet.size[1] / SHAPE)) + (short if len(sheet.starts) > 1 else 0.0)

    return min(fitting, key=misfit)


def lane(step: float) -> float:
    """Inches between marks above each other."""
    return LANE * (2 if step > ROOMY else 1)


def _costs(places: Placement, ranks: int, modules: Sequence[int]) -> list[float]:
    """How bad it is to begin a row at each rank: the lines that are cut, less where a module begins."""
    costs = [0.0] * ranks
    for track in places.tracks.values():
        for rank, _ in track[1:]:
            costs[rank] += 1
    return [cost - 2 * (rank in modules) for rank, cost in enumerate(costs)]


def cut(costs: Sequence[float], limit: int) -> tuple[int, ...]:
    """First ranks of rows of at most `limit` ranks, and at least two thirds of it where the ranks last."""
    starts = [0]
    while len(costs) - starts[-1] > limit:
        choices = range(starts[-1] + max(1, ceil(limit * 2 / 3)), starts[-1] + limit + 1)
        starts.append(min(choices, key=lambda rank: (costs[rank], -rank)))
    return tuple(starts)


def _sheet(places: Placement, ranks: int, starts: Sequence[int]) -> Sheet:
    ends = [*starts[1:], ranks]
    longest = max(end - start for start, end in zip(starts, ends, strict=True))
    step = min(WIDE, max(STEP, WIDTH / (longest + 0.5)))
    stops = [stop for track in places.tracks.values() for stop in track]
    stops += zip(places.ranks.tolist(), places.heights.tolist(), strict=True)
    heights = [[height for rank, height in stops if a <= rank < b] for a, b in zip(starts, ends, strict=True)]
    low, high = (np.array([lane(step) * pick(row) for row in heights]) for pick in (min, max))
    each = high - low + ABOVE + BELOW * (1.5 if step > ROOMY else 1)
    total = float(each.sum()) + HEAD + FOOT
    tops = total - HEAD - np.cumsum(each) + each
    spans = zip((tops - each + 0.05).tolist(), (tops - 0.05).tolist(), strict=True)
    levels = tuple((tops - ABOVE - high).tolist())
    return Sheet(tuple(starts), step, levels, tuple(spans), ((longest + 0.5) * step, total))
