"""What a page is made of: a block is a value, and the template that shows it lies in `templates/`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

SHADES = 10  # of a cell of a matrix, light to dark
NUMBERED = 20  # rows of a matrix whose cells show their number


class Block:
    """A part of a page; all text in it is escaped when it is shown."""

    template: ClassVar[str]  # a file of `templates/`


@dataclass(frozen=True)
class Section:
    """Blocks under a title; `lead` is a sentence below it."""

    title: str
    blocks: Sequence[Block]
    lead: str = ""


@dataclass(frozen=True)
class Note(Block):
    """What is missing, and what to do."""

    template: ClassVar[str] = "note.html"
    text: str


@dataclass(frozen=True)
class Code(Block):
    """Text as it would stand in a terminal; with a `summary` it is folded away below it."""

    template: ClassVar[str] = "code.html"
    text: str
    summary: str = ""


@dataclass(frozen=True)
class Card:
    """A number, what it is, and what to compare it with."""

    name: str
    value: str
    beside: str = ""


@dataclass(frozen=True)
class Cards(Block):
    """Key figures, large."""

    template: ClassVar[str] = "cards.html"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Table(Block):
    """Rows of text under the names of their columns; with a `summary` they are folded away below it.

    `marked` are the places of rows that stand out.
    """

    template: ClassVar[str] = "table.html"
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: str = ""
    marked: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Matrix(Block):
    """How often networks of each class (rows) were taken for each class (columns); cells answer to the mouse."""

    template: ClassVar[str] = "matrix.html"
    counts: NDArray[np.integer]

    @property
    def numbered(self) -> bool:
        """Whether there is room for the numbers."""
        return len(self.counts) <= NUMBERED

    @property
    def told(self) -> str:
        """How many are right."""
        right, networks = int(np.trace(self.counts)), int(self.counts.sum())
        return f"{right:,} of {networks:,} networks right ({right / max(1, networks):.1%})"

    @property
    def cells(self) -> list[list[tuple[int, int, str]]]:
        """By row: the count of each cell, its shade, and what it says."""
        return [self._row(true, counts) for true, counts in enumerate(self.counts.tolist())]

    def _row(self, true: int, counts: list[int]) -> list[tuple[int, int, str]]:
        total = max(1, sum(counts))
        return [
            (
                count,
                -(-SHADES * count // total),
                f"is {true}, said {said}: {count:,} of {sum(counts):,} ({count / total:.1%})",
            )
            for said, count in enumerate(counts)
        ]
