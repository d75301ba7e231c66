"""``neural-graphs report``: everything about a run on one page."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from neural_graphs.errors import ConfigError

DESCRIPTION = """\
Writes one HTML file about a run that needs no other file and opens anywhere: its result beside the published one,
curves that answer to the mouse, networks that are worth a look (those it got most wrong, edits under a slider,
predicted against true accuracy), its configuration with what differs marked, and the commands that make it again. What
is missing is named: test the run first (neural-graphs test) if its result is to be on the page.

  neural-graphs report runs/digits
  neural-graphs report runs/digits --against experiments/inr_classification/fmnist_nggnn.yaml
  neural-graphs zoo show zoos/digits --out digits.html        a page like it for a zoo
"""


def add(commands: Any) -> None:
    """Adds ``report`` to the subparsers."""
    parser = commands.add_parser("report", help="one HTML page about a run", description=DESCRIPTION)
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("folder", type=Path, nargs="?", metavar="RUN", help="folder of the run")
    either.add_argument("--run", type=Path, metavar="RUN", help="the same, as in other commands")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the folder of the run")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="experiment whose configuration stands beside the run's; default: the one it was trained from",
    )
    parser.set_defaults(command=report)


def report(arguments: Namespace) -> int:
    """Writes the page, and says where it is."""
    from neural_graphs.tasks.report import report as write
    from neural_graphs.zoo.remote import is_zoo

    folder = arguments.folder or arguments.run
    if is_zoo(folder):
        raise ConfigError(f"{folder} is a zoo; its page: neural-graphs zoo show {folder} --out {folder.name}.html")
    print(write(folder, arguments.out, arguments.against))
    return 0
