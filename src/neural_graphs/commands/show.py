"""What commands print: tables for people, JSON and CSV for programs, a bar while they wait."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import Any

Row = Mapping[str, Any]


def add_json(parser: Any) -> None:
    """Adds ``--json`` to a parser."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def print_json(value: Any) -> None:
    """Prints plain values as JSON."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def print_csv(rows: Sequence[Row]) -> None:
    """Prints rows with the same keys as CSV."""
    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def table(rows: Sequence[Row]) -> str:
    """Rows with the same keys as a table: numbers to the right, words to the left.

    >>> print(table([{"file": "a.pt", "label": 3, "p": 0.98765}, {"file": "long.pt", "label": 12, "p": 0.5}]))
    file     label      p
    a.pt         3  0.988
    long.pt     12  0.500
    """
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    right = [isinstance(rows[0][column], int | float) for column in columns]
    return "\n".join(
        "  ".join(
            f"{cell:>{w}}" if r else f"{cell:<{w}}" for cell, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)


def bars_on_stderr() -> AbstractContextManager[Any]:
    """Sends Lightning's progress bars, which go to stdout, where they do not disturb JSON."""
    return redirect_stdout(sys.stderr)


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, on a terminal only; receives what is done and what is planned."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", dynamic_ncols=True, disable=None, smoothing=0.05) as shown:

        def tick(done: int, planned: int) -> None:
            if shown.total is None:
                shown.reset(planned)
                shown.initial = shown.n = done  # a resumed zoo starts where it stopped: no false speed
            shown.update(done - shown.n)

        yield tick
