"""``neural-graphs ensemble``: several trained runs as one that answers by their mean."""

from argparse import Namespace
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Joins trained runs, such as those of several seeds, to one whose answer is the mean of theirs, of editors the mean
change. Nothing is trained; the new run is tested, ranks, predicts, edits and is shared as any other. Runs must be of
the same task and the same zoo.

  neural-graphs reproduce experiments/cnn_generalization/small_propagator_2cores.yaml --seeds 0 1 2
  neural-graphs ensemble runs/small_propagator_2cores* --out runs/small_ensemble
  neural-graphs test --run runs/small_ensemble
"""


def add(commands: Any) -> None:
    """Adds ``ensemble`` to the subparsers."""
    parser = commands.add_parser("ensemble", help="several trained runs as one", description=DESCRIPTION)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of two trained runs or more")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new run")
    parser.set_defaults(command=ensemble)


def ensemble(arguments: Namespace) -> int:
    """Joins the runs, and says what to do next."""
    from neural_graphs import tasks

    run = tasks.ensemble(arguments.runs, arguments.out)
    print(
        f"{run.folder} answers by the mean of {len(arguments.runs)}; measure it: neural-graphs test --run {run.folder}"
    )
    return 0
