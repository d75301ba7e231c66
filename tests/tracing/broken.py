"""Layouts made wrong on purpose."""

from dataclasses import replace

from neural_graphs.layout import Layout
from neural_graphs.layout.axes import Atom, Axis, Concat, Product


def changed(layout: Layout, atoms: dict[Atom, Atom], groups: tuple[str, ...] = ()) -> Layout:
    """The layout with other atoms in these groups (in all, where none is named)."""
    named = (replace(g, axis=_renamed(g.axis, atoms)) if not groups or g.name in groups else g for g in layout.groups)
    return replace(layout, groups=tuple(named))


def freed(layout: Layout, atom: Atom) -> Layout:
    """The layout with a fixed atom set free."""
    return changed(layout, {atom: replace(atom, free=True)})


def _renamed(axis: Axis, atoms: dict[Atom, Atom]) -> Axis:
    match axis:
        case Atom():
            return atoms.get(axis, axis)
        case Product(parts) | Concat(parts):
            return replace(axis, parts=tuple(_renamed(part, atoms) for part in parts))
    raise TypeError(f"{axis}")
