"""Events that bring values together: sums, products, concatenations; and activations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neural_graphs.tracing.builder import Draft
from neural_graphs.tracing.dims import Term, chained, size, unify
from neural_graphs.tracing.lower import all_stored, complete, covers, grown, lies_on, read, settle, tie, unite
from neural_graphs.tracing.sources import Neurons, Raw, Stored
from neural_graphs.tracing.tape import Event, Tape
from neural_graphs.tracing.values import Value, broadcast
from neural_graphs.tracing.views import Leg, Piece, Pieces, flattened, frame, joined, shifted


def aligned(draft: Draft, value: Value, rank: int, onto: Sequence[int] | None = None) -> Pieces:
    """The pieces of a value as part of one with `rank` dimensions: the last ones, or those listed in `onto`."""
    dims = list(onto) if onto is not None else list(range(rank - len(value.dims), rank))
    found = []
    for piece in draft.pieces(value):
        starts = [0] * rank
        for own, dim in enumerate(dims):
            starts[dim] = piece.starts[own]
        legs = tuple(replace(leg, dim=dims[leg.dim]) for leg in piece.legs)
        found.append(replace(piece, starts=tuple(starts), legs=legs, cut=frozenset(dims[dim] for dim in piece.cut)))
    return found


def alone(piece: Piece, value: Value) -> bool:
    """Whether what happens next may be written down at the neurons themselves: nothing else reads them."""
    neurons = piece.source
    return (
        value.sole and complete(piece) and isinstance(neurons, Neurons)
        and neurons.activation == "none" and neurons.role == "hidden"
        and neurons.kind not in ("positions", "one")  # constants serve the whole network
    )  # fmt: skip


@dataclass(eq=False)
class Combine(Event):
    """Values combined place by place; `kind` is `add`, `mul`, or the operator's name."""

    kind: str

    def emit(self, draft: Draft) -> Pieces:
        rank = len(self.output.dims)
        values = [value for value in self.inputs if not value.raw or value.given]
        every = [aligned(draft, value, rank) for value in values]
        places = places_only(every, rank)
        every = [flattened(pieces, self.output.shape, places) for pieces in every]
        return [self._one(draft, list(zip(combo, values, strict=True))) for combo in joined(every)]

    def _one(self, draft: Draft, combo: list[tuple[Piece, Value]]) -> Piece:
        neurons = [(p, v) for p, v in combo if isinstance(p.source, Neurons)]
        stored = [p for p, _ in combo if isinstance(p.source, Stored)]
        legs = [leg for p, _ in neurons for leg in p.legs]
        raw = [p for p, _ in combo if isinstance(p.source, Raw) and any(lies_on(leg, p) for leg in legs)]
        if self.kind == "add" and len(neurons) == 1 and not raw and alone(*neurons[0]):
            for piece in stored:
                settle(draft, piece, neurons[0][0], "bias")
            return neurons[0][0]
        if not stored and not raw and len(neurons) == 1:
            return neurons[0][0]
        if not neurons and len(stored) == 1 and len(combo) == 1:
            return stored[0]
        if self.kind == "mul" and len(neurons) == 1 and len(stored) == 1 and not raw:
            return scaled(draft, neurons[0][0], stored[0], "scale")
        if self.kind == "add" and not raw:
            return self._sum(draft, neurons, stored)
        return unite(draft, [p for p, _ in neurons] + stored + raw, self.kind)

    def _sum(self, draft: Draft, neurons: list[tuple[Piece, Value]], stored: list[Piece]) -> Piece:
        """Into the last group that nothing else reads, as a skip is; into new neurons where there is none."""
        legs = [leg for p, _ in neurons for leg in p.legs]
        fit = [p for p, v in neurons if alone(p, v) and covers(p, legs)]
        if not neurons:
            return unite(draft, stored, "add")
        if fit:
            target = max(fit, key=lambda p: draft.groups.index(p.source))  # type: ignore[arg-type]
            starts, cut = frame([p for p, _ in neurons])
            target = replace(target, starts=starts, cut=cut)
        else:
            target = unite(draft, [p for p, _ in neurons], "add")
        for piece, _ in neurons if fit else []:
            if piece.source is not target.source:
                tie(draft, piece, target, "skip")
        for piece in stored:
            settle(draft, piece, target, "bias")
        return target


