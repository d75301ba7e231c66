"""Runs of rows that repeat, folded: what is alike but for numbers that count up is written once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

PERIOD = 64  # rows of the longest run that is looked for
NUMBER = re.compile(r"\d+")
SPAN = re.compile(r"\{.*?\}")  # numbers that were merged


@dataclass(frozen=True)
class Row:
    """A named row: `traits` are compared as they are, `ties` are rows it refers to, itself or earlier ones."""

    place: int
    name: str
    traits: tuple[object, ...]
    ties: tuple[int, ...]

    def like(self, other: "Row") -> bool:
        """Whether only numbers in the name differ, and ties lead to the same rows or to rows as far before."""
        if self.traits != other.traits or len(self.ties) != len(other.ties):
            return False
        ties = zip(self.ties, other.ties, strict=True)
        near = all(self.place - a == other.place - b or self.place > a == b < other.place for a, b in ties)
        return near and NUMBER.sub("#", self.name) == NUMBER.sub("#", other.name)


@dataclass(frozen=True)
class Fold:
    """`count` runs of `period` rows from row `start` on; `names` are those of one run."""

    start: int
    period: int
    count: int
    names: tuple[str, ...]

    @property
    def even(self) -> bool:
        """Whether all names count alike: the run begins where its module begins."""
        return len({tuple(SPAN.findall(name)) for name in self.names}) == 1

    def better(self, other: "Fold") -> bool:
        """Whether it spares as many rows and is even."""
        return self.even and (self.count - 1) * self.period >= (other.count - 1) * other.period


def folds(rows: Sequence[Row]) -> list[Fold]:
    """All rows, every row or run as a fold (of one run where nothing repeats), in order."""
    found, start = [], 0
    while start < len(rows):
        fold = _longest(rows, start)
        if not fold.even and any(_longest(rows, start + k).better(fold) for k in range(1, fold.period)):
            fold = Fold(start, 1, 1, (rows[start].name,))  # the run begins a little later
        found.append(fold)
        start += fold.period * fold.count
    return found


def _longest(rows: Sequence[Row], start: int) -> Fold:
    """The period that spares most rows from `start` on, the shortest of several."""
    best = Fold(start, 1, 1, (rows[start].name,))
    for period in range(1, min(PERIOD, (len(rows) - start) // 2) + 1):
        count = 1
        while _repeats(rows, start, period, count):
            count += 1
        if (count - 1) * period > (best.count - 1) * best.period:
            names = tuple(merged([rows[start + k + n * period].name for n in range(count)]) for k in range(period))
            best = Fold(start, period, count, names)
    return best


def _repeats(rows: Sequence[Row], start: int, period: int, count: int) -> bool:
    """Whether run number `count` is like the one before it, and its names count on."""
    first = start + count * period
    if first + period > len(rows):
        return False
    for place in range(first, first + period):
        if not rows[place].like(rows[place - period]):
            return False
        if count > 1:
            steps = [_steps(rows[place - (n + 1) * period].name, rows[place - n * period].name) for n in (0, 1)]
            if steps[0] != steps[1]:
                return False
    return True


def _steps(before: str, after: str) -> list[int]:
    pairs = zip(NUMBER.findall(before), NUMBER.findall(after), strict=True)
    return [int(b) - int(a) for a, b in pairs]


def merged(names: Sequence[str]) -> str:
    """One name for names that differ in numbers: `h.{0…11}.ln_1`, `{0, 2 … 8}` where they do not count by one."""
    columns = zip(*(map(int, NUMBER.findall(name)) for name in names), strict=True)
    words = iter([_span(column) for column in columns])
    return NUMBER.sub(lambda _: next(words), names[0])


def _span(numbers: Sequence[int]) -> str:
    first, second, last = numbers[0], numbers[1], numbers[-1]
    if first == last:
        return str(first)
    if len(numbers) == 2:
        return f"{{{first}, {last}}}"
    return f"{{{first}…{last}}}" if abs(second - first) == 1 else f"{{{first}, {second} … {last}}}"
