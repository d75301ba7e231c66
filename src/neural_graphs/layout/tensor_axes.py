"""The axis of every dimension of every tensor, read off the neurons that its numbers join.

A dimension has an atom where all numbers of a slice lie at one place of it. Runs of slices with the same atoms are
products, the slowest first; what no neuron tells apart (the places of a kernel, of a flattened map) is fixed.

Example:
    >>> from neural_graphs.layout import Layout
    >>> layout = Layout.cnn((1, 4, 6), (3, 3), 2, places=(2, 2))
    >>> rows, columns, *window = layout.axes["conv1.weight"]
    >>> rows.name, columns.name, [axis.size for axis in window]
    ('conv1[0:6]', 'conv0[0:4]', [3, 3])
    >>> [(atom.name, atom.size, atom.free) for atom in layout.axes["fc.weight"][1].atoms()]  # channel × place
    [('conv1[0:6]', 6, True), ('fc.weight:1', 4, False)]
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from neural_graphs.layout.axes import Atom, Axis, Concat, Product, coordinates
from neural_graphs.layout.layout import Layout

Places = Mapping[str, NDArray[np.int64]]  # by atom, where every slice of a dimension lies along it, -1: nowhere


def tensor_axes(layout: Layout) -> dict[str, tuple[Axis, ...]]:
    """The axes of every tensor, one per dimension, by its name."""
    atoms = {atom.name: atom for group in layout.groups for atom in group.axis.atoms() if atom.size > 1}
    along = {name: np.concatenate([*(coordinates(g.axis, name) for g in layout.groups), [-1]]) for name in atoms}
    holders = [{atom.name for atom in group.axis.atoms()} for group in layout.groups]
    found = {}
    for parameter in layout.parameters:
        ends = [index[layout.slices[parameter.name]].reshape(parameter.shape) for index in layout.number_ends]
        groups = {int(place) for end in ends for place in np.unique(layout.neuron_group[end[end >= 0]])}
        near = {name: along[name] for place in groups for name in holders[place] if name in atoms}
        found[parameter.name] = tuple(
            _axis(f"{parameter.name}:{dim}", size, _places(ends, near, dim), atoms)
            for dim, size in enumerate(parameter.shape)
        )
    return found


def _places(ends: list[NDArray[np.int64]], near: Places, dim: int) -> Places:
    """Where slices lie along every atom at which all numbers of a slice have one place, at their source or target."""
    found: dict[str, NDArray[np.int64]] = {}
    for end in reversed(ends):  # targets first
        slices = np.moveaxis(end, dim, 0).reshape(end.shape[dim], -1)
        for name, along in near.items():
            low, high = along[slices].min(1), along[slices].max(1)
            here = np.where(low == high, low, -1)
            if len(np.unique(here[here >= 0])) > 1:
                found[name] = np.where(here >= 0, here, found.get(name, here))
    return found


def _axis(name: str, size: int, places: Places, atoms: Mapping[str, Atom]) -> Axis:
    """One dimension as runs of slices, each a product."""
    parts: list[Axis] = []
    start = 0
    while start < size:
        run = _run(start, places, atoms, size)
        if run is None:
            stop = next((at for at in range(start + 1, size) if _run(at, places, atoms, size)), size)
            parts.append(Atom(name if (start, stop) == (0, size) else f"{name}[{start}:{stop}]", stop - start))
            start = stop
        else:
            factors, length = run
            named = [each if isinstance(each, Atom) else Atom(name, each) for each in factors]
            parts.append(named[0] if len(named) == 1 else Product(tuple(named)))
            start += length
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def _run(start: int, places: Places, atoms: Mapping[str, Atom], size: int) -> tuple[list[Atom | int], int] | None:
    """The factors of the product that begins at a slice, whole numbers for fixed ones, and how many slices it has."""
    begun = [name for name, at in places.items() if at[start] == 0]
    steps = dict(_steps(start, begun, places))
    order = sorted((name for name in begun if name in steps), key=lambda name: -steps[name])
    if not order:
        return None
    length = steps[order[0]] * atoms[order[0]].size
    if start + length > size:
        return None
    factors: list[Atom | int] = []
    expected, inner = np.arange(length), length
    for name in order:
        step, count = steps[name], atoms[name].size
        if inner % (step * count) or not np.array_equal(places[name][start : start + length], expected // step % count):
            return None
        factors += [inner // (step * count)] if inner > step * count else []
        factors.append(atoms[name])
        inner = step
    return [*factors, *([inner] if inner > 1 else [])], length


def _steps(start: int, names: list[str], places: Places) -> Iterator[tuple[str, int]]:
    """How many slices further the place along each atom changes, where it changes from 0 to 1."""
    for name in names:
        ahead = np.flatnonzero(places[name][start:] != 0)
        if len(ahead) and places[name][start + ahead[0]] == 1:
            yield name, int(ahead[0])
