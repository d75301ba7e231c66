"""``neural-graphs predict``: what a trained metanetwork says about networks in files."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from neural_graphs.commands import show
from neural_graphs.commands.trained import add_trained, trained

DESCRIPTION = """\
Reads networks from files of parameters (.safetensors, or .pt, .pth, .ckpt … with a state dict) and prints what the
metanetwork of a run says about each.

  neural-graphs predict --run runs/digits_nggnn net1.safetensors net2.pt
  neural-graphs predict --pretrained owner/name net1.safetensors
"""


def add(commands: Any) -> None:
    """Adds ``predict`` to the subparsers."""
    parser = commands.add_parser("predict", help="say what networks in files show", description=DESCRIPTION)
    add_trained(parser, "folder of a trained run")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="parameters of one network each")
    formats = parser.add_mutually_exclusive_group()
    show.add_json(formats)
    formats.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    parser.set_defaults(command=predict)


def predict(arguments: Namespace) -> int:
    """Prints a row per file: its class, how sure the metanetwork is, and what else it may be."""
    from neural_graphs import tasks

    found = tasks.predict(trained(arguments), arguments.files)
    if arguments.json:
        show.print_json(found)
        return 0
    if arguments.csv:
        show.print_csv([_flat(row) for row in found])
        return 0
    print(show.table([_short(row) for row in found]))
    return 0


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A prediction with a column per class."""
    probabilities = {f"p{label}": value for label, value in enumerate(row["probabilities"])}
    return {"file": row["file"], "class": row["class"], **probabilities}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A prediction for people: the class and its probability, then the next likely one."""
    first, second = sorted(range(len(row["probabilities"])), key=row["probabilities"].__getitem__)[:-3:-1]
    p = row["probabilities"]
    return {"file": row["file"], "class": first, "probability": p[first], "next": second, "its probability": p[second]}
