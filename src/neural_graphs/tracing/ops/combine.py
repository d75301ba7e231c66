"""Ops that bring values together: sums, products, concatenations; and activations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import Dim, chained, size, unify
from neural_graphs.tracing.lower import all_params, complete, covers, enter, grown, lies_on, read, settle, tie, unite
from neural_graphs.tracing.sources import Effect, GroupBuilder, ParamRef, Raw, Unknown
from neural_graphs.tracing.tape import Op, Tape
from neural_graphs.tracing.values import TracedTensor, broadcast
from neural_graphs.tracing.views import StridedView, ViewAxis, Views, flattened, frame, joined, shifted


def aligned(builder: LayoutBuilder, value: TracedTensor, rank: int, onto: Sequence[int] | None = None) -> Views:
    """The views of a value as part of one with `rank` dimensions: the last ones, or those listed in `onto`."""
    dims = list(onto) if onto is not None else list(range(rank - len(value.dims), rank))
    found = []
    for view in builder.views(value):
        starts = [0] * rank
        for own, dim in enumerate(dims):
            starts[dim] = view.starts[own]
        axes = tuple(replace(axis, dim=dims[axis.dim]) for axis in view.axes)
        found.append(replace(view, starts=tuple(starts), axes=axes, cut=frozenset(dims[dim] for dim in view.cut)))
    return found


def alone(view: StridedView, value: TracedTensor) -> bool:
    """Whether what happens next may be written down at the neurons themselves: nothing else reads them."""
    neurons = view.source
    return (
        value.sole and complete(view) and isinstance(neurons, GroupBuilder)
        and neurons.activation == "none" and neurons.role == "hidden"
        and neurons.kind not in ("positions", "one")  # constants serve the whole network
    )  # fmt: skip


@dataclass(eq=False)
class CombineOp(Op):
    """Values combined place by place; `kind` is `add`, `mul`, or the operator's name."""

    kind: str

    def lower(self, builder: LayoutBuilder) -> Views:
        rank = len(self.output.dims)
        values = [value for value in self.inputs if not value.raw or value.given]
        every = [aligned(builder, value, rank) for value in values]
        places = places_only(every, rank)
        every = [flattened(views, self.output.shape, places) for views in every]
        return [self._one(builder, list(zip(combo, values, strict=True))) for combo in joined(every)]

    def _one(self, builder: LayoutBuilder, combo: list[tuple[StridedView, TracedTensor]]) -> StridedView:
        stored = [p for p, _ in combo if isinstance(p.source, ParamRef)]
        if not any(isinstance(p.source, GroupBuilder) for p, _ in combo):
            combo = [(entered(builder, p, stored), v) for p, v in combo]
        neurons = [(p, v) for p, v in combo if isinstance(p.source, GroupBuilder)]
        axes = [axis for p, _ in neurons for axis in p.axes]
        spots = {axis.spot for axis in axes}
        every = [p for p, _ in combo if isinstance(p.source, Raw)]
        raw = [p for p in every if any(lies_on(axis, p) for axis in axes)]
        if self.kind != "mul" and (len(raw) < len(every) or len(combo) < len(self.inputs)):  # and without a trace
            for view, _ in neurons:
                view.source.suffer(Unknown(), alone=False)  # type: ignore[union-attr]
        wide = any(not axis.var.fixed and axis.spot not in spots for p in stored for axis in p.axes)
        if neurons and wide:  # every neuron with every one of these numbers
            return unite(builder, [p for p, _ in neurons] + stored + raw, self.kind)
        if self.kind == "add" and len(neurons) == 1 and not raw and alone(*neurons[0]):
            for view in stored:
                settle(builder, view, neurons[0][0], "bias")
            return neurons[0][0]
        if not stored and not raw and len(neurons) == 1:
            return neurons[0][0]
        if not neurons and len(stored) == 1 and len(combo) == 1:
            return stored[0]
        if self.kind == "mul" and len(neurons) == 1 and len(stored) == 1 and not raw:
            return scaled(builder, neurons[0][0], stored[0], "scale")
        if self.kind == "add" and not raw:
            return self._sum(builder, neurons, stored)
        return unite(builder, [p for p, _ in neurons] + stored + raw, self.kind)

    def _sum(
        self, builder: LayoutBuilder, neurons: list[tuple[StridedView, TracedTensor]], stored: list[StridedView]
    ) -> StridedView:
        """Into the last group that nothing else reads, as a skip is; into new neurons where there is none."""
        axes = [axis for p, _ in neurons for axis in p.axes]
        fit = [p for p, v in neurons if alone(p, v) and covers(p, axes)]
        if not neurons:
            return unite(builder, stored, "add")
        if fit:
            target = max(fit, key=lambda p: builder.groups.index(p.source))  # type: ignore[arg-type]
            starts, cut = frame([p for p, _ in neurons])
            target = replace(target, starts=starts, cut=cut)
        else:
            target = unite(builder, [p for p, _ in neurons], "add")
        for view, _ in neurons if fit else []:
            if view.source is not target.source:
                tie(builder, view, target, "skip")
        for view in stored:
            settle(builder, view, target, "bias")
        return target


