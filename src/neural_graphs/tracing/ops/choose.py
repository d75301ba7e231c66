"""Choices: the largest of some neurons, and numbers that say which ones they were.

Which expert was chosen is a number, and another one once experts change places. So such numbers may be used to find
what is at their place, where the places are the same ones; whatever else is made of them fixes the places.

Example:
    The two largest of five scores: all five may change places, and the two come in the order of their size.

    >>> from neural_graphs.tracing.values import fresh
    >>> tape, scores = Tape(), TracedTensor(fresh((8, 5)))
    >>> largest, which = choose(tape, scores, 1, (8, 2))
    >>> largest.dims[1], which.choice.places == scores.dims[1]
    ((2!,), True)
    >>> chosen = member(tape, which)
    >>> chosen.shape, chosen.dims[2] == scores.dims[1]
    ((8, 2, 5), True)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from neural_graphs.errors import LayoutError
from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import new
from neural_graphs.tracing.lower import project, unite
from neural_graphs.tracing.ops.combine import aligned, suffer
from neural_graphs.tracing.ops.contract import placed
from neural_graphs.tracing.ops.reduce import pick
from neural_graphs.tracing.sources import Unknown
from neural_graphs.tracing.tape import Op, Tape
from neural_graphs.tracing.values import Choice, TracedTensor
from neural_graphs.tracing.views import Views, joined


@dataclass(eq=False)
class MemberOp(Op):
    """Whether a place was chosen: neurons along the choices and all places, tied to both. Inputs are which, and among
    what, whose dimension `dim` are the places."""

    dim: int

    def lower(self, builder: LayoutBuilder) -> Views:
        which, among = self.inputs
        rank = len(which.dims)
        labels = ["place" if dim == self.dim else "" for dim in range(len(among.dims))]
        rest = [dim for dim in range(len(among.dims)) if dim != self.dim]
        choices = aligned(builder, which, rank + 1, range(rank))
        places = project(builder, builder.views(among), rest, "pool")
        space = [*map(str, range(rank)), "place"]
        every = [choices, [placed(view, labels, space) for view in places]]
        return [unite(builder, combo, "choice") for combo in joined(every)]


def choose(tape: Tape, x: TracedTensor, dim: int, shape: Sequence[int]) -> tuple[TracedTensor, TracedTensor]:
    """Some values along a dimension, in the order of their size, and which they are; `shape` is that of the answer."""
    dim, x = x.place(dim), suffer(tape, x, Unknown())
    dims = (*x.dims[:dim], new(shape[dim], fixed=True), *x.dims[dim + 1 :])
    values, which = pick(tape, x, dims, dim), pick(tape, x, dims, dim)
    which.choice = None if x.raw else Choice(x, dim)
    return values, which


def member(tape: Tape, which: TracedTensor) -> TracedTensor:
    """1 at the places that numbers name, 0 elsewhere, along a new last dimension."""
    if which.choice is None:
        raise LayoutError(
            "numbers that parameters decide are read as places, which has no rule; choose them by topk, sort or argmax"
        )
    choice = which.choice
    return tape.put(MemberOp, (which, choice.among), (*which.dims, choice.places), choice.dim)
