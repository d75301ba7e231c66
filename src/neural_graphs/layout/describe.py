"""A layout in words: one line, or tables of its groups and weights, its symmetries, and what of its tensors is read."""

from collections.abc import Sequence
from itertools import takewhile
from math import lgamma, log, prod

from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.layout import Block, Group, Layout
from neural_graphs.layout.permissions import SCALES, SIGNS, factor_index
from neural_graphs.layout.repeats import Fold, Row, folds

LONG = 20  # letters of a group's name that another group refers to
MARKS = {"±": SIGNS, "×": SCALES}
SHOWN = 3  # kernel shapes and names of tied groups written out; of more only the first ones


def text(layout: Layout) -> str:
    """One line for a plain chain; for anything else tables of groups, weights and symmetries."""
    return line(layout) if is_chain(layout) else description(layout)


def line(layout: Layout) -> str:
    """One line: a chain of sizes (`2 → 32 → 32 → 1 · sine`), or counts of groups, blocks and parameters."""
    if not is_chain(layout):
        return f"{len(layout.groups)} groups, {len(layout.blocks)} blocks · {trained(layout):,} parameters"
    activations = dict.fromkeys(g.activation.kind for g in layout.groups if g.role == "hidden")
    chain = str(layout.groups[0].size)
    for group, block in zip(layout.groups[1:], [b for b in layout.blocks if b.span is None], strict=True):
        kernel = "×".join(map(str, block.kernel))
        chain += f" →({kernel}) {group.size}" if kernel else f" → {group.size}"
    skips = [f"{b.source}⇢{b.target}" for b in layout.blocks if b.span is not None]
    return " · ".join([chain, "/".join(activations) or "linear", *skips])


def is_chain(layout: Layout) -> bool:
    """Whether every group but the first reads the one before it, all of it, and nothing else but skips."""
    dense = [
        (block.source, block.target)
        for block, table in zip(layout.blocks, layout.tables, strict=True)
        if block.span is None and table.kind == "dense" and block.parameter is not None
    ]
    spans = sum(block.span is not None for block in layout.blocks)
    steps = [(before, before + 1) for before in range(len(layout.groups) - 1)]
    return dense == steps and len(dense) + spans == len(layout.blocks)


def trained(layout: Layout) -> int:
    """The number of trained parameters: buffers and tensors of whole numbers left out."""
    return sum(p.size for p in layout.parameters if not p.buffer and not p.dtype)


def description(layout: Layout) -> str:
    """Tables of groups and of weights, the symmetry group, and how many of the numbers are read.

    Runs of groups that repeat are folded: the names of the first one show what counts up, `h.{0…11}.ln_1`. Activations
    are marked where neurons may change sign (±) and where they may be scaled (×).
    """
    last = "\n".join(filter(None, [symmetry(layout), factors(layout), coverage(layout)]))
    return "\n\n".join([line(layout), _groups(layout), _weights(layout), last])


# -- groups -----------------------------------------------------------------------------------------------------------


def _groups(layout: Layout) -> str:
    first: dict[str, int] = {}  # the group that an atom occurs in first
    rows = []
    for place, group in enumerate(layout.groups):
        for atom in group.axis.atoms():
            first.setdefault(atom.name, place)
        rows.append(_row(place, group, first, _marks(layout, place)))
    lines: list[tuple[str, ...]] = [("group", "neurons", "axis", "kind", "activation", "")]
    for fold in folds(rows):
        for place in range(fold.start, fold.start + fold.period):
            lines.append(_line(layout, place, fold, first))
    return _table(lines, numeric={1})


def _row(place: int, group: Group, first: dict[str, int], marks: str) -> Row:
    ties = tuple(first[atom.name] for atom in group.axis.atoms())
    traits = (_shape(group.axis), group.kind, group.role, group.activation, marks, group.bias is None)
    return Row(place, group.name, traits, ties)


def _marks(layout: Layout, place: int) -> str:
    """`±` for a group with neurons that may change sign, `×` for one with neurons that may be scaled."""
    neurons = layout.neuron_slices[place]
    return "".join(mark for mark, rule in MARKS.items() if (factor_index(layout, rule)[neurons] >= 0).any())


def _shape(axis: Axis) -> tuple[object, ...]:
    """An axis without its names."""
    if isinstance(axis, Atom):
        return (axis.size, axis.free, len(axis.within))
    parts = axis.parts if isinstance(axis, Product | Concat) else ()
    return (type(axis).__name__, *map(_shape, parts))


