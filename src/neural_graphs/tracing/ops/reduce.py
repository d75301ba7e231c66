"""Reductions: sums, means and maxima over dimensions, and whatever chooses or blends places of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import Dim, freeze
from neural_graphs.tracing.lower import project
from neural_graphs.tracing.tape import Op, Tape
from neural_graphs.tracing.values import TracedTensor, fresh
from neural_graphs.tracing.views import Views


@dataclass(eq=False)
class ReduceOp(Op):
    """A sum, mean or maximum over the dimensions `over`."""

    over: tuple[int, ...]

    def lower(self, builder: LayoutBuilder) -> Views:
        return project(builder, builder.views(self.inputs[0]), self.over, "pool")


def reduce(tape: Tape, x: TracedTensor, dims: Sequence[int], keep: bool) -> TracedTensor:
    """A sum, mean or maximum over some dimensions."""
    over = {x.place(dim) for dim in dims}
    found = _over(tape, x, [() if dim in over else term for dim, term in enumerate(x.dims)], tuple(over))
    for dim in sorted(over, reverse=True):
        found = found if keep else tape.drop(found, dim)
    return found


def resize(tape: Tape, x: TracedTensor, shape: Sequence[int], lead: int) -> TracedTensor:
    """Other places along all dimensions from `lead` on, each made of its neighbours: what lies there has an order."""
    for term in x.dims[lead:]:
        freeze(term)
    return _over(tape, x, (*x.dims[:lead], *fresh(shape[lead:], fixed=True)), tuple(range(lead, len(shape))))


def pick(tape: Tape, x: TracedTensor, dims: Sequence[Dim], dim: int) -> TracedTensor:
    """Some places of a dimension, which is fixed; `dims` are those of the answer."""
    return _over(tape, x, dims, (dim,))


def _over(tape: Tape, x: TracedTensor, dims: Sequence[Dim], over: tuple[int, ...]) -> TracedTensor:
    found = tape.put(ReduceOp, (x,), dims, over)
    found.sole = x.sole
    return found
