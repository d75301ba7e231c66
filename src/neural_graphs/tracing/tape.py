"""The tape of a trace: what rules say about operators, recorded first and made into groups and links afterwards.

First every operator unifies dimensions, so that at the end it is known what is free to permute. Only then do the events
on the tape make groups and blocks, in the same order.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from neural_graphs.tracing import views
from neural_graphs.tracing.builder import Draft
from neural_graphs.tracing.dims import Term, Var, apart, fix, flat, new, size, split
from neural_graphs.tracing.values import Record, Value, fresh, reshaped
from neural_graphs.tracing.views import Pieces


@dataclass(eq=False)
class Event(ABC):
    """Something that happened to values, and where in the module; `emit` makes its groups and links."""

    name: str
    inputs: tuple[Value, ...]
    output: Value

    @abstractmethod
    def emit(self, draft: Draft) -> Pieces:
        """The pieces of the output."""


@dataclass(eq=False)
class View(Event):
    """The same numbers in another arrangement: no group is made."""

    move: Callable[[Pieces], Pieces]

    def emit(self, draft: Draft) -> Pieces:
        return self.move(draft.pieces(self.inputs[0]))


@dataclass
class Tape:
    """Events so far, the record of tensors, and the name of the module that is being traced through."""

    events: list[Event] = field(default_factory=list)
    record: Record = field(default_factory=Record)
    name: str = ""

    def put(self, kind: type[Event], inputs: Sequence[Value], dims: Sequence[Term], *details: object) -> Value:
        """Record an event; its output is raw where all inputs are."""
        raw, given = all(value.raw for value in inputs), any(value.given for value in inputs)
        output = Value(tuple(dims), raw, given, sole=True)  # as far as the rule knows; the walker knows who reads it
        if not output.raw:
            self.events.append(kind(self.name, tuple(inputs), output, *details))
        return output

    def constant(self, shape: Sequence[int], given: bool = False) -> Value:
        """A tensor that no parameter has touched, all dimensions fixed."""
        return Value(fresh(shape, fixed=True), raw=True, given=given)

    def uniform(self, shape: Sequence[int]) -> Value:
        """A tensor of one number everywhere: its dimensions may be relabelled."""
        return Value(fresh(shape), raw=True)

    def view(self, x: Value, dims: Sequence[Term], move: Callable[[Pieces], Pieces]) -> Value:
        """Record a view."""
        found = self.put(View, (x,), dims, move)
        found.sole = x.sole
        return found

    # -- views -------------------------------------------------------------------------------------------------------

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Row by row into another shape."""
        old, now = x.shape, tuple(shape)
        return self.view(x, reshaped(x.dims, now), lambda p: views.reshaped(p, old, now))

    def permute(self, x: Value, order: Sequence[int]) -> Value:
        """Dimensions in another order."""
        places = [x.place(dim) for dim in order]
        return self.view(x, [x.dims[dim] for dim in places], lambda p: views.permuted(p, places))

    def transpose(self, x: Value, one: int, other: int) -> Value:
        """Two dimensions exchanged."""
        order = list(range(len(x.dims)))
        order[one], order[other] = order[other], order[one]
        return self.permute(x, order)

    def insert(self, x: Value, dim: int) -> Value:
        """A dimension of one place more."""
        dim %= len(x.dims) + 1
        return self.view(x, (*x.dims[:dim], (), *x.dims[dim:]), lambda p: views.inserted(p, dim))

    def parts(self, x: Value, dim: int, ends: Sequence[int]) -> list[Value]:
        """Consecutive parts of a dimension."""
        dim, starts = x.place(dim), (0, *ends[:-1])
        terms = split(x.dims[dim], ends)
        return [self._part(x, dim, *each) for each in zip(terms, starts, ends, strict=True)]

    def _part(self, x: Value, dim: int, term: Term, start: int, stop: int) -> Value:
        dims = (*x.dims[:dim], term, *x.dims[dim + 1 :])
        return self.view(x, dims, lambda p: views.sliced(p, dim, start, stop))

    def slice(self, x: Value, dim: int, start: int, stop: int) -> Value:
        """Places `start` to `stop` of a dimension."""
        dim = x.place(dim)
        if start == 0 and stop == x.shape[dim]:
            return x
        ends = sorted({end for end in (start, stop, x.shape[dim]) if end > 0})
        return self.parts(x, dim, ends)[0 if start == 0 else 1]

    def stride(self, x: Value, dim: int, start: int, step: int, count: int) -> Value:
        """Every `step`-th place of a dimension, which is fixed by that."""
        dim = x.place(dim)
        fix(x.dims[dim])
        whole, term = x.dims[dim], new(count, fixed=True)
        if count * step == x.shape[dim]:
            reshaped((whole,), (count, step))
            term = flat(whole)[: len(flat(whole)) - 1] if flat(whole)[-1].size == step else term
        dims = (*x.dims[:dim], term, *x.dims[dim + 1 :])
        return self.view(x, dims, lambda p: views.strided(p, dim, start, step))

    def select(self, x: Value, dim: int, place: int) -> Value:
        """One place of a dimension. What was packed along it becomes something else at every place of it."""
        dim = x.place(dim)
        place %= x.shape[dim]
        rest = (*x.dims[:dim], *x.dims[dim + 1 :])
        return self.view(
            x, self._unpack(x.dims[dim], rest, place), lambda p: views.selected(p, dim, place)
        )  # fmt: skip

    def _unpack(self, packed: Term, rest: Sequence[Term], place: int) -> list[Term]:
        term = flat(packed)
        if len(term) != 1 or term[0].chain is not None or term[0].by is not None:
            fix(term)
            return list(rest)
        (owner,) = term
        loose = {v for dim in rest for v in flat(dim) if v.plain and not v.fixed and self.record.varies(v, owner)}
        for var in loose:
            apart(var, owner)
        owner.fixed = True

        def at_place(var: Var) -> Term:
            return flat(var.by[place]) if var.by and var.owner and flat((var.owner,)) == (owner,) else (var,)

        return [tuple(w for var in flat(dim) for w in at_place(var)) for dim in rest]

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        """Repeated along dimensions of one place, and along new ones in front."""
        lead = len(shape) - len(x.dims)
        dims = [
            x.dims[place - lead] if place >= lead and size(x.dims[place - lead]) == count else new(count)
            for place, count in enumerate(shape)
        ]

        def move(found: Pieces) -> Pieces:
            for _ in range(lead):
                found = views.inserted(found, 0)
            return found

        return self.view(x, dims, move)

    def same(self, x: Value, dims: Sequence[Term]) -> Value:
        """The same neurons, along dimensions whose places are others (a pool, an interpolation)."""
        return self.view(x, dims, lambda p: p)

    def pad(self, x: Value, dim: int, before: int, count: int) -> Value:
        """A fixed dimension with more places, or fewer, `before` of them in front."""
        dims = (*x.dims[:dim], new(count, fixed=True), *x.dims[dim + 1 :])
        return self.view(x, dims, lambda p: views.padded(p, dim, before))

    def drop(self, x: Value, dim: int) -> Value:
        """Without a dimension of one place."""
        return self.select(x, dim, 0)
