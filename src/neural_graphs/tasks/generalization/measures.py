"""How well predicted numbers agree with true ones: order, spread, error, and how sure that is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from scipy.stats import kendalltau

Numbers = Float[np.ndarray, " networks"]
Runs = Shaped[np.ndarray, " networks"]  # the run that a checkpoint belongs to
Measure = Callable[[NDArray[Any], NDArray[Any]], float]
DRAWS, LEVEL = 1000, 0.95  # of the bootstrap


def kendall(predicted: Numbers, true: Numbers) -> float:
    """Kendall's τ-b (Kendall 1945), −1 to 1; 0 where one of the two is constant and orders nothing."""
    if len(true) < 2 or np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(kendalltau(predicted, true).statistic)


def ceiling(true: Numbers) -> float:
    """The largest τ-b that predictions without ties can reach: √(1 − tied pairs / pairs) of the true numbers."""
    _, counts = np.unique(true, return_counts=True)
    tied, pairs = (counts * (counts - 1)).sum(), len(true) * (len(true) - 1)
    return float(np.sqrt(1 - tied / pairs)) if pairs else 0.0


def explained(predicted: Numbers, true: Numbers) -> float:
    """R², the share of the variance that is explained; 0 where there is none."""
    total = np.square(true - true.mean()).sum()
    return float(1 - np.square(true - predicted).sum() / total) if total > 0 else 0.0


def bootstrap(measure: Measure, predicted: Numbers, true: Numbers, runs: Runs, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of a measure (Efron 1979), drawing runs with all their checkpoints, not checkpoints.

    Checkpoints of one run are alike, so drawing them apart would make the interval too narrow.
    """
    random = np.random.default_rng(seed)
    _, places = np.unique(runs, return_inverse=True)
    members = np.split(np.argsort(places, kind="stable"), np.cumsum(np.bincount(places))[:-1])
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate([members[run] for run in random.integers(len(members), size=len(members))])
        found.append(measure(predicted[drawn], true[drawn]))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def agreement(predicted: Numbers, true: Numbers, runs: Runs) -> dict[str, Any]:
    """Plain figures: τ with its interval and ceiling, R², mean absolute error, and how many runs they are of."""
    figures = {
        "tau": kendall(predicted, true),
        "ceiling": ceiling(true),
        "r2": explained(predicted, true),
        "mae": float(np.abs(predicted - true).mean()),
    }
    between = [round(end, 6) for end in bootstrap(kendall, predicted, true, runs)]
    return {name: round(value, 6) for name, value in figures.items()} | {
        "tau_interval": between,
        "runs": len(np.unique(runs)),
    }
