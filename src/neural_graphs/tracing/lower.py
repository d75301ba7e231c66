"""How views become groups and blocks: what every op of a trace is made of."""

from collections.abc import Sequence
from dataclasses import replace

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Conv
from neural_graphs.layout.strides import Window
from neural_graphs.tracing.builder import BlockAxis, LayoutBuilder
from neural_graphs.tracing.sources import GroupBuilder, ParamRef, Raw
from neural_graphs.tracing.views import Spot, StridedView, ViewAxis, Views, slowest_first


def spots(view: StridedView) -> dict[Spot, ViewAxis]:
    """The axes of a view by where they lie."""
    return {axis.spot: axis for axis in view.axes}


def lies_on(axis: ViewAxis, view: StridedView) -> bool:
    """Whether a view has an axis where this one lies."""
    return axis.spot in spots(view)


def covers(view: StridedView, axes: Sequence[ViewAxis]) -> bool:
    """Whether a view varies along all of these axes."""
    own = spots(view)
    return all(axis.spot in own and own[axis.spot].size == axis.size for axis in axes)


def all_params(views: Views) -> bool:
    """Whether a value is parts of tensors of the state dict, and nothing else."""
    return all(isinstance(view.source, ParamRef) for view in views)


def complete(view: StridedView) -> bool:
    """Whether a view is all neurons of its group."""
    return isinstance(view.source, GroupBuilder) and view.offset == 0 and len(view.axes) == len(view.source.vars)


def block_axes(source: StridedView, target: StridedView, stored: StridedView | None = None) -> list[BlockAxis]:
    """The dimensions of a block between views that lie on each other, and on a tensor where it reads one."""
    ours, theirs, numbers = spots(source), spots(target), spots(stored) if stored is not None else {}
    return [
        BlockAxis(axis.size, *(axes[axis.spot].stride if axis.spot in axes else 0 for axes in (ours, theirs, numbers)))
        for axis in slowest_first((ours | theirs).values())
    ]


def tie(builder: LayoutBuilder, source: StridedView, target: StridedView, kind: str = "") -> None:
    """A structural block: every target neuron reads the source neurons that lie where it lies."""
    if isinstance(source.source, GroupBuilder) and isinstance(target.source, GroupBuilder):
        builder.connect(source.source, target.source, block_axes(source, target), kind, start=source.offset)


def enter(builder: LayoutBuilder, view: StridedView, axes: Sequence[ViewAxis]) -> StridedView:
    """The neurons of an input or a constant along some of its axes."""
    raw = view.source
    own = spots(view)
    kept = [own[axis.spot] for axis in axes if axis.spot in own]
    neurons, strides = builder.fixture(kept, isinstance(raw, Raw) and raw.given)
    axes = tuple(replace(axis, stride=strides[axis]) for axis in kept)
    return StridedView(neurons, view.starts, axes, 0, view.cut)


def read(
    builder: LayoutBuilder, source: StridedView, stored: StridedView, target: StridedView, kind: str,
    operator: Conv | None = None,
) -> None:  # fmt: skip
    """Weights from source to target neurons, read from the part of a tensor that lies on both.

    Axes of the tensor that neither has are its kernel.
    """
    joined = spots(source) | spots(target)
    if not joined.keys() <= spots(stored).keys():
        raise LayoutError(f"{_name(stored)} does not vary along all neurons it should be read for")
    rest = slowest_first(axis for axis in stored.axes if axis.spot not in joined)
    kernel = [BlockAxis(axis.size, number=axis.stride) for axis in rest]
    if isinstance(source.source, GroupBuilder) and isinstance(target.source, GroupBuilder):
        lines = block_axes(source, target, stored)
        builder.connect(source.source, target.source, lines, kind, stored, kernel, source.offset, operator)


def settle(builder: LayoutBuilder, stored: StridedView, target: StridedView, kind: str) -> None:
    """Add a stored view to neurons: as their bias if it is one number each, else as weights from constant neurons."""
    if not covers(stored, target.axes):
        tie(builder, plant(builder, stored, [axis for axis in stored.axes if lies_on(axis, target)], kind), target)
        return
    rest = [axis for axis in stored.axes if not lies_on(axis, target)]
    neurons, tensor = target.source, stored.source
    one_each = kind == "bias" and not rest and complete(target)
    if one_each and isinstance(neurons, GroupBuilder) and neurons.bias is None and isinstance(tensor, ParamRef):
        _bias(stored, tensor, target, neurons)
        return
    kind = "position" if rest and kind == "bias" else kind
    constant, strides = builder.fixture(rest, given=False)
    source = StridedView(constant, stored.starts, tuple(replace(axis, stride=strides[axis]) for axis in rest))
    read(builder, source, stored, target, kind)


def _bias(stored: StridedView, tensor: ParamRef, target: StridedView, neurons: GroupBuilder) -> None:
    numbers = spots(stored)
    ordered = sorted(target.axes, key=lambda axis: -axis.stride)
    found = [numbers[axis.spot].stride for axis in ordered]
    window = Window(stored.offset, tuple(axis.size for axis in ordered), tuple(found))
    neurons.bias = (tensor, window, not tensor.own(window))


def plant(builder: LayoutBuilder, stored: StridedView, axes: Sequence[ViewAxis], kind: str) -> StridedView:
    """Neurons whose values are a stored view, along some of its axes."""
    kept = {axis.spot for axis in axes}
    target = builder.group([axis for axis in stored.axes if axis.spot in kept], kind, stored)
    settle(builder, stored, target, kind)
    return target


def grown(builder: LayoutBuilder, view: StridedView, kind: str) -> StridedView:
    """A view as neurons: a stored one is planted along its free variables, others stay as they are."""
    if not isinstance(view.source, ParamRef):
        return view
    return plant(builder, view, [axis for axis in view.axes if not axis.var.fixed], kind)


def unite(builder: LayoutBuilder, combo: Sequence[StridedView], kind: str) -> StridedView:
    """New neurons where views lie on each other, tied to all of them."""
    combo = [grown(builder, view, "constant") for view in combo]
    wanted: dict[Spot, ViewAxis] = {}
    for view in combo:
        if isinstance(view.source, GroupBuilder):
            wanted |= spots(view)
    target = builder.group(wanted.values(), kind, *combo)
    for view in dict.fromkeys(combo):
        if isinstance(view.source, Raw) and view.source.given and any(lies_on(axis, target) for axis in view.axes):
            view = enter(builder, view, target.axes)
        tie(builder, view, target)
    return target


def project(builder: LayoutBuilder, views: Views, dims: Sequence[int], kind: str) -> Views:
    """Without the neurons' variables along some dimensions: groups without them, tied to what they sum over."""
    found: dict[tuple[int, ...], StridedView] = {}
    out = []
    for view in views:
        starts = tuple(0 if dim in dims else start for dim, start in enumerate(view.starts))
        kept = tuple(axis for axis in view.axes if axis.dim not in dims)
        level = replace(view, starts=starts, axes=kept, cut=view.cut - set(dims))
        if isinstance(view.source, Raw) or (len(kept) == len(view.axes) and not view.cut & set(dims)):
            out.append(level)
            continue
        if starts not in found:
            found[starts] = builder.group([axis for axis in kept if _lasting(view, axis)], kind, level)
            out.append(found[starts])
        tie(builder, grown(builder, view, "constant"), found[starts])
    return out


def _lasting(view: StridedView, axis: ViewAxis) -> bool:
    return isinstance(view.source, GroupBuilder) or not axis.var.fixed


def _name(view: StridedView) -> str:
    return view.source.name if isinstance(view.source, GroupBuilder | ParamRef) else "a constant"
