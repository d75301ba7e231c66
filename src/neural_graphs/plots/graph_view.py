"""What a picture of a layout shows: a mark per group, a line per pair of joined groups, and what goes together."""

from collections.abc import Sequence
from dataclasses import dataclass

from neural_graphs.layout import Block, Group, Layout

STREAM = 4  # marks that permute together, from which on they are shown as a stream
DEEP = 8  # levels of the module tree that are looked at
FAMILIES = {
    "constant": ("constant", "positions", "one", "token", "unused"),
    "weights": ("conv", "linear", "embedding"),
    "norm": ("norm",),
    "sum": ("add", "skip", "concat", "pool", "mean"),
    "product": ("product", "mul", "activation", "gate", "attention", "heads", "scale", "softmax"),
}


@dataclass(frozen=True)
class Mark:
    """A group as it is drawn; `stream` names the free atom that moves most of its neurons ("" for none)."""

    group: Group
    family: str
    stream: str
    free: bool


@dataclass(frozen=True)
class Line:
    """All blocks between two marks: how they join, how many numbers they own or read, and what they read."""

    source: int
    target: int
    joins: str  # dense, tied or one-to-one
    numbers: int
    shared: bool

    @property
    def kind(self) -> str:
        """What decides how it is drawn."""
        if not self.numbers:
            return "structural"
        return "shared" if self.shared else self.joins


def sketch(layout: Layout) -> tuple[list[Mark], list[Line]]:
    """Marks and lines. A constant that several groups read is a mark beside each of them."""
    marks = [_mark(group) for group in layout.groups]
    pairs: dict[tuple[int, int], list[int]] = {}
    for place, block in enumerate(layout.blocks):
        pairs.setdefault((block.source, block.target), []).append(place)
    entered = {target for _, target in pairs}
    constants = {
        place for place, group in enumerate(layout.groups)
        if group.role == "hidden" and place not in entered and not marks[place].free
    }  # fmt: skip
    order: list[Mark] = []
    number: dict[tuple[int, int], int] = {}  # of a group, or of a constant beside the group that reads it
    for place, mark in enumerate(marks):
        for source in sorted({s for s, t in pairs if t == place and s in constants}):
            number[source, place] = len(order)
            order.append(marks[source])
        if place not in constants:
            number[place, place] = len(order)
            order.append(mark)
    lines = [
        _line(layout, number[source, target if source in constants else source], number[target, target], blocks)
        for (source, target), blocks in pairs.items()
    ]
    return order, lines


def _mark(group: Group) -> Mark:
    atoms = [atom for atom in group.axis.atoms() if atom.free and atom.size > 1]
    largest = max(atoms, key=lambda atom: atom.size * (1 + len(atom.within)), default=None)
    return Mark(group, family(group), largest.name if largest else "", bool(atoms))


def family(group: Group) -> str:
    """The families of kinds that have a colour of their own."""
    if group.role == "input":
        return "input"
    kinds = [name for name, kinds in FAMILIES.items() if group.kind in kinds]
    return kinds[0] if kinds else "weights" if not group.kind else "other"


def _line(layout: Layout, source: int, target: int, places: Sequence[int]) -> Line:
    blocks: list[Block] = [layout.blocks[place] for place in places]
    sizes = [layout.tables[place].size * block.kernel_size if block.parameter else 0
             for place, block in zip(places, blocks, strict=True)]  # fmt: skip
    main = max(range(len(places)), key=lambda index: (sizes[index], -index))
    shared = all(block.shared for block in blocks if block.parameter) and sum(sizes) > 0
    return Line(source, target, layout.tables[places[main]].kind, sum(sizes), shared)


def streams(marks: Sequence[Mark], lines: Sequence[Line]) -> list[str]:
    """The atoms that many groups share, the most shared first."""
    counts: dict[str, int] = {}
    for mark in marks:
        if mark.stream:
            counts[mark.stream] = counts.get(mark.stream, 0) + 1
    flowing = {marks[line.source].stream for line in lines if flows(marks, line)}
    found = [name for name, count in counts.items() if count >= STREAM and name in flowing]
    return sorted(found, key=lambda name: -counts[name])


def flows(marks: Sequence[Mark], line: Line) -> bool:
    """Whether a line leads neurons to others that permute with them, one by one."""
    same = marks[line.source].stream == marks[line.target].stream != ""
    return same and line.joins != "dense"


def bands(marks: Sequence[Mark], ranks: Sequence[int]) -> list[tuple[str, int, int]]:
    """Modules as stretches of ranks: name, first and last rank; as deep in the module tree as most ranks have names,
    and three ranks each."""
    found = []
    for depth in range(1, DEEP + 1):
        here = [band for band in _bands(marks, ranks, depth) if band[2] > band[1]]
        found.append((sum(last - first + 1 for _, first, last in here), here))
    most = max(covered for covered, _ in found)
    return [[], *(here for covered, here in found if covered >= max(0.8 * most, 3 * len(here)))][-1]


def _bands(marks: Sequence[Mark], ranks: Sequence[int], depth: int) -> list[tuple[str, int, int]]:
    """The module most groups of every rank are in, as far as names have so many parts."""
    found: list[tuple[str, int, int]] = []
    for rank in range(max(ranks, default=0) + 1):
        names = [
            ".".join(mark.group.name.partition("#")[0].split(".")[:depth])
            for mark, own in zip(marks, ranks, strict=True)
            if own == rank and mark.family not in ("constant", "input")
        ]
        name = max(dict.fromkeys(names), key=names.count) if names else ""
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1], rank)
        else:
            found.append((name, rank, rank))
    return [band for band in found if band[0]]
