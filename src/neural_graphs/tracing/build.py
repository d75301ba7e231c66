"""From groups and blocks to a layout: what nothing read, the order of groups, the names of axes, and how they nest.

Numbers that no operator read (an unused layer) get neurons of their own, so that every number has one owner; neurons
that lead nowhere and hold nothing are dropped; groups are ordered so that blocks go forward; every variable becomes an
`Atom`, named after the first group that has it, and free where nothing froze it.

Example:
    Queries of 3 heads, whose order is fixed, with 4 neurons each, which each head permutes by itself.

    >>> from neural_graphs.tracing.builder import BlockAxis
    >>> heads, each, classes = DimVar(3, fixed=True), DimVar(4), DimVar(2, fixed=True)
    >>> answer = GroupBuilder("answer", (classes,), "linear", "output")
    >>> query = GroupBuilder("query", (heads, each), "linear")
    >>> builder = LayoutBuilder([answer, query])
    >>> builder.connect(query, answer, [BlockAxis(12, source=1), BlockAxis(2, target=1)], "linear")
    >>> groups = ordered(builder)
    >>> [group.name for group in groups]
    ['query', 'answer']
    >>> [(atom.name, atom.free, atom.within) for axis in axes_of(groups, {each: [heads]}) for atom in axis.atoms()]
    [('query:0', False, ()), ('query:1', True, ('query:0',)), ('answer', False, ())]
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from itertools import product

from neural_graphs.layout import Activation, Block, Group, Layout, MaxPool, Parameter
from neural_graphs.layout.axes import Atom, Axis, Product
from neural_graphs.layout.strides import Window
from neural_graphs.networks import Program
from neural_graphs.tracing.builder import BlockBuilder, LayoutBuilder
from neural_graphs.tracing.canonical import as_built
from neural_graphs.tracing.dims import Dim, DimVar
from neural_graphs.tracing.lower import plant
from neural_graphs.tracing.sources import GroupBuilder, ParamRef
from neural_graphs.tracing.views import Views, views_of

Dims = Mapping[str, tuple[Dim, ...]]


def build(
    builder: LayoutBuilder, outputs: Iterable[Views], parameters: Sequence[Parameter], stored: Mapping[str, ParamRef],
    dims: Dims, within: Mapping[DimVar, frozenset[DimVar]], program: Program,
) -> tuple[Layout, Layout | None]:  # fmt: skip
    """The layout of a builder, and as one writes it by hand, if one can; `stored` and `dims` are tensors by name."""
    for views in outputs:
        for view in views:
            if isinstance(view.source, GroupBuilder):
                view.source.role = "output"
    carried = {name for name, tensor in stored.items() if _own_rest(builder, tensor, dims[name])}
    prune(builder)
    groups = ordered(builder)
    axes = axes_of(groups, nested(groups, within, stored, dims))
    number = {neurons: place for place, neurons in enumerate(groups)}
    names = unique(neurons.name for neurons in groups)
    made = [group_of(*each) for each in zip(groups, names, axes, strict=True)]
    forward = sorted(builder.blocks, key=lambda block: number[block.target])
    blocks = [block_of(block, number) for block in forward]
    kept = [replace(p, dtype="float") if p.name in carried else p for p in parameters]
    layout = Layout(tuple(made), tuple(blocks), tuple(kept), program)
    return layout, as_built(layout, groups, forward)


def group_of(neurons: GroupBuilder, name: str, axis: Axis) -> Group:
    """A group as a value."""
    kind = Activation(neurons.activation)
    told = neurons.transparent and not neurons.offset and not isinstance(neurons.pool, MaxPool)
    if neurons.bias is None:
        return Group(name, axis, neurons.role, activation=kind, kind=neurons.kind, transparent=told)
    tensor, window, shared = neurons.bias
    part = None if tensor.is_all(window) else window
    return Group(
        name, axis, neurons.role, tensor.name, kind, window=part, kind=neurons.kind, shared=shared, transparent=told
    )


def block_of(block: BlockBuilder, number: Mapping[GroupBuilder, int]) -> Block:
    """A block as a value."""
    source, target = number[block.source], number[block.target]
    kind = block.kind or "tie"
    if block.stored is None or block.window is None:
        return Block(source, target, None, joins=block.joins, kind=kind)
    part = None if block.stored.is_all(block.window) else block.window
    return Block(
        source, target, block.stored.name, block.kernel, joins=block.joins, window=part, kind=kind, shared=block.shared
    )


# -- numbers that nothing read ----------------------------------------------------------------------------------------


def _own_rest(builder: LayoutBuilder, tensor: ParamRef, dims: tuple[Dim, ...]) -> bool:
    """Give numbers that nothing read to neurons of their own; True for a buffer that is carried along instead."""
    if tensor.owned.all():
        return False
    views = views_of(tensor, dims)
    if tensor.buffer and not tensor.owned.any() and all(axis.var.fixed for view in views for axis in view.axes):
        return True
    builder.name = f"unused {tensor.name}"
    for view in views:
        free = [axis for axis in view.axes if not axis.var.fixed]
        fixed = [axis for axis in view.axes if axis.var.fixed]
        window = Window(view.offset, tuple(axis.size for axis in view.axes), tuple(axis.stride for axis in view.axes))
        left = ~tensor.owned[window.places]
        if left.all():
            plant(builder, view, free or fixed[1:], "unused")
        elif left.any():  # some places of the fixed dimensions were chosen, others were not
            for index in product(*(range(axis.size) for axis in fixed)):
                offset = view.offset + sum(i * axis.stride for i, axis in zip(index, fixed, strict=True))
                if not tensor.owned[offset]:
                    plant(builder, replace(view, offset=offset, axes=tuple(free)), free, "unused")
    return False


# -- order ------------------------------------------------------------------------------------------------------------


def prune(builder: LayoutBuilder) -> None:
    """Drop neurons that nothing reads and that hold no numbers."""
    while True:
        busy = {block.source for block in builder.blocks} | {block.target for block in builder.blocks if block.stored}
        idle = {n for n in builder.groups if n not in busy and n.role != "output" and n.bias is None}
        if not idle:
            return
        builder.groups = [neurons for neurons in builder.groups if neurons not in idle]
        builder.blocks = [block for block in builder.blocks if block.target not in idle]


def ordered(builder: LayoutBuilder) -> list[GroupBuilder]:
    """Groups so that blocks go forward: inputs first, then as they were made."""
    rank = {n: (n.role != "input", place) for place, n in enumerate(builder.groups)}
    waiting = Counter(block.target for block in builder.blocks)
    after: dict[GroupBuilder, list[GroupBuilder]] = {n: [] for n in builder.groups}
    for block in builder.blocks:
        after[block.source].append(block.target)
    ready = [rank[n] for n in builder.groups if not waiting[n]]
    heapify(ready)
    found: list[GroupBuilder] = []
    while ready:
        neurons = builder.groups[heappop(ready)[1]]
        found.append(neurons)
        for target in after[neurons]:
            waiting[target] -= 1
            if not waiting[target]:
                heappush(ready, rank[target])
    return found


# -- axes -------------------------------------------------------------------------------------------------------------


def nested(
    groups: Sequence[GroupBuilder],
    within: Mapping[DimVar, frozenset[DimVar]],
    stored: Mapping[str, ParamRef],
    dims: Dims,
) -> dict[DimVar, list[DimVar]]:
    """For every free variable those it is nested in: they are wherever it is, once, in groups as in tensors.

    Of two that are nested in each other the one that a group counts first is the outer one.
    """
    found = {var: set(within.get(var, ())) for neurons in groups for var in neurons.vars}
    together = [neurons.vars for neurons in groups]
    together += [tuple(axis.var for axis in p.axes) for name in stored for p in views_of(stored[name], dims[name])]
    for present in together:
        once = {var for var, times in Counter(present).items() if times == 1}
        for var in set(present) & set(found):
            found[var] &= once
    order = {var: place for place, var in enumerate(found)}

    def outer(var: DimVar, other: DimVar) -> bool:
        return other in order and (other.fixed or var not in found[other] or order[other] < order[var])

    return {
        var: sorted((other for other in others if outer(var, other)), key=order.__getitem__)
        for var, others in found.items()
        if not var.fixed
    }


def axes_of(groups: Sequence[GroupBuilder], outer: Mapping[DimVar, Sequence[DimVar]]) -> list[Axis]:
    """The axis of every group. A variable is named after the first group that has it."""
    labelled: dict[DimVar, str] = {}
    for neurons in groups:
        for place, var in enumerate(neurons.vars):
            labelled.setdefault(var, neurons.name if len(neurons.vars) == 1 else f"{neurons.name}:{place}")
    *distinct, one = unique([*labelled.values(), "one"])
    labels = dict(zip(labelled, distinct, strict=True))
    atoms = {
        var: Atom(label, var.size, not var.fixed, tuple(labels[o] for o in outer.get(var, ()) if o is not var))
        for var, label in labels.items()
    }
    alone = Atom(one, 1)
    return [
        alone if not n.vars else atoms[n.vars[0]] if len(n.vars) == 1 else Product(tuple(atoms[v] for v in n.vars))
        for n in groups
    ]


def unique(names: Iterable[str]) -> list[str]:
    """Names with numbers where they occur again."""
    taken: Counter[str] = Counter()
    found = []
    for name in names:
        taken[name] += 1
        found.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
    return found