def scaled(draft: Draft, piece: Piece, stored: Piece, kind: str) -> Piece:
    """New neurons: those of a piece, each times its number of a stored tensor."""
    free = [leg for leg in stored.legs if not leg.var.fixed]
    if not covers(stored, piece.legs) or not covers(piece, free):
        return unite(draft, [piece, stored], "mul")
    target = draft.group(piece.legs, kind, piece, stored)
    read(draft, piece, stored, target, kind)
    return target


@dataclass(eq=False)
class Activate(Event):
    """A function of every neuron by itself."""

    kind: str

    def emit(self, draft: Draft) -> Pieces:
        (value,) = self.inputs
        found = []
        for piece in draft.pieces(value):
            if isinstance(piece.source, Raw):
                found.append(piece)
                continue
            piece = grown(draft, piece, "constant")
            if not alone(piece, replace(value, sole=True) if isinstance(piece.source, Stored) else value):
                piece = unite(draft, [piece], "activation")
            assert isinstance(piece.source, Neurons)
            piece.source.activation = self.kind
            found.append(piece)
        return found


@dataclass(eq=False)
class Concat(Event):
    """Values one after another along a dimension."""

    dim: int

    def emit(self, draft: Draft) -> Pieces:
        dim, starts = self.dim, [0]
        for value in self.inputs:
            starts.append(starts[-1] + size(value.dims[dim]))
        every = [draft.pieces(value) for value in self.inputs]
        places = places_only(every, len(self.output.dims))
        if dim not in places or all(map(all_stored, every)):
            return [p for pieces, start in zip(every, starts, strict=False) for p in shifted(pieces, dim, start)]
        every = [flattened(p, value.shape, places) for p, value in zip(every, self.inputs, strict=True)]
        level = [
            [replace(p, starts=(*p.starts[:dim], 0, *p.starts[dim + 1 :]), cut=p.cut - {dim}) for p in ps]
            for ps in every
        ]
        return [self._merge(draft, combo) for combo in joined(level)]

    def _merge(self, draft: Draft, combo: Sequence[Piece]) -> Piece:
        """Along places: the same neurons at more places, read from several sources."""
        stored = [p for p in combo if isinstance(p.source, Stored)]
        rest = [p for p in combo if not isinstance(p.source, Stored)]
        target = unite(draft, rest, "concat")
        for piece in stored:
            settle(draft, piece, target, "token")
        return target


def counts(piece: Piece, leg: Leg) -> bool:
    """Whether neurons lie, or may have to lie, along a leg."""
    if isinstance(piece.source, Stored):
        return not leg.var.fixed
    return isinstance(piece.source, Neurons)


def places_only(every: Sequence[Pieces], rank: int) -> list[int]:
    """The dimensions along which no neurons lie in any of several values."""
    held = {leg.dim for pieces in every for piece in pieces for leg in piece.legs if counts(piece, leg)}
    return [dim for dim in range(rank) if dim not in held]


# -- verbs of rules ----------------------------------------------------------------------------------------------------


def combine(tape: Tape, kind: str, values: Sequence[Value]) -> Value:
    """Values combined place by place, broadcast as torch does."""
    return tape.put(Combine, values, broadcast(values), kind)


def activate(tape: Tape, kind: str, x: Value) -> Value:
    """A function of every number by itself."""
    return tape.put(Activate, (x,), x.dims, kind)


def concat(tape: Tape, values: Sequence[Value], dim: int) -> Value:
    """Values one after another along a dimension; their other dimensions are the same."""
    if len(values) == 1:
        return tape.same(values[0], values[0].dims)
    dim = values[0].place(dim)
    for value in values[1:]:
        for place, (one, other) in enumerate(zip(values[0].dims, value.dims, strict=True)):
            if place != dim:
                unify(one, other)
    dims: list[Term] = list(values[0].dims)
    dims[dim] = chained([value.dims[dim] for value in values])
    return tape.put(Concat, values, dims, dim)
