"""Where the numbers of a network go when its neurons are relabelled: orders of neurons to places of parameters."""

from collections.abc import Mapping, Sequence

import numpy as np

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Atom, Block, Layout
from neural_graphs.layout.strides import End, Table, Window, places, row_major, strided

Orders = Mapping[str, np.ndarray]


class Relabelling:
    """Orders of the free atoms of a layout: arrays `(*sizes of the atoms it lies within, size)`, by name."""

    def __init__(self, layout: Layout, orders: Orders):
        self.atoms = {atom.name: atom for group in layout.groups for atom in group.axis.atoms()}
        self.orders = {name: np.broadcast_to(order, self.shape(name)) for name, order in orders.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the order of an atom."""
        atom = self.atoms[name]
        return (*(self.atoms[outer].size for outer in atom.within), atom.size)

    def order(self, name: str) -> np.ndarray:
        """The order of an atom, ascending where none is given."""
        return self.orders.get(name, np.broadcast_to(np.arange(self.atoms[name].size), self.shape(name)))

    def inverse(self) -> dict[str, np.ndarray]:
        """The orders that undo these."""
        found = {}
        for name in self.orders:
            found[name] = np.empty(self.shape(name), dtype=np.int64)
            found[name][self._moved(name)] = np.arange(self.atoms[name].size)
        return found

    def after(self, first: "Relabelling") -> dict[str, np.ndarray]:
        """The orders that do what `first` and then these do."""
        names = dict.fromkeys((*self.orders, *first.orders))
        return {name: first.order(name)[self._moved(name)] for name in names}

    def _moved(self, name: str) -> tuple[np.ndarray, ...]:
        """Old places of all new ones, along every atom that this one lies within and along itself, `(*outer, size)`."""
        chain = [*(self.atoms[outer] for outer in self.atoms[name].within), self.atoms[name]]
        new = dict(zip((atom.name for atom in chain), np.indices(self.shape(name)), strict=True))
        return tuple(self._old(atom, new) for atom in chain)

    def _old(self, atom: Atom, new: Mapping[str, np.ndarray]) -> np.ndarray:
        return self.order(atom.name)[(*(new[outer] for outer in atom.within), new[atom.name])]


def new_places(layout: Layout, orders: Sequence[np.ndarray]) -> np.ndarray:
    """Old place of every parameter in the flat vector, `(size,)`, when the groups are reordered by `orders`.

    Raises LayoutError where a block ties neurons that move differently, or a tensor has readers that do.
    """
    found = np.arange(layout.size)
    for group, order in zip(layout.groups, orders, strict=True):
        if group.bias and not group.shared:
            numbers = layout.bias_numbers(group)
            found[numbers] = numbers[order]
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.parameter is None:
            _old_places(layout, block, table, orders, (0,) * len(table.sizes))
        elif not block.shared:
            view, kernel, steps = _numbers(layout, block, table, found)
            view[...] = _with_kernel(_old_places(layout, block, table, orders, steps), kernel)
    _check_shared_places(layout, orders, found)
    return found


def _check_shared_places(layout: Layout, orders: Sequence[np.ndarray], found: np.ndarray) -> None:
    """Further readers of a tensor must move its numbers as their owner does."""
    torn = []
    for group, order in zip(layout.groups, orders, strict=True):
        if group.bias and group.shared:
            numbers = layout.bias_numbers(group)
            torn += [] if np.array_equal(found[numbers], numbers[order]) else [group.bias]
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.parameter and block.shared:
            view, kernel, steps = _numbers(layout, block, table, found)
            expected = _with_kernel(_old_places(layout, block, table, orders, steps), kernel)
            torn += [] if np.array_equal(view, expected) else [block.parameter]
    if torn:
        raise _shared_torn(torn, "moves")


def new_factors(layout: Layout, factors: Sequence[np.ndarray]) -> np.ndarray:
    """The factor of every parameter in the flat vector, `(size,)`, when the groups are multiplied by `factors`.

    Raises LayoutError where a structural block joins neurons that are multiplied differently, or a tensor has readers
    that multiply it differently.
    """
    found, torn = np.ones(layout.size), []
    for group, factor in sorted(zip(layout.groups, factors, strict=True), key=lambda pair: pair[0].shared):
        if group.bias and not group.shared:
            found[layout.bias_numbers(group)] = factor
        elif group.bias:
            torn += [] if np.array_equal(found[layout.bias_numbers(group)], factor) else [group.bias]
    for block, table in sorted(zip(layout.blocks, layout.tables, strict=True), key=lambda pair: pair[0].shared):
        source = table.along(factors[block.source][table.first :], "source")
        target = table.along(factors[block.target], "target")
        if block.parameter:
            view, kernel, _ = _numbers(layout, block, table, found)
            ratio = np.broadcast_to((target / source).reshape(*table.sizes, *(1,) * kernel.ndim), view.shape)
            if not block.shared:
                view[...] = ratio
            torn += [] if np.array_equal(view, ratio) else [block.parameter]
        elif not np.array_equal(source, target):
            raise _torn(layout, block, table, "scales")
    if torn:
        raise _shared_torn(torn, "multiplies")
    return found


def _old_places(
    layout: Layout, block: Block, table: Table, orders: Sequence[np.ndarray], steps: Sequence[int]
) -> np.ndarray:
    """How far the weight that becomes each weight of a block lies from its first one, `(*sizes,)`, where a step along
    a dimension of the table is `steps` long."""
    indices: dict[End, dict[int, np.ndarray]] = {}
    ends: tuple[tuple[End, int], ...] = (("source", block.source), ("target", block.target))
    for end, group in ends:
        indices[end], reached = table.indices(orders[group], end)
        if not table.neurons(reached, end).all():
            raise _torn(layout, block, table, "reorders")
    source, target = indices["source"], indices["target"]
    for dim in source.keys() & target.keys():
        if not np.array_equal(table.along(source[dim], "source"), table.along(target[dim], "target")):
            raise _torn(layout, block, table, "reorders")
    by_source = sum((steps[dim] * index for dim, index in source.items()), np.zeros_like(orders[block.source]))
    rest = {dim: index for dim, index in target.items() if dim not in source}
    by_target = sum((steps[dim] * index for dim, index in rest.items()), np.zeros_like(orders[block.target]))
    return table.along(by_source, "source") + table.along(by_target, "target")


def _numbers(
    layout: Layout, block: Block, table: Table, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Of a block: the view `(*sizes, *kernel)` of its numbers in a flat vector, the place of every number of its first
    kernel there, `(*kernel,)`, and the steps to the next kernel along each dimension of its table."""
    sizes = (*table.sizes, *block.kernel)
    window = block.window or Window(0, sizes, row_major(sizes))
    first, count = layout.slices[str(block.parameter)].start + window.offset, len(table.sizes)
    kernel = (first + places(block.kernel, window.strides[count:])).reshape(block.kernel)
    return strided(values, first, window.sizes, window.strides), kernel, window.strides[:count]


def _with_kernel(weights: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return weights.reshape(*weights.shape, *(1,) * kernel.ndim) + kernel


def _shared_torn(names: Sequence[str], does: str) -> LayoutError:
    return LayoutError(
        f"{sorted(set(names))} are read more than once, and this symmetry {does} their numbers in one way for one "
        "reader and in another way for another; give the groups they join the same axis atoms"
    )


def _torn(layout: Layout, block: Block, table: Table, does: str) -> LayoutError:
    source, target = layout.groups[block.source], layout.groups[block.target]
    return LayoutError(
        f"a {table.kind} block joins {source.name} to {target.name}, but this symmetry {does} the neurons it ties "
        "differently; give both groups the same axis atoms there"
    )
