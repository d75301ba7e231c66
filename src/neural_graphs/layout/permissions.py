"""Which neurons may change sign or be scaled: what activations, groups and blocks permit, in one place.

A factor of a neuron multiplies what it reads and divides what reads it. Structural blocks have no number to divide, so
the neurons they join share one factor, over a whole stream of skips, and have it where all of them permit it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.kinds import Permits, permits
from neural_graphs.layout.layout import Block, Conv, GlobalMean, Group, Layout, Linear, MaxPool, Skip

ADDING_BLOCKS = frozenset({"", "linear", "conv", "skip", "tie", "position", "token", "bias", "scale"})
ADDING_GROUPS = frozenset({"", "linear", "conv", "add", "activation", "scale"})


@dataclass(frozen=True)
class Rule:
    """A kind of multiplication: what an activation must permit, and the pools it passes."""

    name: str
    allows: Callable[[Permits], bool]
    pools: tuple[type, ...]


SIGNS = Rule("odd", lambda kind: kind.odd, (GlobalMean,))
SCALES = Rule("positively homogeneous", lambda kind: kind.homogeneous, (GlobalMean, MaxPool))


@lru_cache(maxsize=4096)
def factor_index(layout: Layout, rule: Rule) -> np.ndarray:
    """The factor that every neuron has, counted from 0 in the order of their first neurons; -1 for none: `(neurons,)`.

    Neurons with the same number are multiplied alike.
    """
    first = tied(layout)
    may = np.concatenate([_free(group.axis) & (why is None) for group, why in _judged(layout, rule)])
    barred = np.zeros(layout.neurons, dtype=bool)
    barred[first[~may]] = True
    index = np.full(layout.neurons, -1)
    places = np.flatnonzero(~barred[first])
    index[places] = np.unique(first[places], return_inverse=True)[1]
    index.flags.writeable = False
    return index


def tied(layout: Layout) -> np.ndarray:
    """For every neuron the first of those that structural blocks join it to, over any number of them: `(neurons,)`."""
    pairs = [np.empty((2, 0), dtype=np.int64)]
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.parameter is None:
            starts = [[layout.neuron_slices[end].start] for end in (block.source, block.target)]
            pairs.append(np.stack(table.ends) + starts)
    source, target = np.concatenate(pairs, 1)
    first = np.arange(layout.neurons)
    while not np.array_equal(first[source], first[target]):
        low = np.minimum(first[source], first[target])
        np.minimum.at(first, source, low)
        np.minimum.at(first, target, low)
        first = first[first]  # what a first one has become
    return first


def reasons(layout: Layout, rule: Rule) -> list[str]:
    """For every hidden group none of whose neurons may be multiplied, why, in words."""
    index, first, judged = factor_index(layout, rule), tied(layout), _judged(layout, rule)
    found = []
    for (group, why), neurons in zip(judged, layout.neuron_slices, strict=True):
        if group.role != "hidden" or (index[neurons] >= 0).any():
            continue
        partners = layout.neuron_group[np.isin(first, first[neurons])]
        bars = (
            f"is joined to {other.name}, which {reason}" for other, reason in (judged[i] for i in partners) if reason
        )
        found.append(f"{group.name} {why or next(bars, 'has an order that is fixed')}")
    return found


def _judged(layout: Layout, rule: Rule) -> list[tuple[Group, str | None]]:
    """Every group with its objection."""
    repeated = {block.parameter for block in layout.blocks if block.shared and block.parameter}
    repeated |= {group.bias for group in layout.groups if group.shared and group.bias}
    near: list[list[Block]] = [[] for _ in layout.groups]
    for block in layout.blocks:
        for index in {block.source, block.target}:
            near[index].append(block)
    strange = [[b for b in blocks if b.parameter in repeated or not _adding(layout, b)] for blocks in near]
    return [
        (group, _objection(group, rule, blocks, bool(group.bias) and group.bias in repeated))
        for group, blocks in zip(layout.groups, strange, strict=True)
    ]


def _objection(group: Group, rule: Rule, strange: list[Block], repeated: bool) -> str | None:
    """Why the neurons of a group may not be multiplied; None where they may, as far as this group tells."""
    if group.role != "hidden":
        return f"is {group.role}, which has an order and a meaning"
    if not rule.allows(permits(group.activation.kind)):
        return f"has the activation {group.activation.kind}, which is not {rule.name}"
    if group.offset != 0 or not (group.pool is None or isinstance(group.pool, rule.pools)):
        return "is shifted or read through a maximum"
    if group.kind not in ADDING_GROUPS:
        return f"is made by {group.kind}, which is no sum"
    if group.kind and not group.transparent:
        return "is shifted, read through a maximum, or from a file that does not tell"
    if repeated:
        return "shares its biases with another group"
    if strange:
        return f"is joined by a block of kind {strange[0].kind or 'shared'!r}, which does not only add"
    return None


def _adding(layout: Layout, block: Block) -> bool:
    """Whether a block adds what its weights make of its source to its target and does nothing else."""
    known = block.kind in ADDING_BLOCKS and isinstance(block.operator, Linear | Conv | Skip)
    table = layout.table(block)
    summed = block.parameter is None and any(s and not t for s, t in zip(table.source, table.target, strict=True))
    return known and not summed and layout.groups[block.target].kind in ADDING_GROUPS


def _free(axis: Axis) -> np.ndarray:
    """Which places of an axis lie along a free atom, `(size,)`."""
    match axis:
        case Atom(size=size, free=free):
            return np.full(size, free)
        case Product(parts):
            found = np.zeros(1, dtype=bool)
            for part in parts:
                found = np.logical_or.outer(found, _free(part)).reshape(-1)
            return found
        case Concat(parts):
            return np.concatenate([_free(part) for part in parts])
    raise TypeError(f"an axis is an Atom, a Product or a Concat, got {type(axis).__name__}")
