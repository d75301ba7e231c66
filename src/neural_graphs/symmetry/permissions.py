"""Which neurons may change sign or be scaled: what activations, groups and blocks permit, in one place."""

from collections.abc import Callable
from dataclasses import dataclass

from neural_graphs.layout import Atom, Block, Conv, GlobalMean, Layout, Linear, MaxPool, Skip
from neural_graphs.layout.kinds import Permits, permits

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


def adding(layout: Layout, block: Block) -> bool:
    """Whether a block adds what its weights make of its source to its target and does nothing else."""
    known = block.kind in ADDING_BLOCKS and not block.shared and isinstance(block.operator, Linear | Conv | Skip)
    table = layout.table(block)
    summed = block.parameter is None and any(s and not t for s, t in zip(table.source, table.target, strict=True))
    return known and not summed and layout.groups[block.target].kind in ADDING_GROUPS


def objection(layout: Layout, index: int, rule: Rule) -> str | None:
    """Why the neurons of a group may not be multiplied; None where they may, as far as this group tells."""
    group = layout.groups[index]
    near = [block for block in layout.blocks if index in (block.source, block.target)]
    strange = next((block for block in near if not adding(layout, block)), None)
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
    if group.shared:
        return "shares its biases with another group"
    if strange is not None:
        return f"is joined by a block of kind {strange.kind or 'shared'!r}, which does not only add"
    return None


def scalable(layout: Layout, rule: Rule) -> list[Atom]:
    """Free atoms whose neurons may be multiplied: all groups and all operators that meet them must allow it.

    Those of an atom within others are multiplied alike at every place of these.
    """
    bound = {
        atom.name
        for index, group in enumerate(layout.groups)
        if objection(layout, index, rule)
        for atom in group.axis.atoms()
    }
    return [atom for atom in layout.free_atoms if atom.name not in bound]


def reasons(layout: Layout, rule: Rule) -> list[str]:
    """For every free atom that may not be multiplied, the first group that objects and why, in words."""
    found = []
    allowed = scalable(layout, rule)
    for atom in (atom for atom in layout.free_atoms if atom not in allowed):
        holders = [(i, group) for i, group in enumerate(layout.groups) if atom in group.axis.atoms()]
        why = ((group.name, objection(layout, i, rule)) for i, group in holders)
        found.append(next(f"{name} {reason}" for name, reason in why if reason))
    return found