def _line(layout: Layout, place: int, fold: Fold, first: dict[str, int]) -> tuple[str, ...]:
    group = layout.groups[place]
    begins = place == fold.start and fold.count > 1
    times = f"┐ {fold.count} ×" if begins and fold.period > 1 else f"  {fold.count} ×" if begins else ""
    if not times and fold.count > 1:
        times = "┘" if place == fold.start + fold.period - 1 else "│"
    activation = group.activation.kind if group.activation.kind != "none" else ""
    activation = " ".join(filter(None, [activation, _marks(layout, place)]))
    kind = ", ".join(dict.fromkeys(word for word in (group.kind, group.role) if word not in ("", "hidden")))
    return (fold.names[place - fold.start], f"{group.size:,}", _axis(layout, place, first), kind, activation, times)


def _axis(layout: Layout, place: int, first: dict[str, int]) -> str:
    """The axis of a group: `64 free`, `64 as conv1`, `12 free × 64 free in each`."""
    axis = layout.groups[place].axis
    owners = dict.fromkeys(first[atom.name] for atom in axis.atoms())
    if len(owners) == 1 and (owner := next(iter(owners))) != place and layout.groups[owner].axis == axis:
        return f"{_sizes(axis)} {_tie(layout, place, owner)}"

    def write(part: Axis) -> str:
        if isinstance(part, Atom):
            state = "fixed" if not part.free else "free in each" if part.within else "free"
            owner = first[part.name]
            return f"{part.size} {state if owner == place else _tie(layout, place, owner)}"
        return _signed(part, [write(inner) for inner in _inner(part)])

    return write(axis)


def _tie(layout: Layout, place: int, owner: int) -> str:
    """`as` the group that has the axis first; of a long name only what the group's own name does not begin with."""
    ours, theirs = layout.groups[place].name, layout.groups[owner].name
    if len(theirs) <= LONG:
        return f"as {theirs}"
    parts = theirs.split(".")
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours.split("."), parts[:-1], strict=False)))
    return f"as {'…' if same else ''}{'.'.join(parts[same:])}"


def _inner(axis: Axis) -> Sequence[Axis]:
    return axis.parts if isinstance(axis, Product | Concat) else ()


def _sizes(axis: Axis) -> str:
    """`64`, `12 × 64`, `64 + 32`."""
    return str(axis.size) if isinstance(axis, Atom) else _signed(axis, [_sizes(part) for part in _inner(axis)])


def _signed(axis: Axis, words: Sequence[str]) -> str:
    if isinstance(axis, Product):
        return " × ".join(words)
    shown = words if len(words) <= SHOWN else [*words[: SHOWN - 1], f"… ({len(words)} parts)"]
    return " + ".join(shown)


