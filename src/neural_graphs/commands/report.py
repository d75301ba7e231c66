"""``neural-graphs report``: everything about a run on one page."""

from argparse import Namespace
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Writes one self-contained HTML page about a run: its result, curves, confusion matrix, some of its networks, and its
configuration. Run `neural-graphs test` first if the result is to be on it.
"""


def add(commands: Any) -> None:
    """Adds ``report`` to the subparsers."""
    parser = commands.add_parser("report", help="one HTML page about a run", description=DESCRIPTION)
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the folder of the run")
    parser.set_defaults(command=report)


def report(arguments: Namespace) -> int:
    """Writes the page, and says where it is."""
    from neural_graphs.tasks.report import report as write

    print(write(arguments.run, arguments.out))
    return 0
