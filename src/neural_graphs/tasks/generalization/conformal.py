"""Bounds and intervals that hold as often as promised for runs never seen (split conformal prediction)."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float, Shaped

LEVEL = 0.9  # of the intervals


def bound(numbers: Float[np.ndarray, " networks"], runs: Shaped[np.ndarray, " networks"], level: float) -> float:
    """The smallest of the numbers that is no less than `level · (k + 1) / k` of those of `k` runs.

    Every run counts as one, however many checkpoints it has, since runs are exchangeable and checkpoints of one run are
    not. A checkpoint of a run never seen is then at most so large with probability `level` or more: the bound of all
    `k + 1` runs would be, on the average over runs, and this one, with the new run at infinity, is no smaller (Vovk et
    al. 2005; for groups: Dunn et al. 2023). With a checkpoint per run it is the ⌈level (k + 1)⌉-th smallest. Infinite
    where there are too few runs to promise it, fewer than level / (1 − level).
    """
    _, places, counts = np.unique(runs, return_inverse=True, return_counts=True)
    order = np.argsort(numbers, kind="stable")
    mass = np.cumsum((1 / counts[places])[order])  # runs whose numbers are at most so large
    wanted = level * (len(counts) + 1) - 1e-9  # the masses are sums of fractions
    if wanted > len(counts):
        return float("inf")
    return float(numbers[order[min(int(np.searchsorted(mass, wanted)), len(order) - 1)]])


@dataclass(frozen=True)
class Margin:
    """Half the width of an interval around a prediction, how many runs it was learned from, and what it promises."""

    width: float
    runs: int
    level: float = LEVEL

    @classmethod
    def of(
        cls,
        predicted: Float[np.ndarray, " networks"],
        true: Float[np.ndarray, " networks"],
        runs: Shaped[np.ndarray, " networks"],
        level: float = LEVEL,
    ) -> "Margin":
        """The margin from networks that were not trained on: the `bound` of their errors (Lei et al. 2018).

        Too few runs to promise anything give a margin of 1, which holds every accuracy.
        """
        return cls(min(1.0, bound(np.abs(predicted - true), runs, level)), len(np.unique(runs)), level)

    def ends(self, predicted: float) -> tuple[float, float]:
        """Lower and upper end of the interval around a prediction, within [0, 1]."""
        return max(0.0, predicted - self.width), min(1.0, predicted + self.width)

    def figures(
        self,
        predicted: Float[np.ndarray, " networks"],
        true: Float[np.ndarray, " networks"],
        runs: Shaped[np.ndarray, " networks"],
    ) -> dict[str, float]:
        """The margin, the share of tested networks whose truth lies inside, and how far chance moves that share."""
        held = float((np.abs(predicted - true) <= self.width).mean())
        found = {"margin": self.width, "coverage": held, "coverage_spread": self.spread(len(np.unique(runs)))}
        return {name: round(value, 6) for name, value in found.items()}

    def spread(self, tested: int) -> float:
        """The standard deviation of the share of so many tested runs that lie inside, one checkpoint of each.

        Which runs the margin was learned from makes the true share a draw from a Beta distribution (Vovk 2012), which
        ones are tested adds the error of a mean. Several checkpoints of a run make it smaller, by little.
        """
        return sqrt(self.level * (1 - self.level) * (1 / (self.runs + 2) + 1 / tested))
