"""Which trained metanetwork a command asks: a run of one's own, or one that was shared."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # heavy
    from neural_graphs.tasks.runs import Trained


def add_trained(parser: Any, run: str) -> None:
    """Adds ``--run``, with help of its own, and ``--pretrained`` to a parser, one of which is required."""
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--run", type=Path, metavar="RUN", help=run)
    either.add_argument("--pretrained", metavar="NAME|DIR", help="one that was shared: a name, a folder, or owner/name")


def trained(arguments: Namespace) -> "Trained":
    """The metanetwork asked for."""
    from neural_graphs.tasks import Pretrained, Run

    return Run(arguments.run) if arguments.pretrained is None else Pretrained(arguments.pretrained)
