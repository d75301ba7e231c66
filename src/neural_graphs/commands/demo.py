"""``neural-graphs demo``: the whole story on what is already here."""

from argparse import Namespace
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Metanetworks that come with the package name and edit networks that draw digits, at once. Then one small network is
fitted to each of scikit-learn's digits, a graph metanetwork and a flat MLP are trained to name the digit that a network
draws, the neurons of the test networks are shuffled, and only the flat MLP is confused. Under five minutes on two
cores; the pictures are in --out.
"""


def add(commands: Any) -> None:
    """Adds ``demo`` to the subparsers."""
    parser = commands.add_parser("demo", help="the whole story on scikit-learn's digits", description=DESCRIPTION)
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: out/demo")
    parser.add_argument("--quick", action="store_true", help="a few networks for an epoch: only to see it run")
    parser.set_defaults(command=run)


def run(arguments: Namespace) -> int:
    """Runs the demo, which prints its own story."""
    from neural_graphs.commands.demonstration import run as demo

    demo(arguments.out, quick=arguments.quick)
    return 0
