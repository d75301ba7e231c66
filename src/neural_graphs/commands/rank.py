"""``neural-graphs rank``: files of parameters, best predicted first."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neural_graphs.commands import show
from neural_graphs.commands.trained import add_trained, trained
from neural_graphs.errors import ConfigError

DESCRIPTION = """\
Predicts the accuracy of networks from their weights, without running them, and prints them best first: with an interval
that holds nine in ten true accuracies, and a remark where a network is unlike anything the metanetwork has seen.

  neural-graphs rank --run runs/small_nggnn 'checkpoints/**/*.safetensors'
  neural-graphs rank --run runs/small_nggnn 'checkpoints/**/*.pt' --table measured.csv

Intervals and what is unlike are learned from the zoo of the run, once; they are kept in the run's folder, and shared
along with it. A table of
measured accuracies, which names files as for `zoo import state-dicts`, puts them beside the predictions.
"""


def add(commands: Any) -> None:
    """Adds ``rank`` to the subparsers."""
    parser = commands.add_parser("rank", help="order networks in files by predicted accuracy", description=DESCRIPTION)
    add_trained(parser, "folder of a run of Generalization")
    parser.add_argument("files", nargs="+", metavar="FILE", help="parameters of one network each, or quoted patterns")
    parser.add_argument("--table", type=Path, metavar="FILE", help="measured accuracies: .csv, .tsv or .parquet")
    parser.add_argument("--column", default="test_accuracy", metavar="NAME", help="of them, 0 to 1; as is: %(default)s")
    parser.add_argument("--activation", metavar="NAME", help="of networks in files that do not tell their layout")
    formats = parser.add_mutually_exclusive_group()
    show.add_json(formats)
    formats.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    parser.set_defaults(command=rank)


def rank(arguments: Namespace) -> int:
    """Prints a row per file; files that cannot be judged are named on stderr, and make the answer 1."""
    files = _asked(arguments.files)
    from neural_graphs import tasks

    with show.bar("files") as tick:
        found = tasks.rank(
            trained(arguments),
            files,
            table=arguments.table,
            column=arguments.column,
            activation=arguments.activation,
            progress=tick,
        )
    if arguments.json:
        show.print_json(found.to_json())
    elif arguments.csv:
        show.print_csv(found.to_json()["ranked"])
    else:
        measured = arguments.table is not None
        print(show.table([_short(place, row, measured) for place, row in enumerate(found.rows, 1)]))
        if measured:
            print(
                "\n{networks:,} of them measured: Kendall's τ {tau:.3f}, {inside:.1%} inside the interval".format(
                    **found.agreement()
                )
            )
    for file, reason in found.skipped:
        print(f"not ranked: {file}: {reason}", file=sys.stderr)
    return int(bool(found.skipped))


def _asked(words: Sequence[str]) -> list[Path]:
    """The files that names and patterns stand for. Raises ConfigError for one without any."""
    from neural_graphs.zoo.importers.runs_of_files import files_like

    found = {word: files_like(word) for word in words}
    for word, files in found.items():
        if not files:
            raise ConfigError(f"{word} matches no file; in a pattern, * is within a folder and ** any folders")
    return [file for files in found.values() for file in files]


def _short(place: int, row: Any, measured: bool) -> dict[str, Any]:
    """A row for people, in per cent; with a column for measured accuracies if there are any."""
    far = [
        f"{name} {distance:.1f} × the limit"
        for name, distance in (("embedding", row.embedding), ("weights", row.weights))
        if distance > 1
    ]
    return {
        "place": place,
        "file": row.file,
        "accuracy": f"{row.accuracy:.1%}",
        "90 % interval": f"{row.low:.1%} to {row.high:.1%}",
        **({"measured": None if row.measured is None else f"{row.measured:.1%}"} if measured else {}),
        "remark": f"unlike anything seen: {', '.join(far)}" if far else "",
    }
