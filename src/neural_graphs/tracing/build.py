"""From a draft to a layout: what nothing read, the order of groups, the names of axes, and how they nest."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from itertools import product

from neural_graphs.layout import Activation, Block, Group, Layout, Parameter
from neural_graphs.layout.axes import Atom, Axis, Product
from neural_graphs.layout.strides import Window
from neural_graphs.networks import Program
from neural_graphs.tracing.builder import Draft, Link
from neural_graphs.tracing.dims import Term, Var
from neural_graphs.tracing.lower import plant
from neural_graphs.tracing.sources import Neurons, Stored
from neural_graphs.tracing.views import Pieces, pieces_of

Dims = Mapping[str, tuple[Term, ...]]


def finish(
    draft: Draft, outputs: Iterable[Pieces], parameters: Sequence[Parameter], stored: Mapping[str, Stored], dims: Dims,
    within: Mapping[Var, frozenset[Var]], program: Program,
) -> Layout:  # fmt: skip
    """The layout of a draft; `stored` and `dims` are the tensors of the state dict by name."""
    for pieces in outputs:
        for piece in pieces:
            if isinstance(piece.source, Neurons):
                piece.source.role = "output"
    carried = {name for name, tensor in stored.items() if _own_rest(draft, tensor, dims[name])}
    prune(draft)
    groups = ordered(draft)
    axes = axes_of(groups, nested(groups, within, stored, dims))
    number = {neurons: place for place, neurons in enumerate(groups)}
    names = unique(neurons.name for neurons in groups)
    made = [group_of(*each) for each in zip(groups, names, axes, strict=True)]
    links = sorted(draft.links, key=lambda link: number[link.target])
    blocks = [block_of(link, number) for link in links]
    kept = [replace(p, dtype="float") if p.name in carried else p for p in parameters]
    return Layout(tuple(made), tuple(blocks), tuple(kept), program)


def group_of(neurons: Neurons, name: str, axis: Axis) -> Group:
    """A group as a value."""
    kind = Activation(neurons.activation)
    if neurons.bias is None:
        return Group(name, axis, neurons.role, activation=kind, kind=neurons.kind)
    tensor, window, shared = neurons.bias
    part = None if tensor.is_all(window) else window
    return Group(name, axis, neurons.role, tensor.name, kind, window=part, kind=neurons.kind, shared=shared)


def block_of(link: Link, number: Mapping[Neurons, int]) -> Block:
    """A block as a value."""
    source, target = number[link.source], number[link.target]
    kind = link.kind or "tie"
    if link.stored is None or link.window is None:
        return Block(source, target, None, joins=link.joins, kind=kind)
    part = None if link.stored.is_all(link.window) else link.window
    return Block(
        source, target, link.stored.name, link.kernel, joins=link.joins, window=part, kind=kind, shared=link.shared
    )


# -- numbers that nothing read ----------------------------------------------------------------------------------------


def _own_rest(draft: Draft, tensor: Stored, dims: tuple[Term, ...]) -> bool:
    """Give numbers that nothing read to neurons of their own; True for a buffer that is carried along instead."""
    if tensor.owned.all():
        return False
    pieces = pieces_of(tensor, dims)
    if tensor.buffer and not tensor.owned.any() and all(leg.var.fixed for piece in pieces for leg in piece.legs):
        return True
    draft.name = f"unused {tensor.name}"
    for piece in pieces:
        free = [leg for leg in piece.legs if not leg.var.fixed]
        fixed = [leg for leg in piece.legs if leg.var.fixed]
        window = Window(piece.offset, tuple(leg.size for leg in piece.legs), tuple(leg.stride for leg in piece.legs))
        left = ~tensor.owned[window.places]
        if left.all():
            plant(draft, piece, free or fixed[1:], "unused")
        elif left.any():  # some places of the fixed dimensions were chosen, others were not
            for index in product(*(range(leg.size) for leg in fixed)):
                offset = piece.offset + sum(i * leg.stride for i, leg in zip(index, fixed, strict=True))
                if not tensor.owned[offset]:
                    plant(draft, replace(piece, offset=offset, legs=tuple(free)), free, "unused")
    return False


# -- order ------------------------------------------------------------------------------------------------------------


def prune(draft: Draft) -> None:
    """Drop neurons that nothing reads and that hold no numbers."""
    while True:
        busy = {link.source for link in draft.links} | {link.target for link in draft.links if link.stored}
        idle = {n for n in draft.groups if n not in busy and n.role != "output" and n.bias is None}
        if not idle:
            return
        draft.groups = [neurons for neurons in draft.groups if neurons not in idle]
        draft.links = [link for link in draft.links if link.target not in idle]


def ordered(draft: Draft) -> list[Neurons]:
    """Groups so that links go forward: inputs first, then as they were made."""
    rank = {n: (n.role != "input", place) for place, n in enumerate(draft.groups)}
    waiting = Counter(link.target for link in draft.links)
    after: dict[Neurons, list[Neurons]] = {n: [] for n in draft.groups}
    for link in draft.links:
        after[link.source].append(link.target)
    ready = [rank[n] for n in draft.groups if not waiting[n]]
    heapify(ready)
    found: list[Neurons] = []
    while ready:
        neurons = draft.groups[heappop(ready)[1]]
        found.append(neurons)
        for target in after[neurons]:
            waiting[target] -= 1
            if not waiting[target]:
                heappush(ready, rank[target])
    return found


# -- axes -------------------------------------------------------------------------------------------------------------


def nested(
    groups: Sequence[Neurons], within: Mapping[Var, frozenset[Var]], stored: Mapping[str, Stored], dims: Dims
) -> dict[Var, list[Var]]:
    """For every free variable those it is nested in: they are wherever it is, once, in groups as in tensors.

    Of two that are nested in each other the one that a group counts first is the outer one.
    """
    found = {var: set(within.get(var, ())) for neurons in groups for var in neurons.vars}
    together = [neurons.vars for neurons in groups]
    together += [tuple(leg.var for leg in p.legs) for name in stored for p in pieces_of(stored[name], dims[name])]
    for present in together:
        once = {var for var, times in Counter(present).items() if times == 1}
        for var in set(present) & set(found):
            found[var] &= once
    order = {var: place for place, var in enumerate(found)}

    def outer(var: Var, other: Var) -> bool:
        return other in order and (other.fixed or var not in found[other] or order[other] < order[var])

    return {
        var: sorted((other for other in others if outer(var, other)), key=order.__getitem__)
        for var, others in found.items()
        if not var.fixed
    }


def axes_of(groups: Sequence[Neurons], outer: Mapping[Var, Sequence[Var]]) -> list[Axis]:
    """The axis of every group. A variable is named after the first group that has it."""
    labels: dict[Var, str] = {}
    taken: Counter[str] = Counter()
    for neurons in groups:
        for place, var in enumerate(neurons.vars):
            if var not in labels:
                label = neurons.name if len(neurons.vars) == 1 else f"{neurons.name}:{place}"
                taken[label] += 1
                labels[var] = label if taken[label] == 1 else f"{label}#{taken[label]}"
    atoms = {
        var: Atom(label, var.size, not var.fixed, tuple(labels[o] for o in outer.get(var, ()) if o is not var))
        for var, label in labels.items()
    }
    alone = Atom("one", 1)
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
