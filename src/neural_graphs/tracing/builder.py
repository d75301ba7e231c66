"""A layout in the making: groups and blocks appear while the ops of a trace are emitted one after another."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Conv, Role
from neural_graphs.layout.strides import Table, Window, merged, row_major
from neural_graphs.tracing.dims import DimVar
from neural_graphs.tracing.sources import GroupBuilder, ParamRef, Raw
from neural_graphs.tracing.values import TracedTensor
from neural_graphs.tracing.views import StridedView, ViewAxis, Views, frame, slowest_first, views_of


@dataclass(frozen=True)
class BlockAxis:
    """One dimension of a block: its size, and its strides in the source, the target, and the stored tensor."""

    size: int
    source: int = 0
    target: int = 0
    number: int = 0


@dataclass(frozen=True, eq=False)
class BlockBuilder:
    """A block in the making."""

    source: GroupBuilder
    target: GroupBuilder
    joins: Table
    kind: str
    stored: ParamRef | None = None
    window: Window | None = None
    kernel: tuple[int, ...] = ()
    shared: bool = False
    operator: Conv | None = None


@dataclass
class LayoutBuilder:
    """Groups, blocks and the views of every value so far; `name` is where in the module the trace is."""

    groups: list[GroupBuilder] = field(default_factory=list)
    blocks: list[BlockBuilder] = field(default_factory=list)
    known: dict[TracedTensor, Views] = field(default_factory=dict)
    fixtures: dict[tuple[DimVar | str, ...], GroupBuilder] = field(default_factory=dict)
    name: str = ""

    def views(self, value: TracedTensor) -> Views:
        """The views of a value."""
        if value not in self.known:
            if not value.raw:
                raise LayoutError("a value is read before anything made it")
            return views_of(Raw(value.given), value.dims)
        return self.known[value]

    def group(self, axes: Iterable[ViewAxis], kind: str, *under: StridedView) -> StridedView:
        """New neurons along these axes, where the views `under` lie on each other."""
        ordered = slowest_first(axes)
        neurons = GroupBuilder(self.name, tuple(axis.var for axis in ordered), kind)
        self.groups.append(neurons)
        strides = row_major([axis.size for axis in ordered])
        own = tuple(replace(axis, stride=stride) for axis, stride in zip(ordered, strides, strict=True))
        starts, cut = frame(under)
        return StridedView(neurons, starts, own, 0, cut)

    def fixture(
        self, axes: Sequence[ViewAxis], given: bool, what: str = ""
    ) -> tuple[GroupBuilder, dict[ViewAxis, int]]:
        """Neurons that nothing leads to: inputs, or constants such as positions; and their strides along the axes."""
        ordered = slowest_first(axes)
        key = ("input" if given else "constant", *(axis.var for axis in ordered))
        if key not in self.fixtures:
            name = what or ("input" if given else "positions" if ordered else "one")
            role: Role = "input" if given else "hidden"
            self.fixtures[key] = GroupBuilder(name, tuple(axis.var for axis in ordered), name, role)
            self.groups.append(self.fixtures[key])
        strides = row_major([axis.size for axis in ordered])
        return self.fixtures[key], dict(zip(ordered, strides, strict=True))

    def connect(
        self, source: GroupBuilder, target: GroupBuilder, block_axes: Iterable[BlockAxis], kind: str,
        view: StridedView | None = None, kernel: Sequence[BlockAxis] = (), start: int = 0,
        operator: Conv | None = None,
    ) -> None:  # fmt: skip
        """Weights from neuron `start` of `source` on to `target`; `view` is the part of a stored tensor they read."""
        order = sorted(block_axes, key=lambda s: (not (s.source and s.target), not s.target))  # ties, targets, sources
        table = [BlockAxis(*each) for each in merged(map(astuple, order))] or [BlockAxis(1)]
        joins = Table(tuple(s.size for s in table), tuple(s.source for s in table), tuple(s.target for s in table),
                      start)  # fmt: skip
        if view is None or not isinstance(view.source, ParamRef):
            self.blocks.append(BlockBuilder(source, target, joins, kind))
            return
        sizes = tuple(s.size for s in kernel)
        window = Window(view.offset, (*joins.sizes, *sizes), tuple(s.number for s in (*table, *kernel)))
        shared = not view.source.own(window)
        self.blocks.append(BlockBuilder(source, target, joins, kind, view.source, window, sizes, shared, operator))