def entered(builder: LayoutBuilder, view: StridedView, stored: Sequence[StridedView]) -> StridedView:
    """An input as neurons, where numbers of tensors lie along one of its dimensions."""
    axes = {axis.spot: axis for each in stored for axis in each.axes if lies_on(axis, view)}
    given = isinstance(view.source, Raw) and view.source.given
    return enter(builder, view, list(axes.values())) if given and len({dim for dim, _ in axes}) == 1 else view


def scaled(builder: LayoutBuilder, view: StridedView, stored: StridedView, kind: str) -> StridedView:
    """New neurons: those of a view, each times its number of a stored tensor."""
    free = [axis for axis in stored.axes if not axis.var.fixed]
    if not covers(stored, view.axes) or not covers(view, free):
        return unite(builder, [view, stored], "mul")
    target = builder.group(view.axes, kind, view, stored)
    read(builder, view, stored, target, kind)
    return target


@dataclass(eq=False)
class ActivateOp(Op):
    """A function of every neuron by itself."""

    kind: str

    def lower(self, builder: LayoutBuilder) -> Views:
        (value,) = self.inputs
        found = []
        for view in builder.views(value):
            if isinstance(view.source, Raw):
                found.append(view)
                continue
            view = grown(builder, view, "constant")
            if not alone(view, replace(value, sole=True) if isinstance(view.source, ParamRef) else value):
                view = unite(builder, [view], "activation")
            assert isinstance(view.source, GroupBuilder)
            view.source.activate(self.kind)
            found.append(view)
        return found


@dataclass(eq=False)
class EffectOp(Op):
    """Something that makes no neurons: a number times values or added to them, a pool over places."""

    effect: Effect

    def lower(self, builder: LayoutBuilder) -> Views:
        (value,) = self.inputs
        for view in builder.views(value):
            if isinstance(view.source, GroupBuilder):
                view.source.suffer(self.effect, value.sole and complete(view))
        return builder.views(value)


@dataclass(eq=False)
class ConcatOp(Op):
    """Values one after another along a dimension."""

    dim: int

    def lower(self, builder: LayoutBuilder) -> Views:
        dim, starts = self.dim, [0]
        for value in self.inputs:
            starts.append(starts[-1] + size(value.dims[dim]))
        every = [builder.views(value) for value in self.inputs]
        places = places_only(every, len(self.output.dims))
        if dim not in places or all(map(all_params, every)):
            return [p for views, start in zip(every, starts, strict=False) for p in shifted(views, dim, start)]
        every = [flattened(p, value.shape, places) for p, value in zip(every, self.inputs, strict=True)]
        level = [
            [replace(p, starts=(*p.starts[:dim], 0, *p.starts[dim + 1 :]), cut=p.cut - {dim}) for p in ps]
            for ps in every
        ]
        return [self._merge(builder, combo) for combo in joined(level)]

    def _merge(self, builder: LayoutBuilder, combo: Sequence[StridedView]) -> StridedView:
        """Along places: the same neurons at more places, read from several sources."""
        stored = [p for p in combo if isinstance(p.source, ParamRef)]
        rest = [p for p in combo if not isinstance(p.source, ParamRef)]
        target = unite(builder, rest, "concat")
        for view in stored:
            settle(builder, view, target, "token")
        return target


def counts(view: StridedView, axis: ViewAxis) -> bool:
    """Whether neurons lie, or may have to lie, along an axis."""
    if isinstance(view.source, ParamRef):
        return not axis.var.fixed
    return isinstance(view.source, GroupBuilder)


def places_only(every: Sequence[Views], rank: int) -> list[int]:
    """The dimensions along which no neurons lie in any of several values, nor one neuron after another."""
    held = {axis.dim for views in every for view in views for axis in view.axes if counts(view, axis)}
    return [dim for dim in range(rank) if dim not in held and not any(_in_turn(views, dim) for views in every)]


def _in_turn(views: Views, dim: int) -> bool:
    """Whether other neurons follow at later places of a dimension."""
    return len({view.source for view in views if isinstance(view.source, GroupBuilder) and dim in view.cut}) > 1


# -- verbs of rules ----------------------------------------------------------------------------------------------------


def combine(tape: Tape, kind: str, values: Sequence[TracedTensor]) -> TracedTensor:
    """Values combined place by place, broadcast as torch does."""
    return tape.put(CombineOp, values, broadcast(values), kind)


def suffer(tape: Tape, x: TracedTensor, effect: Effect) -> TracedTensor:
    """The same neurons, to whose values something is done."""
    found = tape.put(EffectOp, (x,), x.dims, effect)
    found.sole = x.sole
    return found


def activate(tape: Tape, kind: str, x: TracedTensor) -> TracedTensor:
    """A function of every number by itself."""
    return tape.put(ActivateOp, (x,), x.dims, kind)


def concat(tape: Tape, values: Sequence[TracedTensor], dim: int) -> TracedTensor:
    """Values one after another along a dimension; their other dimensions are the same."""
    if len(values) == 1:
        return tape.same(values[0], values[0].dims)
    dim = values[0].place(dim)
    for value in values[1:]:
        for place, (one, other) in enumerate(zip(values[0].dims, value.dims, strict=True)):
            if place != dim:
                unify(one, other)
    dims: list[Dim] = list(values[0].dims)
    dims[dim] = chained([value.dims[dim] for value in values])
    return tape.put(ConcatOp, values, dims, dim)
