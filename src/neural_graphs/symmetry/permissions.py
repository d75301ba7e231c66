"""What activations and operators permit: which neurons may change sign, which may be scaled."""

from neural_graphs.layout import Atom, Block, Conv, Group, Layout, Linear, Skip

ODD = frozenset({"sine", "tanh", "none"})  # f(−x) = −f(x)
HOMOGENEOUS = frozenset({"relu", "leaky_relu", "none"})  # f(s · x) = s · f(x) for s > 0


def ordinary(block: Block) -> bool:
    """Whether a block adds what its weights make of its source to its target and does nothing else: not one of a
    traced network, which may multiply, normalise or share."""
    return not (block.kind or block.shared or block.joins or block.window) and isinstance(
        block.operator, Linear | Conv | Skip
    )


def scalable(layout: Layout, kinds: frozenset[str], pools: tuple[type, ...]) -> list[Atom]:
    """Free atoms whose neurons may be multiplied: all groups and all operators that meet them must allow it."""

    def allows(index: int, group: Group) -> bool:
        near = (block for block in layout.blocks if index in (block.source, block.target))
        return (
            group.role == "hidden"
            and not (group.kind or group.shared or group.window)
            and group.activation.kind in kinds
            and group.offset == 0
            and (group.pool is None or isinstance(group.pool, pools))
            and all(map(ordinary, near))
        )

    bound = {a.name for i, g in enumerate(layout.groups) if not allows(i, g) for a in g.axis.atoms()}
    return [atom for atom in layout.free_atoms if atom.name not in bound and not atom.within]
