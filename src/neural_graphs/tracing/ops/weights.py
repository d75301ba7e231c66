"""Further events: norms, look-ups, reductions, and what recurrent layers remember."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neural_graphs.tracing.builder import Draft
from neural_graphs.tracing.dims import Term, Var, fix, size, unify
from neural_graphs.tracing.lower import covers, enter, grown, plant, project, read, settle, tie
from neural_graphs.tracing.ops.combine import aligned
from neural_graphs.tracing.sources import Neurons, Raw, Stored
from neural_graphs.tracing.tape import Event, Tape
from neural_graphs.tracing.values import Value, fresh
from neural_graphs.tracing.views import Leg, Piece, Pieces, inserted, joined, shifted


@dataclass(eq=False)
class Norm(Event):
    """A norm: inputs are what is normalised, then the tensors named in `roles`, which lie on its dimensions `onto`."""

    roles: tuple[str, ...]
    onto: tuple[int, ...]

    def emit(self, draft: Draft) -> Pieces:
        rank = len(self.output.dims)
        every = [aligned(draft, self.inputs[0], rank)]
        every += [aligned(draft, value, rank, self.onto) for value in self.inputs[1:]]
        return [self._one(draft, *combo) for combo in joined(every)]

    def _one(self, draft: Draft, piece: Piece, *tensors: Piece) -> Piece:
        if isinstance(piece.source, Raw):
            legs = [leg for leg in piece.legs if leg.dim in self.onto]
            piece = enter(draft, piece, legs)
        piece = grown(draft, piece, "constant")
        target = draft.group(piece.legs, "norm", piece, *tensors)
        for role, stored in zip(self.roles, tensors, strict=True):
            if role == "bias":
                settle(draft, stored, target, "bias")
            elif isinstance(stored.source, Stored) and covers(stored, piece.legs):
                read(draft, piece, stored, target, role)
            else:
                own = [leg for leg in stored.legs if covers(target, [leg])]
                tie(draft, plant(draft, stored, own, role) if isinstance(stored.source, Stored) else stored, target)
        if not any(role != "bias" and covers(s, piece.legs) for role, s in zip(self.roles, tensors, strict=True)):
            tie(draft, piece, target)
        return target


@dataclass(eq=False)
class Lookup(Event):
    """Rows of a table: inputs are the table and what chooses among its rows, dimension 0."""

    def emit(self, draft: Draft) -> Pieces:
        table, index = self.inputs
        lead = len(index.dims)
        found = []
        for piece in draft.pieces(table):
            rows = [leg for leg in piece.legs if leg.dim == 0]
            rest = [replace(leg, dim=leg.dim + lead - 1) for leg in piece.legs if leg.dim]
            place = Piece(piece.source, (*(0,) * lead, *piece.starts[1:]), tuple(rest), piece.offset,
                          frozenset(dim + lead - 1 for dim in piece.cut if dim))  # fmt: skip
            if isinstance(piece.source, Neurons):
                target = draft.group(rest, "lookup", place)
                own = Piece(piece.source, place.starts, (*rest, *(replace(leg, dim=-1) for leg in rows)), piece.offset)
                tie(draft, own, target)
            else:
                constant, strides = draft.fixture(rows, index.given, "vocabulary" if index.given else "")
                source = Piece(constant, place.starts, tuple(Leg(-1, leg.var, leg.step, strides[leg]) for leg in rows))
                target = draft.group(rest, "embedding", place)
                numbers = replace(place, legs=(*rest, *(replace(leg, dim=-1) for leg in rows)))
                read(draft, source, numbers, target, "embedding")
            found.append(target)
        return found


@dataclass(eq=False)
class State(Event):
    """Neurons that hold what a recurrent network remembers, along the last dimension of a stored tensor."""

    def emit(self, draft: Draft) -> Pieces:
        (tensor,) = self.inputs
        onto, rank = len(tensor.dims) - 1, len(self.output.dims)
        found: dict[int, Piece] = {}
        for piece in draft.pieces(tensor):
            legs = [replace(leg, dim=rank - 1) for leg in piece.along(onto)]
            start = piece.starts[onto]
            under = Piece(
                piece.source, (*(0,) * (rank - 1), start), (), 0, frozenset({rank - 1} if onto in piece.cut else ())
            )
            if start not in found:
                found[start] = draft.group(legs, "state", under)
        return list(found.values())


@dataclass(eq=False)
class Several(Event):
    """Values that have nothing to do with each other, counted along a new first dimension."""

    def emit(self, draft: Draft) -> Pieces:
        return [
            piece for place, value in enumerate(self.inputs)
            for piece in shifted(inserted(draft.pieces(value), 0), 0, place)
        ]  # fmt: skip


@dataclass(eq=False)
class Recur(Event):
    """The second value becomes the first at the next step."""

    def emit(self, draft: Draft) -> Pieces:
        before, after = (aligned(draft, value, len(self.output.dims)) for value in self.inputs)
        for one, other in joined([before, after]):
            tie(draft, one, other, "recurrence")
        return after


@dataclass(eq=False)
class Reduce(Event):
    """A sum, mean or maximum over the dimensions `over`."""

    over: tuple[int, ...]

    def emit(self, draft: Draft) -> Pieces:
        return project(draft, draft.pieces(self.inputs[0]), self.over, "pool")


# -- verbs of rules ----------------------------------------------------------------------------------------------------


def norm(tape: Tape, x: Value, onto: Sequence[int], **tensors: Value | None) -> Value:
    """`x` normalised; the tensors, by role (`weight`, `bias`, `mean`, `variance`), lie on its dimensions `onto`."""
    given = {role: value for role, value in tensors.items() if value is not None}
    for value in given.values():
        for own, dim in enumerate(onto):
            unify(x.dims[dim], value.dims[own])
    roles = tuple("norm" if role == "weight" else role for role in given)
    return tape.put(Norm, (x, *given.values()), x.dims, roles, tuple(onto))


def lookup(tape: Tape, table: Value, index: Value) -> Value:
    """Rows of a table, whose order is fixed by that."""
    fix(table.dims[0])
    return tape.put(Lookup, (table, index), (*index.dims, *table.dims[1:]))


def resize(tape: Tape, x: Value, shape: Sequence[int], lead: int) -> Value:
    """Other places along all dimensions from `lead` on, each made of its neighbours: what lies there has an order."""
    for term in x.dims[lead:]:
        fix(term)
    return _over(tape, x, (*x.dims[:lead], *fresh(shape[lead:], fixed=True)), tuple(range(lead, len(shape))))


def pick(tape: Tape, x: Value, dims: Sequence[Term], dim: int) -> Value:
    """Some places of a dimension, which is fixed; `dims` are those of the answer."""
    return _over(tape, x, dims, (dim,))


def _over(tape: Tape, x: Value, dims: Sequence[Term], over: tuple[int, ...]) -> Value:
    found = tape.put(Reduce, (x,), dims, over)
    found.sole = x.sole
    return found


def several(tape: Tape, values: Sequence[Value]) -> Value:
    """Values of one shape along a new first dimension, each free to be relabelled in its own way."""
    if len(values) == 1:
        return tape.insert(values[0], 0)
    count = Var(len(values), fixed=True)
    dims: list[Term] = [(count,)]
    for place in range(len(values[0].dims)):
        terms = tuple(value.dims[place] for value in values)
        var = Var(size(terms[0]))
        var.owner, var.by = count, terms
        dims.append((var,) if size(terms[0]) > 1 else ())
    return tape.put(Several, values, dims)


def reduce(tape: Tape, x: Value, dims: Sequence[int], keep: bool) -> Value:
    """A sum, mean or maximum over some dimensions."""
    over = {x.place(dim) for dim in dims}
    found = _over(tape, x, [() if dim in over else term for dim, term in enumerate(x.dims)], tuple(over))
    for dim in sorted(over, reverse=True):
        found = found if keep else tape.drop(found, dim)
    return found
