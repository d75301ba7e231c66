"""Norms: what is normalised, and the tensors that scale and shift it."""

from collections.abc import Sequence
from dataclasses import dataclass

from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import unify
from neural_graphs.tracing.lower import covers, enter, grown, plant, read, settle, tie
from neural_graphs.tracing.ops.combine import aligned
from neural_graphs.tracing.sources import ParamRef, Raw
from neural_graphs.tracing.tape import Op, Tape
from neural_graphs.tracing.values import TracedTensor
from neural_graphs.tracing.views import StridedView, Views, joined


@dataclass(eq=False)
class NormOp(Op):
    """A norm: inputs are what is normalised, then the tensors named in `roles`, which lie on its dimensions `onto`."""

    roles: tuple[str, ...]
    onto: tuple[int, ...]

    def lower(self, builder: LayoutBuilder) -> Views:
        rank = len(self.output.dims)
        every = [aligned(builder, self.inputs[0], rank)]
        every += [aligned(builder, value, rank, self.onto) for value in self.inputs[1:]]
        return [self._one(builder, *combo) for combo in joined(every)]

    def _one(self, builder: LayoutBuilder, view: StridedView, *tensors: StridedView) -> StridedView:
        if isinstance(view.source, Raw):
            axes = [axis for axis in view.axes if axis.dim in self.onto]
            view = enter(builder, view, axes)
        view = grown(builder, view, "constant")
        target = builder.group(view.axes, "norm", view, *tensors)
        for role, stored in zip(self.roles, tensors, strict=True):
            if role == "bias":
                settle(builder, stored, target, "bias")
            elif isinstance(stored.source, ParamRef) and covers(stored, view.axes):
                read(builder, view, stored, target, role)
            else:
                own = [axis for axis in stored.axes if covers(target, [axis])]
                tie(
                    builder,
                    plant(builder, stored, own, role) if isinstance(stored.source, ParamRef) else stored,
                    target,
                )
        if not any(role != "bias" and covers(s, view.axes) for role, s in zip(self.roles, tensors, strict=True)):
            tie(builder, view, target)
        return target


def norm(tape: Tape, x: TracedTensor, onto: Sequence[int], **tensors: TracedTensor | None) -> TracedTensor:
    """`x` normalised; the tensors, by role (`weight`, `bias`, `mean`, `variance`), lie on its dimensions `onto`."""
    given = {role: value for role, value in tensors.items() if value is not None}
    for value in given.values():
        for own, dim in enumerate(onto):
            unify(x.dims[dim], value.dims[own])
    roles = tuple("norm" if role == "weight" else role for role in given)
    return tape.put(NormOp, (x, *given.values()), x.dims, roles, tuple(onto))
