"""Where the nodes of a directed graph stand in a picture: ranks from left to right, heights that keep lines straight.

Layered drawing after Sugiyama, Tagawa and Toda (1981): ranks by longest paths, an order within each rank by
barycentres, heights by least squares. All lines that leave a node run on one track up to the last node they lead to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SWEEPS = 24  # over the ranks, to find their order
ROUNDS = 200  # of moving everything to where it is drawn to
GRAVITY = 0.15  # how much everything is drawn to height 0, beside 1 for every line
GAP = 0.55  # between tracks, in distances between nodes

Line = tuple[int, int]  # source and target node


@dataclass(frozen=True)
class Placement:
    """Rank and height of every node, `(nodes,)` each, and of every track: `(rank, height)` from the source on."""

    ranks: NDArray[np.int64]
    heights: NDArray[np.float64]
    tracks: dict[int, list[tuple[int, float]]]


@dataclass
class Grid:
    """Nodes and the stops of tracks, all joined by links between neighbouring ranks."""

    ranks: list[int]
    links: dict[Line, float] = field(default_factory=dict)  # how much each wants to be level
    stops: dict[int, list[int]] = field(default_factory=dict)  # of a track, from its source on
    nodes: int = 0

    def link(self, left: int, right: int, weight: float) -> None:
        self.links[left, right] = self.links.get((left, right), 0.0) + weight


def place(count: int, lines: Sequence[Line], level: Sequence[float] = ()) -> Placement:
    """Places for `count` nodes joined by `lines`, each from a node to a later one.

    `level` says how much the ends of every line should be on one height, 1 by default.
    """
    ranks = longest_paths(count, lines, level)
    grid = _tracks(ranks.tolist(), lines, level or [1.0] * len(lines))
    columns = _order(grid)
    heights = _level(grid, columns)
    tracks = {source: [(grid.ranks[stop], float(heights[stop])) for stop in stops]
              for source, stops in grid.stops.items()}  # fmt: skip
    return Placement(ranks, heights[:count], tracks)


def longest_paths(count: int, lines: Sequence[Line], level: Sequence[float] = ()) -> NDArray[np.int64]:
    """One more than the largest rank among the sources of every node; later where that makes the tracks shorter.

    Where it makes no difference, nodes that only continue what others read, too, on one height, stand later.
    """
    ranks = [0] * count
    targets: list[list[int]] = [[] for _ in range(count)]
    sources: list[list[int]] = [[] for _ in range(count)]
    for source, target in sorted(lines, key=lambda line: line[1]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
        targets[source].append(target)
        sources[target].append(source)
    stiff = {line[1] for line, wish in zip(lines, level or [1.0] * len(lines), strict=True) if wish <= 1}

    def ends(source: int, but: int) -> int:
        """Where the track of a source ends without node `but`."""
        return max((ranks[target] for target in targets[source] if target != but), default=ranks[source])

    for node in reversed(range(count)):
        anchors = [source for source in sources[node] if sources[source] or len(targets[source]) > 1]
        reach = [ends(source, node) for source in anchors]
        late = node not in stiff and all(len(targets[source]) > 1 for source in anchors)
        choices = range(ranks[node], min((ranks[target] for target in targets[node]), default=ranks[node] + 1))
        lengths = {rank: sum(max(rank, end) for end in reach) - rank for rank in choices}
        ranks[node] = min(choices, key=lambda rank: (lengths[rank], -rank if late else rank))
    return np.array(ranks, dtype=np.int64) - min(ranks, default=0)


def _tracks(ranks: list[int], lines: Sequence[Line], level: Sequence[float]) -> Grid:
    """Stops on every rank between a source and the last node it leads to."""
    grid = Grid([*ranks], nodes=len(ranks))
    for source in range(len(ranks)):
        own = [(target, weight) for (start, target), weight in zip(lines, level, strict=True) if start == source]
        last = max((ranks[target] for target, _ in own), default=ranks[source])
        stops = [source]
        for rank in range(ranks[source] + 1, last):
            grid.ranks.append(rank)
            stops.append(len(grid.ranks) - 1)
            grid.link(stops[-2], stops[-1], 1.0)
        for target, weight in own:
            grid.link(stops[ranks[target] - ranks[source] - 1], target, weight)
        grid.stops[source] = stops
    return grid


# -- order within ranks -----------------------------------------------------------------------------------------------


def _order(grid: Grid) -> list[list[int]]:
    """The nodes and stops of every rank from bottom to top, the arrangement with fewest crossings of several sweeps."""
    columns: list[list[int]] = [[] for _ in range(max(grid.ranks, default=0) + 1)]
    for place, rank in enumerate(grid.ranks):
        columns[rank].append(place)
    before, after = _neighbours(grid)
    best, fewest = [list(column) for column in columns], _crossings(columns, after)
    for sweep in range(SWEEPS):
        ahead = sweep % 2 == 0
        order, near = (columns, before) if ahead else (columns[::-1], after)
        position = {place: index for column in columns for index, place in enumerate(column)}
        for column in order:
            centres = {p: np.mean([position[q] for q in near[p]]) if near[p] else position[p] for p in column}
            column.sort(key=lambda p, centres=centres: centres[p])  # type: ignore[misc]
            position |= {place: index for index, place in enumerate(column)}
        crossings = _crossings(columns, after)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    return best


def _neighbours(grid: Grid) -> tuple[list[list[int]], list[list[int]]]:
    before: list[list[int]] = [[] for _ in grid.ranks]
    after: list[list[int]] = [[] for _ in grid.ranks]
    for left, right in grid.links:
        before[right].append(left)
        after[left].append(right)
    return before, after


def _crossings(columns: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> int:
    total = 0
    for left, right in pairwise(columns):
        position = {place: index for index, place in enumerate(right)}
        ends = [(index, position[q]) for index, p in enumerate(left) for q in after[p]]
        a, b = np.array(ends, dtype=np.int64).reshape(-1, 2).T
        total += int(((a[:, None] < a) & (b[:, None] > b)).sum())
    return total


# -- heights ----------------------------------------------------------------------------------------------------------


def _level(grid: Grid, columns: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Heights that keep the order and the gaps of every rank and make linked places level: damped least squares, in
    which every rail moves as a whole."""
    heights = np.zeros(len(grid.ranks))
    for column in columns:
        heights[list(column)] = np.arange(len(column)) - (len(column) - 1) / 2
    rails = _rails(grid)
    left, right = np.array([*grid.links], dtype=np.int64).reshape(-1, 2).T
    weights = np.array([*grid.links.values()])
    weights = np.where(rails[left] == rails[right], 0.0, weights)
    ends, both = np.concatenate((rails[left], rails[right])), np.concatenate((weights, weights))
    total: NDArray[np.float64] = np.bincount(ends, both, len(rails)).astype(np.float64)
    spread = [(np.array(column, dtype=np.int64), _gaps(grid, column)) for column in columns]
    counts = np.bincount(rails, minlength=len(rails)).clip(1)
    for turn in range(ROUNDS):
        level = np.bincount(rails, heights, len(rails)) / counts
        pull = np.bincount(rails[left], weights * heights[right], len(rails))
        pull += np.bincount(rails[right], weights * heights[left], len(rails))
        wanted = pull / (total + GRAVITY)
        share = 0.5 * max(0.0, 1 - 1.25 * turn / ROUNDS)  # in the end only order, gaps and rails count
        heights = (level + share * (wanted - level))[rails]
        for places, gaps in spread:
            heights[places] = spaced(heights[places], 1 + total[rails[places]], gaps)
    return heights


