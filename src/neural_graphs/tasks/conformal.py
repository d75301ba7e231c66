"""Intervals around predictions that hold the truth as often as promised (split conformal prediction)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

LEVEL = 0.9  # of the intervals


@dataclass(frozen=True)
class Margin:
    """Half the width of an interval around a prediction, and how often such intervals are to hold the truth."""

    width: float
    level: float = LEVEL

    @classmethod
    def of(
        cls,
        predicted: Float[np.ndarray, " networks"],
        true: Float[np.ndarray, " networks"],
        runs: Shaped[np.ndarray, " networks"],
        level: float = LEVEL,
    ) -> "Margin":
        """The margin from networks that were not trained on (Vovk et al. 2005; Lei et al. 2018).

        The smallest error that bounds `level · (k + 1) / k` of those of `k` runs; every run counts as one, however many
        checkpoints it has (Dunn et al. 2023), so a network of a run never seen lies inside with probability `level`.
        Too few runs to promise that give a margin of 1, which holds every accuracy.
        """
        _, places, counts = np.unique(runs, return_inverse=True, return_counts=True)
        errors = np.abs(predicted - true)
        order = np.argsort(errors, kind="stable")
        mass = np.cumsum((1 / counts[places])[order])  # runs whose errors are at most so large
        wanted = level * (len(counts) + 1)
        if wanted > len(counts):
            return cls(1.0, level)
        place = int(np.searchsorted(mass, wanted - 1e-9))  # the masses are sums of fractions
        return cls(float(errors[order[min(place, len(order) - 1)]]), level)

    def ends(self, predicted: float) -> tuple[float, float]:
        """Lower and upper end of the interval around a prediction, within [0, 1]."""
        return max(0.0, predicted - self.width), min(1.0, predicted + self.width)

    def holds(
        self, predicted: Float[np.ndarray, " networks"], true: Float[np.ndarray, " networks"]
    ) -> Bool[np.ndarray, " networks"]:
        """Whether the truth lies inside."""
        return np.abs(predicted - true) <= self.width