def _table(lines: Sequence[Sequence[str]], numeric: set[int]) -> str:
    """Columns as wide as their longest entry; those in `numeric` end on the right."""
    widths = [max(len(row[column]) for row in lines) for column in range(len(lines[0]))]
    written = [
        "  ".join(
            word.rjust(width) if column in numeric else word.ljust(width)
            for column, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    ]
    return "\n".join(written)


# -- weights ----------------------------------------------------------------------------------------------------------


def _weights(layout: Layout) -> str:
    """Blocks by what they are and what they join."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for place, block in enumerate(layout.blocks):
        kinds.setdefault(_kind(layout, place, block), []).append(place)
    lines = [("weights", "join", "blocks", "edges", "numbers", "kernels")]
    for (kind, joins), places in kinds.items():
        blocks = [layout.blocks[place] for place in places]
        edges = [layout.tables[place].size for place in places]
        own = sum(
            n * b.kernel_size for n, b in zip(edges, blocks, strict=True) if b.parameter is not None and not b.shared
        )
        numbers = f"{own:,}" if own else "shared" if blocks[0].shared else ""
        lines.append((kind, joins, f"{len(blocks):,}", f"{sum(edges):,}", numbers, _kernels(blocks)))
    biases = [group.size for group in layout.groups if group.bias is not None and not group.shared]
    if biases:
        lines.append(("bias", "neurons", f"{len(biases):,}", "", f"{sum(biases):,}", ""))
    return _table(lines, numeric={2, 3, 4})


def _kind(layout: Layout, place: int, block: Block) -> tuple[str, str]:
    kind = weight_kind(block)
    return f"{kind}, shared" if block.shared else kind, layout.tables[place].kind


def weight_kind(block: Block) -> str:
    """What the weights of a block are: its kind, in layouts made by hand its operator, or `structural`."""
    return block.kind or ("structural" if block.parameter is None else type(block.operator).__name__.lower())


def _kernels(blocks: Sequence[Block]) -> str:
    """The shapes of their kernels, the most frequent first; kernels of one number need no word."""
    shapes = [block.kernel for block in blocks if block.kernel and block.parameter is not None]
    if not shapes:
        return ""
    ordered = sorted(dict.fromkeys(shapes), key=lambda shape: -shapes.count(shape))
    words = ["×".join(map(str, shape)) for shape in ordered[:SHOWN]]
    return ", ".join(words) + (f", … ({len(ordered)} shapes)" if len(ordered) > SHOWN else "")


# -- symmetry and coverage --------------------------------------------------------------------------------------------


def symmetry(layout: Layout) -> str:
    """The group of relabellings that leave the function unchanged, `S_64^3 × (S_32 ≀ S_4)`, and its order.

    `S_n` are the permutations of n neurons; `S_32 ≀ S_4` permutes 4 heads, and 32 neurons within each of them.
    """
    atoms = [atom for atom in layout.free_atoms if atom.size > 1]
    if not atoms:
        return "no neuron is free to permute"
    sizes = {atom.name: atom.size for group in layout.groups for atom in group.axis.atoms()}
    free = {atom.name for atom in atoms}
    inner = {name: [a for a in atoms if _parent(a, free, atoms) == name] for name in free}
    factors = [_factor(atom, inner, sizes, free) for atom in atoms if _parent(atom, free, atoms) is None]
    counts = {factor: factors.count(factor) for factor in factors}
    words = [factor if n == 1 else f"{factor}^{n}" for factor, n in counts.items()]
    order = sum(lgamma(a.size + 1) * prod(sizes[name] for name in a.within) for a in atoms) / log(10)
    count = f"{len(atoms):,} free {'axis' if len(atoms) == 1 else 'axes'}"
    return f"{count}: {' × '.join(words)}, 10^{order:,.0f} relabellings"


def factors(layout: Layout) -> str:
    """How many neurons may change sign or be scaled, `12 neurons may change sign (±)`; nothing where none may."""
    words = []
    for verb, (mark, rule) in zip(("change sign", "be scaled"), MARKS.items(), strict=True):
        index = factor_index(layout, rule)
        count, free = int((index >= 0).sum()), int(index.max(initial=-1)) + 1
        if count:
            tied = f": {free:,} factors, tied by skips" if free < count else ""
            words.append(f"{count:,} neurons may {verb} ({mark}{tied})")
    return ", ".join(words)


def _parent(atom: Atom, free: set[str], atoms: Sequence[Atom]) -> str | None:
    """The innermost free atom that an atom is nested in."""
    outer = [other for other in atoms if other.name in atom.within and other.name in free]
    return max(outer, key=lambda other: len(other.within)).name if outer else None


def _factor(atom: Atom, inner: dict[str, list[Atom]], sizes: dict[str, int], free: set[str]) -> str:
    """One factor with all that is nested in it; at every place of a fixed axis there is a copy of its own."""
    copies = prod(sizes[name] for name in atom.within if name not in free)
    own = f"S_{atom.size}" if copies == 1 else f"S_{atom.size}^{copies}"
    below = [_factor(child, inner, sizes, free) for child in inner[atom.name]]
    if not below:
        return own
    return f"({below[0] if len(below) == 1 else '(' + ' × '.join(below) + ')'} ≀ {own})"


def coverage(layout: Layout) -> str:
    """How many of the numbers are weights or biases of the graph: `1,153 of 1,153 parameters`."""
    read = dict.fromkeys((p.name for p in layout.parameters), 0)
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.parameter is not None and not block.shared:
            read[block.parameter] += table.size * block.kernel_size
    for group in layout.groups:
        if group.bias is not None and not group.shared:
            read[group.bias] += group.size
    found = sum(read[p.name] for p in layout.parameters if not p.buffer and not p.dtype)
    buffers = sum(read[p.name] for p in layout.parameters if p.buffer)
    carried = sum(p.size for p in layout.parameters if p.dtype)
    words = [f"{found:,} of {trained(layout):,} parameters"]
    words += [f"{buffers:,} numbers in buffers"] if buffers else []
    words += [f"{carried:,} carried along"] if carried else []
    return ", ".join(words)
