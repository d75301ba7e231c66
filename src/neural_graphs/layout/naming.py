"""Names of a layout: other ones for its tensors, or none at all, to compare layouts up to names."""

from collections.abc import Mapping
from dataclasses import replace

from neural_graphs.errors import LayoutError
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.layout import Layout


def rename(layout: Layout, names: Mapping[str, str]) -> Layout:
    """The same layout reading tensors of other names."""
    groups = tuple(replace(g, bias=names[g.bias] if g.bias else None) for g in layout.groups)
    blocks = tuple(replace(b, parameter=names[b.parameter] if b.parameter else None) for b in layout.blocks)
    parameters = tuple(replace(p, name=names[p.name]) for p in layout.parameters)
    return Layout(groups, blocks, parameters)


def anonymous(layout: Layout) -> Layout:
    """The same layout with names that count up: layouts that are equal up to names become equal."""
    atoms: dict[str, str] = {}
    tensors = {parameter.name: f"p{place}" for place, parameter in enumerate(layout.parameters)}

    def axis(old: Axis) -> Axis:
        match old:
            case Atom(name, size, free, within):
                outer = tuple(atoms.setdefault(each, f"a{len(atoms)}") for each in within)
                return Atom(atoms.setdefault(name, f"a{len(atoms)}"), size, free, outer)
            case Product(parts):
                return Product(tuple(map(axis, parts)))
            case Concat(parts):
                return Concat(tuple(map(axis, parts)))
        raise LayoutError(f"an axis is an Atom, a Product or a Concat, got {type(old).__name__}")

    groups = [
        replace(group, name=f"g{place}", axis=axis(group.axis), bias=tensors.get(group.bias or ""))
        for place, group in enumerate(layout.groups)
    ]
    blocks = [replace(block, parameter=tensors.get(block.parameter or "")) for block in layout.blocks]
    parameters = [replace(p, name=tensors[p.name], also=()) for p in layout.parameters]
    return Layout(tuple(groups), tuple(blocks), tuple(parameters))
