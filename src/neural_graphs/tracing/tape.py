"""The tape of a trace: what rules say about operators, recorded first and made into groups and blocks afterwards.

First every operator unifies dimensions, so that at the end it is known what is free to permute. Only then do the ops
on the tape make groups and blocks, in the same order.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from neural_graphs.tracing import views as moves
from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import Dim, DimVar, apart, flat, freeze, new, size, split
from neural_graphs.tracing.values import DimLog, TracedTensor, fresh, reshaped
from neural_graphs.tracing.views import Views


@dataclass(eq=False)
class Op(ABC):
    """Something that happened to values, and where in the module; `lower` makes its groups and blocks."""

    name: str
    inputs: tuple[TracedTensor, ...]
    output: TracedTensor

    @abstractmethod
    def lower(self, builder: LayoutBuilder) -> Views:
        """The views of the output."""


@dataclass(eq=False)
class ViewOp(Op):
    """The same numbers in another arrangement: no group is made."""

    move: Callable[[Views], Views]

    def lower(self, builder: LayoutBuilder) -> Views:
        return self.move(builder.views(self.inputs[0]))


@dataclass
class Tape:
    """Ops so far, the record of tensors, and the name of the module that is being traced through."""

    ops: list[Op] = field(default_factory=list)
    record: DimLog = field(default_factory=DimLog)
    name: str = ""

    def put(
        self, kind: type[Op], inputs: Sequence[TracedTensor], dims: Sequence[Dim], *details: object
    ) -> TracedTensor:
        """Record an op; its output is raw where all inputs are."""
        raw, given = all(value.raw for value in inputs), any(value.given for value in inputs)
        output = TracedTensor(
            tuple(dims), raw, given, sole=True
        )  # as far as the rule knows; the tracer knows who reads it
        if not output.raw:
            self.ops.append(kind(self.name, tuple(inputs), output, *details))
        return output

    def constant(self, shape: Sequence[int], given: bool = False) -> TracedTensor:
        """A tensor that no parameter has touched, all dimensions fixed."""
        return TracedTensor(fresh(shape, fixed=True), raw=True, given=given)

    def uniform(self, shape: Sequence[int]) -> TracedTensor:
        """A tensor of one number everywhere: its dimensions may be relabelled."""
        return TracedTensor(fresh(shape), raw=True)

    def view(self, x: TracedTensor, dims: Sequence[Dim], move: Callable[[Views], Views]) -> TracedTensor:
        """Record a view."""
        found = self.put(ViewOp, (x,), dims, move)
        found.sole, found.choice = x.sole, x.choice
        return found

    # -- views -------------------------------------------------------------------------------------------------------

    def reshape(self, x: TracedTensor, shape: Sequence[int]) -> TracedTensor:
        """Row by row into another shape."""
        old, now = x.shape, tuple(shape)
        return self.view(x, reshaped(x.dims, now), lambda p: moves.reshaped(p, old, now))

    def permute(self, x: TracedTensor, order: Sequence[int]) -> TracedTensor:
        """Dimensions in another order."""
        places = [x.place(dim) for dim in order]
        return self.view(x, [x.dims[dim] for dim in places], lambda p: moves.permuted(p, places))

    def transpose(self, x: TracedTensor, one: int, other: int) -> TracedTensor:
        """Two dimensions exchanged."""
        order = list(range(len(x.dims)))
        order[one], order[other] = order[other], order[one]
        return self.permute(x, order)

    def insert(self, x: TracedTensor, dim: int) -> TracedTensor:
        """A dimension of one place more."""
        dim %= len(x.dims) + 1
        return self.view(x, (*x.dims[:dim], (), *x.dims[dim:]), lambda p: moves.inserted(p, dim))

    def parts(self, x: TracedTensor, dim: int, ends: Sequence[int]) -> list[TracedTensor]:
        """Consecutive parts of a dimension."""
        dim, starts = x.place(dim), (0, *ends[:-1])
        terms = split(x.dims[dim], ends)
        return [self._part(x, dim, *each) for each in zip(terms, starts, ends, strict=True)]

    def unpack(self, x: TracedTensor, dim: int, ends: Sequence[int]) -> list[TracedTensor]:
        """Consecutive parts of a dimension. Where a tensor packs several, its others may be different in each part."""
        owner = flat(x.dims[x.place(dim)])
        split(owner, ends)
        if x.stored and len(owner) == 1 and owner[0].chain is not None:
            for var in {var for each in x.dims for var in flat(each)} - {*owner}:
                apart(var, owner[0], self._loose(_at_places(var, owner) or ((var,),), owner[0]))
        return self.parts(x, dim, ends)

    def _loose(self, dims: Iterable[Dim], owner: DimVar) -> set[DimVar]:
        """Variables of these dims that never occur without their owner."""
        found = {var for dim in dims for var in flat(dim)}
        return {v for v in found if v.plain and not v.fixed and self.record.varies(v, owner)}

    def _part(self, x: TracedTensor, dim: int, term: Dim, start: int, stop: int) -> TracedTensor:
        rest = [self._at(x.dims[dim], each, start) for each in (*x.dims[:dim], *x.dims[dim + 1 :])]
        dims = (*rest[:dim], term, *rest[dim:])
        return self.view(x, dims, lambda p: moves.sliced(p, dim, start, stop))

    def slice(self, x: TracedTensor, dim: int, start: int, stop: int) -> TracedTensor:
        """Places `start` to `stop` of a dimension."""
        dim = x.place(dim)
        if start == 0 and stop == x.shape[dim]:
            return x
        ends = sorted({end for end in (start, stop, x.shape[dim]) if end > 0})
        return self.unpack(x, dim, ends)[0 if start == 0 else 1]

    def stride(self, x: TracedTensor, dim: int, start: int, step: int, count: int) -> TracedTensor:
        """Every `step`-th place of a dimension, which is fixed by that."""
        dim = x.place(dim)
        freeze(x.dims[dim])
        whole, term = x.dims[dim], new(count, fixed=True)
        if count * step == x.shape[dim]:
            reshaped((whole,), (count, step))
            term = flat(whole)[: len(flat(whole)) - 1] if flat(whole)[-1].size == step else term
        dims = (*x.dims[:dim], term, *x.dims[dim + 1 :])
        return self.view(x, dims, lambda p: moves.strided(p, dim, start, step))

    def select(self, x: TracedTensor, dim: int, place: int) -> TracedTensor:
        """One place of a dimension. What was packed along it becomes something else at every place of it."""
        dim = x.place(dim)
        place %= x.shape[dim]
        rest = (*x.dims[:dim], *x.dims[dim + 1 :])
        return self.view(x, self._chosen(x.dims[dim], rest, place), lambda p: moves.selected(p, dim, place))

    def _chosen(self, packed: Dim, rest: Sequence[Dim], place: int) -> list[Dim]:
        term = flat(packed)
        if len(term) != 1 or term[0].chain is not None or term[0].by is not None:
            freeze(term)
            return list(rest)
        (owner,) = term
        loose = self._loose(rest, owner)
        for var in loose:
            apart(var, owner, loose)
        owner.fixed = True
        return [self._at((owner,), dim, place) for dim in rest]

    def _at(self, owner: Dim, dim: Dim, place: int) -> Dim:
        """What a dimension is at one place of what it depends on."""
        found: list[DimVar] = []
        for var in flat(dim):
            by = _at_places(var, flat(owner))
            found += (var,) if by is None else flat(by[place])
        return tuple(found)

    def expand(self, x: TracedTensor, shape: Sequence[int]) -> TracedTensor:
        """Repeated along dimensions of one place, and along new ones in front."""
        lead = len(shape) - len(x.dims)
        dims = [
            x.dims[place - lead] if place >= lead and size(x.dims[place - lead]) == count else new(count)
            for place, count in enumerate(shape)
        ]

        def move(found: Views) -> Views:
            for _ in range(lead):
                found = moves.inserted(found, 0)
            return found

        return self.view(x, dims, move)

    def same(self, x: TracedTensor, dims: Sequence[Dim]) -> TracedTensor:
        """The same neurons, along dimensions whose places are others (a pool, an interpolation)."""
        return self.view(x, dims, lambda p: p)

    def pad(self, x: TracedTensor, dim: int, before: int, count: int) -> TracedTensor:
        """A fixed dimension with more places, or fewer, `before` of them in front."""
        dims = (*x.dims[:dim], new(count, fixed=True), *x.dims[dim + 1 :])
        return self.view(x, dims, lambda p: moves.padded(p, dim, before))

    def drop(self, x: TracedTensor, dim: int) -> TracedTensor:
        """Without a dimension of one place."""
        return self.select(x, dim, 0)


def _at_places(var: DimVar, owner: Dim) -> tuple[Dim, ...] | None:
    """What a variable is at every place of this owner; None where it depends on another one, or on none."""
    return var.by if var.by and var.owner and flat((var.owner,)) == owner else None
