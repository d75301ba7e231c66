"""All linear maps between grids of numbers that commute with the permutations of their atoms.

They are spanned by one map per *valid partition* (Maron et al. 2019, *Invariant and Equivariant Graph Networks*; Zhou
et al. 2024, *Universal Neural Functionals*): the indices of source and target are split into classes, each of one atom.
A class with indices on both sides is the same place on both; one of source indices only is averaged over, one of target
indices only is broadcast over; several indices of a class on one side read, or fill, a diagonal. Indices nested in
others share a class only where those do. Every class needs a place of its own, so an atom of n places has at most n:
with that bound the maps are a basis, without it they would span the same space and depend on each other.

Example, the matrix between 32 and 32 hidden neurons and itself: the number, its row, its column, and the mean of all.

    >>> from neural_graphs.layout import Layout
    >>> from neural_graphs.layout.grids import grids
    >>> first, matrix, *_ = (grid.indices for grid in grids(Layout.mlp((2, 32, 32, 1))))
    >>> len(equivariant_maps(matrix, matrix)), len(equivariant_maps(first, matrix))
    (4, 2)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from neural_graphs.layout.grids import Grid, Index
from neural_graphs.layout.recorded import Recorded

Classes = tuple[int, ...]  # of every index, counted in the order they occur in


@dataclass(frozen=True)
class EquivariantMap:
    """One map: the class of every source index and of every target index."""

    source: Classes
    target: Classes

    @property
    def kept(self) -> Classes:
        """The classes on both sides, in the order of the target."""
        return tuple(each for each in dict.fromkeys(self.target) if each in self.source)


@dataclass(frozen=True)
class Summary:
    """What a map reads: of one grid, the diagonal of indices of one class, averaged over all classes but those kept."""

    grid: int
    classes: Classes
    kept: Classes


@dataclass(frozen=True)
class Term:
    """Maps into a grid that read different things and write alike: at equal indices of a class, along those kept."""

    classes: Classes
    kept: Classes
    summaries: tuple[Summary, ...]


class Maps(Recorded):
    """Which of the maps a layer has."""

    def keeps(self, source: Grid, target: Grid, each: EquivariantMap) -> bool:
        """Whether it has this one."""
        raise TypeError(f"{type(self).__name__} is abstract: use All or Neighbours")


class All(Maps):
    """All there are: the layer is complete. Their number grows with the square of the number of tensors."""

    def keeps(self, source: Grid, target: Grid, each: EquivariantMap) -> bool:
        return True


class Neighbours(Maps):
    """Those that keep an index, and those inside of a grid: their number grows with that of tensors, not its square."""

    def keeps(self, source: Grid, target: Grid, each: EquivariantMap) -> bool:
        return bool(each.kept) or source.kind == target.kind


def equivariant_maps(source: Sequence[Index], target: Sequence[Index]) -> list[EquivariantMap]:
    """The basis of the linear maps between two grids that commute with every permutation, features left aside."""
    shift = len(source)
    joint = [*source, *(replace(each, outer=tuple(shift + place for place in each.outer)) for each in target)]
    order = sorted(range(len(joint)), key=lambda place: _depth(joint, place))
    found = (_counted([classes[place] for place in range(len(joint))]) for classes in _partitions(joint, order, {}))
    return [EquivariantMap(classes[:shift], classes[shift:]) for classes in found]


def terms(grids: Sequence[Grid], target: Grid, maps: Maps) -> list[Term]:
    """The maps of all grids into one, those that write alike together; those that keep most classes first."""
    found: dict[tuple[Classes, Classes], list[Summary]] = {}
    for place, source in enumerate(grids):
        for each in equivariant_maps(source.indices, target.indices):
            if maps.keeps(source, target, each):
                here, there = list(dict.fromkeys(each.source)), list(dict.fromkeys(each.target))
                summary = Summary(place, _counted(each.source), tuple(map(here.index, each.kept)))
                found.setdefault((_counted(each.target), tuple(map(there.index, each.kept))), []).append(summary)
    ordered = sorted(found, key=lambda key: (key[0], -len(key[1]), key[1]))
    return [Term(*key, tuple(found[key])) for key in ordered]


def constants(target: Grid) -> list[Classes]:
    """The classes of the indices along which a constant may be written: the maps from one number that never moves."""
    return [each.target for each in equivariant_maps((), target.indices)]


def _partitions(joint: Sequence[Index], order: Sequence[int], classes: dict[int, int]) -> Iterator[dict[int, int]]:
    """Every way to go on with the indices that have no class yet, outer ones first."""
    if not order:
        yield classes
        return
    place, *rest = order
    like = {classes[other] for other in classes if _alike(joint, classes, place, other)}
    new = {len(set(classes.values()))} if len(like) < joint[place].size else set()
    for each in sorted(like | new):
        yield from _partitions(joint, rest, {**classes, place: each})


def _alike(joint: Sequence[Index], classes: dict[int, int], place: int, other: int) -> bool:
    """Whether two indices may be compared: of one atom, at the same places of those they are nested in."""
    around = [[classes[outer] for outer in joint[each].outer] for each in (place, other)]
    return joint[place].atom == joint[other].atom and around[0] == around[1]


def _depth(joint: Sequence[Index], place: int) -> int:
    return 1 + max((_depth(joint, outer) for outer in joint[place].outer), default=0)


def _counted(classes: Sequence[int]) -> Classes:
    """The same classes numbered in the order they occur in."""
    names = list(dict.fromkeys(classes))
    return tuple(map(names.index, classes))
