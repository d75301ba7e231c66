"""The numbers of a network by what permutes them: grids of free indices, with everything fixed as features.

A number is found by its neurons, and a neuron by its places along the atoms of its group. Places along free atoms are
indices; places along fixed atoms, and places in a kernel, are features. Numbers of all tensors that have the same
indices form one `Grid`.

Example, 2 → 3 → 4 → 1: the first weights and biases have one index, 2 + 1 features; the second weights have two.

    >>> from neural_graphs.layout import Layout
    >>> for grid in grids(Layout.mlp((2, 3, 4, 1))):
    ...     print([index.size for index in grid.indices], grid.features, grid.tensors)
    [3] 3 ('layers.0.weight', 'layers.0.weight', 'layers.0.bias')
    [4, 3] 1 ('layers.1.weight',)
    [4] 2 ('layers.1.bias', 'layers.2.weight')
    [] 1 ('layers.2.bias',)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from neural_graphs.errors import LayoutError
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.layout import Layout

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """One index of a grid, along an atom that is permuted.

    `outer` are the places, among the indices of its grid, of those it is nested in. `fixed` says that the atom is
    permuted by choice only: its places have an order.
    """

    atom: str
    size: int
    outer: tuple[int, ...] = ()
    fixed: bool = False


@dataclass(frozen=True)
class Grid:
    """Numbers that permute alike: one index per dimension, and features that are not permuted.

    `places` `(*sizes, features)` are those of the numbers in the flat vector; `tensors` names the tensor of every
    feature.
    """

    indices: tuple[Index, ...]
    tensors: tuple[str, ...]
    places: Numbers = field(compare=False, repr=False)

    @property
    def features(self) -> int:
        """How many numbers there are at every place."""
        return len(self.tensors)

    @property
    def kind(self) -> tuple[object, ...]:
        """What it has in common with the grid of a wider network: everything but sizes and places."""
        return (tuple((index.atom, index.outer, index.fixed) for index in self.indices), self.tensors)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The size of every index."""
        return tuple(index.size for index in self.indices)

    @cached_property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.sizes) * self.features


@lru_cache(maxsize=4096)
def grids(layout: Layout, ends: bool = False) -> tuple[Grid, ...]:
    """All numbers of a layout that its blocks and biases own, each in one grid.

    With `ends`, atoms that are fixed (inputs, outputs, positions) are indices too, as if they might be permuted.
    Raises LayoutError where a block does not have as many numbers at every combination of places.
    """
    every = [grid for owned in _owned(layout, ends) for grid in _split(*owned)]
    found: dict[tuple[Index, ...], list[Grid]] = {}
    names: dict[str, str] = {}  # atoms in the order they occur in: a0, a1, …
    for grid in sorted(every, key=lambda grid: int(grid.places.min())):
        indices = tuple(replace(i, atom=names.setdefault(i.atom, f"a{len(names)}")) for i in grid.indices)
        found.setdefault(indices, []).append(grid)
    return tuple(
        Grid(
            indices,
            tuple(name for grid in alike for name in grid.tensors),
            np.concatenate([grid.places for grid in alike], -1),
        )
        for indices, alike in found.items()
    )


# -- what is known of every number ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """Where numbers lie along one atom, `along` `(numbers,)`; `outer` are the columns it is nested in."""

    atom: Atom
    along: Numbers
    outer: tuple[int, ...]
    free: bool = False

    def same(self, other: "_Column") -> bool:
        """Whether both move together: one atom, at one place for every number."""
        return self.atom == other.atom and np.array_equal(self.along, other.along)


def _owned(layout: Layout, ends: bool) -> Iterator[tuple[str, Numbers, list[_Column]]]:
    """Name of the tensor, numbers and where they lie, for every owner and every part of the axes at its ends."""
    leaves = [list(_leaves(group.axis, ends)) for group in layout.groups]
    for group, own in zip(layout.groups, leaves, strict=True):
        for leaf in own if group.bias and not group.shared else ():
            numbers = layout.bias_numbers(group)[leaf.neurons.reshape(-1)]
            yield str(group.bias), numbers, leaf.columns(leaf.neurons.reshape(-1))
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.parameter is None or block.shared:
            continue
        source, target = table.ends
        for there, here in product(leaves[block.target], leaves[block.source]):
            chosen = there.holds(target) & here.holds(source)
            if chosen.any():
                numbers, kernel = layout.numbers(block)[chosen], block.kernel_size
                first = there.columns(np.repeat(target[chosen], kernel))
                then = here.columns(np.repeat(source[chosen], kernel), len(first))
                place = _Column(Atom("", kernel), np.tile(np.arange(kernel), len(numbers)), ())
                yield block.parameter, numbers.reshape(-1), _untied([*first, *then, place])


