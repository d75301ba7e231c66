"""A layout in the making: groups and links appear while the events of a trace are emitted one after another."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Role
from neural_graphs.layout.strides import Table, Window, merged, row_major
from neural_graphs.tracing.dims import Var
from neural_graphs.tracing.sources import Neurons, Raw, Stored
from neural_graphs.tracing.values import Value
from neural_graphs.tracing.views import Leg, Piece, Pieces, frame, pieces_of, slowest_first


@dataclass(frozen=True)
class Strand:
    """One dimension of a link: its size, and its strides in the source, the target, and the stored tensor."""

    size: int
    source: int = 0
    target: int = 0
    number: int = 0


@dataclass(frozen=True, eq=False)
class Link:
    """A block in the making."""

    source: Neurons
    target: Neurons
    joins: Table
    kind: str
    stored: Stored | None = None
    window: Window | None = None
    kernel: tuple[int, ...] = ()
    shared: bool = False


@dataclass
class Draft:
    """Groups, links and the pieces of every value so far; `name` is where in the module the trace is."""

    groups: list[Neurons] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    known: dict[Value, Pieces] = field(default_factory=dict)
    fixtures: dict[tuple[Var | str, ...], Neurons] = field(default_factory=dict)
    name: str = ""

    def pieces(self, value: Value) -> Pieces:
        """The pieces of a value."""
        if value not in self.known:
            if not value.raw:
                raise LayoutError("a value is read before anything made it")
            return pieces_of(Raw(value.given), value.dims)
        return self.known[value]

    def group(self, legs: Iterable[Leg], kind: str, *under: Piece) -> Piece:
        """New neurons along these legs, where the pieces `under` lie on each other."""
        ordered = slowest_first(legs)
        neurons = Neurons(self.name, tuple(leg.var for leg in ordered), kind)
        self.groups.append(neurons)
        strides = row_major([leg.size for leg in ordered])
        own = tuple(replace(leg, stride=stride) for leg, stride in zip(ordered, strides, strict=True))
        starts, cut = frame(under)
        return Piece(neurons, starts, own, 0, cut)

    def fixture(self, legs: Sequence[Leg], given: bool, what: str = "") -> tuple[Neurons, dict[Leg, int]]:
        """Neurons that nothing leads to: inputs, or constants such as positions; and their strides along the legs."""
        ordered = slowest_first(legs)
        key = ("input" if given else "constant", *(leg.var for leg in ordered))
        if key not in self.fixtures:
            name = what or ("input" if given else "positions" if ordered else "one")
            role: Role = "input" if given else "hidden"
            self.fixtures[key] = Neurons(name, tuple(leg.var for leg in ordered), name, role)
            self.groups.append(self.fixtures[key])
        strides = row_major([leg.size for leg in ordered])
        return self.fixtures[key], dict(zip(ordered, strides, strict=True))

    def connect(
        self, source: Neurons, target: Neurons, strands: Iterable[Strand], kind: str,
        piece: Piece | None = None, kernel: Sequence[Strand] = (), start: int = 0,
    ) -> None:  # fmt: skip
        """Weights from neuron `start` of `source` on to `target`; `piece` is the part of a stored tensor they read."""
        order = sorted(strands, key=lambda s: (not (s.source and s.target), not s.target))  # ties, targets, sources
        table = [Strand(*each) for each in merged(map(astuple, order))] or [Strand(1)]
        joins = Table(tuple(s.size for s in table), tuple(s.source for s in table), tuple(s.target for s in table),
                      start)  # fmt: skip
        if piece is None or not isinstance(piece.source, Stored):
            self.links.append(Link(source, target, joins, kind))
            return
        sizes = tuple(s.size for s in kernel)
        window = Window(piece.offset, (*joins.sizes, *sizes), tuple(s.number for s in (*table, *kernel)))
        shared = not piece.source.own(window)
        self.links.append(Link(source, target, joins, kind, piece.source, window, sizes, shared))