def _rails(grid: Grid) -> NDArray[np.int64]:
    """A number for every place: those in a row without a choice, and the stops of a track, have the same."""
    before, after = _neighbours(grid)
    rails = np.arange(len(grid.ranks))
    tracks = {(a, b) for stops in grid.stops.values() for a, b in pairwise(stops[1:])}
    for left, right in sorted(grid.links, key=lambda link: grid.ranks[link[0]]):
        if (left, right) in tracks or len(after[left]) == len(before[right]) == 1:
            rails[right] = rails[left]
    return rails


def _gaps(grid: Grid, column: Sequence[int]) -> NDArray[np.float64]:
    """How far neighbours of a rank are apart at least, `(places - 1,)`."""
    half = np.array([0.5 if place < grid.nodes else GAP / 2 for place in column])
    return half[1:] + half[:-1]


def spaced(wanted: NDArray[np.float64], weights: NDArray[np.float64], gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ascending numbers nearest to those wanted, in weighted squares, that are at least `gaps` apart.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955).
    """
    shift = np.concatenate(([0.0], np.cumsum(gaps)))
    pools: list[tuple[float, float, int]] = []  # mean, weight, count
    for value, weight in zip(wanted - shift, weights, strict=True):
        pools.append((float(value), float(weight), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, u, m), (b, v, n) = pools[-2:]
            pools[-2:] = [((a * u + b * v) / (u + v), u + v, m + n)]
    return np.repeat([mean for mean, _, _ in pools], [count for _, _, count in pools]) + shift
