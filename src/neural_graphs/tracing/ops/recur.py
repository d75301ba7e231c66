"""Recurrence: neurons that hold what a network remembers, and what they become at the next step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import Dim, DimVar, size
from neural_graphs.tracing.lower import tie
from neural_graphs.tracing.ops.combine import aligned
from neural_graphs.tracing.tape import Op, Tape
from neural_graphs.tracing.values import TracedTensor
from neural_graphs.tracing.views import StridedView, Views, inserted, joined, shifted


@dataclass(eq=False)
class StateOp(Op):
    """Neurons that hold what a recurrent network remembers, along the last dimension of a stored tensor."""

    def lower(self, builder: LayoutBuilder) -> Views:
        (tensor,) = self.inputs
        onto, rank = len(tensor.dims) - 1, len(self.output.dims)
        found: dict[int, StridedView] = {}
        for view in builder.views(tensor):
            axes = [replace(axis, dim=rank - 1) for axis in view.along(onto)]
            start = view.starts[onto]
            under = StridedView(
                view.source, (*(0,) * (rank - 1), start), (), 0, frozenset({rank - 1} if onto in view.cut else ())
            )
            if start not in found:
                found[start] = builder.group(axes, "state", under)
        return list(found.values())


@dataclass(eq=False)
class RecurOp(Op):
    """The second value becomes the first at the next step."""

    def lower(self, builder: LayoutBuilder) -> Views:
        before, after = (aligned(builder, value, len(self.output.dims)) for value in self.inputs)
        for one, other in joined([before, after]):
            tie(builder, one, other, "recurrence")
        return after


@dataclass(eq=False)
class SeveralOp(Op):
    """Values that have nothing to do with each other, counted along a new first dimension."""

    def lower(self, builder: LayoutBuilder) -> Views:
        return [
            view for place, value in enumerate(self.inputs)
            for view in shifted(inserted(builder.views(value), 0), 0, place)
        ]  # fmt: skip


def several(tape: Tape, values: Sequence[TracedTensor]) -> TracedTensor:
    """Values of one shape along a new first dimension, each free to be relabelled in its own way."""
    if len(values) == 1:
        return tape.insert(values[0], 0)
    count = DimVar(len(values), fixed=True)
    dims: list[Dim] = [(count,)]
    for place in range(len(values[0].dims)):
        terms = tuple(value.dims[place] for value in values)
        var = DimVar(size(terms[0]))
        var.owner, var.by = count, terms
        dims.append((var,) if size(terms[0]) > 1 else ())
    return tape.put(SeveralOp, values, dims)