@dataclass(frozen=True)
class _Leaf:
    """A part of an axis that is a product of atoms: its neurons, `(*sizes,)`."""

    atoms: tuple[Atom, ...]
    neurons: Numbers
    ends: bool  # whether fixed atoms are permuted, too

    def holds(self, neurons: Numbers) -> NDArray[np.bool_]:
        """Which neurons are in it."""
        return np.isin(neurons, self.neurons)

    def columns(self, neurons: Numbers, start: int = 0) -> list[_Column]:
        """Where neurons of it lie along its atoms; columns are counted from `start`."""
        order = np.argsort(self.neurons, axis=None)
        at = order[np.searchsorted(self.neurons.reshape(-1)[order], neurons)]
        along = np.unravel_index(at, self.neurons.shape) if self.atoms else ()
        names = [atom.name for atom in self.atoms]
        return [
            _Column(atom, where, tuple(start + names.index(name) for name in atom.within), atom.free or self.ends)
            for atom, where in zip(self.atoms, along, strict=True)
        ]


def _leaves(axis: Axis, ends: bool) -> Iterator[_Leaf]:
    match axis:
        case Atom(size=size):
            yield _Leaf((axis,), np.arange(size), ends)
        case Concat(parts):
            start = 0
            for part in parts:
                yield from (replace(leaf, neurons=start + leaf.neurons) for leaf in _leaves(part, ends))
                start += part.size
        case Product(parts):
            for leaves in product(*(_leaves(part, ends) for part in parts)):
                neurons = np.zeros((), dtype=np.int64)
                for part, leaf in zip(parts, leaves, strict=True):
                    neurons = np.add.outer(neurons * part.size, leaf.neurons)
                yield _Leaf(tuple(atom for leaf in leaves for atom in leaf.atoms), neurons, ends)
        case _:
            raise LayoutError(f"an axis is an Atom, a Product or a Concat, got {type(axis).__name__}")


def _untied(columns: Sequence[_Column]) -> list[_Column]:
    """The columns without those that repeat an earlier one (one-to-one blocks, groups of a convolution)."""
    kept: list[_Column] = []
    place: list[int] = []  # of every column among those kept
    for column in columns:
        column = replace(column, outer=tuple(place[each] for each in column.outer))
        first = next((at for at, other in enumerate(kept) if column.same(other)), len(kept))
        kept += [column] if first == len(kept) else []
        place.append(first)
    return kept


# -- numbers to grids -------------------------------------------------------------------------------------------------


def _split(name: str, numbers: Numbers, columns: Sequence[_Column]) -> Iterator[Grid]:
    """The numbers of one owner as a grid; as several, where a free atom lies within a fixed one: one for each place."""
    apart = [columns[each] for column in columns if column.free for each in column.outer if not columns[each].free]
    keys = np.stack([np.zeros_like(numbers), *(column.along for column in apart)])
    for key in np.unique(keys, axis=1).T:
        here = (keys == key[:, None]).all(0)
        yield _grid(name, numbers[here], [replace(column, along=column.along[here]) for column in columns])


def _grid(name: str, numbers: Numbers, columns: Sequence[_Column]) -> Grid:
    free = [at for at, column in enumerate(columns) if column.free]
    indices = tuple(_index(columns, at, free) for at in free)
    sizes = tuple(index.size for index in indices)
    rest = [column.along for column in columns if not column.free]
    order = np.lexsort([numbers, *reversed(rest), *(columns[at].along for at in reversed(free))])
    count = len(numbers) // prod(sizes)
    if len(numbers) != count * prod(sizes) or not _regular(columns, free, order, (*sizes, count)):
        shape = " × ".join(map(str, sizes))
        raise LayoutError(
            f"the numbers of {name} do not lie on a grid of {shape} places with the same features everywhere, so no "
            "linear layer can be derived; permute hidden neurons only (ends=False), or use NGGNN"
        )
    return Grid(indices, (name,) * count, numbers[order].reshape(*sizes, count))


def _regular(columns: Sequence[_Column], free: Sequence[int], order: Numbers, shape: tuple[int, ...]) -> bool:
    """Whether numbers in order lie on a grid of this shape, features last, which are the same at every place."""
    indices = np.indices(shape)
    for at, column in enumerate(columns):
        along = column.along[order].reshape(shape)
        expected = indices[free.index(at)] if at in free else along[(0,) * (len(shape) - 1)]
        if not np.array_equal(along, np.broadcast_to(expected, shape)):
            return False
    return True


def _index(columns: Sequence[_Column], at: int, free: Sequence[int]) -> Index:
    """The index along a free column; within fixed ones, its atom is another one at each of their places."""
    column = columns[at]
    fixed = [int(columns[each].along[0]) for each in column.outer if each not in free]
    label = column.atom.name + "".join(f"@{place}" for place in fixed)
    outer = tuple(free.index(each) for each in column.outer if each in free)
    return Index(label, column.atom.size, outer, not column.atom.free)
