"""Whether one predictor orders networks better than another: τ of both, and the interval of the difference.

python experiments/cnn_generalization/compare.py runs/small_propagator_2cores runs/small_statnn_2cores

Runs of the test split are drawn with all their checkpoints, the same for both (paired bootstrap, 95 %).
"""

# ruff: noqa: T201
import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_graphs.tasks import Run
from neural_graphs.tasks.generalization.measures import bootstrap, kendall
from neural_graphs.tasks.generalization.task import Generalization, runs_of


def predicted(folder: Path) -> tuple[NDArray, NDArray, NDArray]:
    """Predicted and true accuracies of the test split, and the run each network is of."""
    run = Run(folder)
    task, zoo = run.task(), run.data().zoo.split("test")
    assert isinstance(task, Generalization), f"{folder} does not predict accuracies"
    return task.predict(zoo, run.batch_size), task.truth(zoo), runs_of(zoo)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("runs", type=Path, nargs=2, metavar="RUN", help="two runs on the same zoo")
first, second = (predicted(folder) for folder in parser.parse_args().runs)
assert np.array_equal(first[1], second[1]), "the two are not of the same networks"
both = np.stack([first[0], second[0]])
taus = [kendall(each, first[1]) for each in both]


def difference(places: NDArray, true: NDArray) -> float:
    """Of the networks at some places."""
    return kendall(both[0][places], true) - kendall(both[1][places], true)


low, high = bootstrap(difference, np.arange(len(first[1])), first[1], first[2])
print(f"τ {taus[0]:.3f} and {taus[1]:.3f}: {taus[0] - taus[1]:+.3f}, 95 % of draws between {low:+.3f} and {high:+.3f}")
