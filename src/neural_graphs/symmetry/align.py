"""Weight matching: the permutation of the neurons of one network that brings it closest to another.

Coordinate descent over the free axes (Ainsworth et al. 2023, *Git Re-Basin*, section 3.2): one axis at a time is
matched by a linear assignment while the others stay. Which numbers an axis moves is read off the layout, so whatever
can be traced can be matched: skips, norms, grouped convolutions, the heads of attention and the dimensions within each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Atom, Layout
from neural_graphs.layout.axes import coordinates
from neural_graphs.networks import Networks
from neural_graphs.symmetry.elements import Element, NeuronPermutation
from neural_graphs.symmetry.relabel import Relabelling

SWEEPS = 100  # over all axes; it stops as soon as none moves anything
SMALLEST = 1e-12  # gain, relative to what is there, below which an axis stays
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Moved:
    """Which numbers an axis moves: `places` `(outer, size, rest)` in the flat vector, one list for every way to move.

    `outer` counts the places of the axes it lies within. Numbers that have the axis at both ends are in two lists: each
    moves one end.
    """

    atom: Atom
    places: tuple[Indices, ...]


def align(reference: Networks, networks: Networks, *, seed: int = 0, sweeps: int = SWEEPS) -> Element:
    """The permutation of the neurons of a network that brings it closest to another of the same layout.

    `align(a, b).act(b)` computes what `b` does, with neurons in the order of their likes in `a`. Both are batches of
    one. Distances are squared differences of trained numbers; buffers, such as running statistics, move along.
    Raises LayoutError where layouts differ or nothing may be permuted.
    """
    layout = _common(reference, networks)
    if not NeuronPermutation.movable(layout):
        raise LayoutError(f"{layout} has no neurons that may be permuted: there is nothing to align")
    ours, theirs = (each.values[0].detach().double().cpu().numpy() for each in (reference, networks))
    search = _Search(layout, np.where(_trained(layout), ours, 0.0), sweeps)
    found = [search(theirs, start, seed) for start in (False, True)]
    return max(found, key=lambda each: each[1])[0]


class _Search:
    """Coordinate descent towards one network, from where another is or from a first guess."""

    def __init__(self, layout: Layout, ours: NDArray[np.float64], sweeps: int) -> None:
        self.layout, self.ours, self.sweeps = layout, ours, sweeps
        atoms = sorted(NeuronPermutation.movable(layout), key=lambda atom: len(atom.within))
        self.moves = [moved(layout, atom) for atom in atoms]  # outer axes before those within them

    def __call__(self, theirs: NDArray[np.float64], guess: bool, seed: int) -> tuple[Element, float]:
        """The permutation, and the inner product that it reaches."""
        theirs, found = theirs.copy(), NeuronPermutation(self.layout)
        for moves in self.moves if guess else ():
            found = self._step(moves, _guessed(moves, self.ours, theirs), theirs, found)
        random = np.random.default_rng(seed)
        for _ in range(self.sweeps):
            before = found
            for place in random.permutation(len(self.moves)):
                order = _matched(self.moves[place], self.ours, theirs)
                found = found if order is None else self._step(self.moves[place], order, theirs, found)
            if found is before:
                break
        return found, float(self.ours @ theirs)

    def _step(
        self, moves: Moved, order: Indices, theirs: NDArray[np.float64], found: NeuronPermutation
    ) -> NeuronPermutation:  # fmt: skip
        """Reorder one axis, in place; the permutation so far with it."""
        for places in moves.places:
            theirs[places] = theirs[np.take_along_axis(places, order[..., None], 1)]
        shaped = order.reshape(found.relabelling.shape(moves.atom.name))
        step = NeuronPermutation(self.layout, {moves.atom.name: shaped}) @ found
        assert isinstance(step, NeuronPermutation)
        return step


def interpolate(start: Networks, end: Networks, shares: Sequence[float]) -> Networks:
    """Networks on the line between two of one layout: `(1 − t) · start + t · end` for every share t."""
    layout = _common(start, end)
    t = torch.tensor(list(shares), dtype=start.values.dtype, device=start.values.device)[:, None]
    return Networks((1 - t) * start.values + t * end.values, layout)


def merge(networks: Networks, *, seed: int = 0, rounds: int = 5) -> Networks:
    """The mean of networks of one layout, each first aligned with the mean of the others, again and again.

    As algorithm 3 of *Git Re-Basin*; a batch of one. Means of running statistics are no statistics: renew them.
    """
    if not networks.regular:
        raise LayoutError("networks of several layouts have no mean; merge those of one")
    every, random = [networks[place] for place in range(len(networks))], np.random.default_rng(seed)
    for _ in range(rounds if len(every) > 1 else 0):
        changed = False
        for place in random.permutation(len(every)):
            others = [each.values for other, each in enumerate(every) if other != place]
            mean = Networks(reduce(torch.add, others) / len(others), networks.layout)
            moved_now = align(mean, every[place], seed=seed).act(every[place])
            changed = changed or not torch.equal(moved_now.values, every[place].values)
            every[place] = moved_now
        if not changed:
            break
    return Networks(torch.cat([each.values for each in every]).mean(0, keepdim=True), networks.layout)


def _common(one: Networks, other: Networks) -> Layout:
    if not (one.regular and other.regular) or one.layout != other.layout:
        raise LayoutError(f"only networks of one layout can be compared number by number, got {one} and {other}")
    if one.values.ndim != 2 or len(one) != 1 or len(other) != 1:
        raise LayoutError(f"expected a batch of one network with one channel each, got {one} and {other}")
    return one.layout


def _trained(layout: Layout) -> NDArray[np.bool_]:
    return np.concatenate([np.full(p.size, not (p.buffer or p.dtype)) for p in layout.parameters])


# -- which numbers an axis moves --------------------------------------------------------------------------------------


def moved(layout: Layout, atom: Atom) -> Moved:
    """The numbers that an axis moves."""
    names = (*atom.within, atom.name)
    along = {name: np.concatenate([coordinates(g.axis, name) for g in layout.groups]) for name in names}
    shape = Relabelling(layout, {}).shape(atom.name)
    lists = [_listed(each, along, shape) for ends in _owned(layout) for each in _sides(ends, along[atom.name])]
    return Moved(atom, tuple(each for each in lists if each.size))


def _owned(layout: Layout) -> Iterator[tuple[Indices, Indices, Indices]]:
    """Number, source and target neuron (-1: none) of everything a block or a bias owns, `(numbers,)` each."""
    sources, targets = layout.number_ends
    every = [layout.bias_numbers(group) for group in layout.groups if group.bias and not group.shared]
    every += [layout.numbers(block).reshape(-1) for block in layout.blocks if block.parameter and not block.shared]
    for numbers in every:
        yield numbers, sources[numbers], targets[numbers]


Side = tuple[Indices, Indices, Indices]  # numbers, the neurons that move, what stays the same


def _sides(ends: tuple[Indices, Indices, Indices], along: Indices) -> Iterator[Side]:
    """How an axis moves numbers: along their targets, their sources, or both at once where these are tied."""
    numbers, source, target = ends
    here, there = along[target], np.where(source >= 0, along[source], -1)
    both = (here >= 0) & (there >= 0)
    if both.any() and (here == there)[both].all():
        yield numbers[both], target[both], _rest(along, source[both])
        here, there = np.where(both, -1, here), np.where(both, -1, there)
    if (moving := here >= 0).any():
        yield numbers[moving], target[moving], source[moving]
    if (moving := there >= 0).any():
        yield numbers[moving], source[moving], target[moving]


def _rest(along: Indices, neurons: Indices) -> Indices:
    """A number for every neuron that is the same for those that differ along the axis only."""
    order = np.argsort(along, kind="stable")
    rank = np.empty_like(along)
    starts = np.searchsorted(along[order], along[order])
    rank[order] = np.arange(len(along)) - starts
    return rank[neurons]


def _listed(side: Side, along: dict[str, Indices], shape: tuple[int, ...]) -> Indices:
    """Numbers by outer place, place along the axis, and all else, `(outer, size, rest)`.

    `along` are the places of all neurons along the axes it lies within, outermost first, and along itself.
    """
    numbers, moving, staying = side
    *around, here = along.values()
    outer = np.zeros(len(numbers), dtype=np.int64)
    for size, each in zip(shape[:-1], around, strict=True):
        outer = outer * size + each[moving]
    order = np.lexsort((numbers, staying, _rest(here, moving), here[moving], outer))
    if len(numbers) % prod(shape):
        raise LayoutError(f"the places of axis {[*along][-1]!r} do not have as many weights each; it cannot be matched")
    return numbers[order].reshape(prod(shape[:-1]), shape[-1], -1)


# -- matching ---------------------------------------------------------------------------------------------------------


def _matched(moves: Moved, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Indices | None:
    """The best order of an axis, `(outer, size)`, while all others stay; None where it is the one it has."""
    gains = np.asarray(sum(ours[places] @ theirs[places].swapaxes(1, 2) for places in moves.places))
    orders = _assigned(gains)
    kept = np.broadcast_to(np.arange(orders.shape[1]), orders.shape)
    total = [np.take_along_axis(gains, each[..., None], 2).sum() for each in (orders, kept)]
    return orders if total[0] > total[1] + SMALLEST * abs(total[1]) and not np.array_equal(orders, kept) else None


def _guessed(moves: Moved, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Indices:
    """An order by what no other axis changes: the numbers of every place in order of their size."""
    pairs = [(np.sort(ours[places], 2), np.sort(theirs[places], 2)) for places in moves.places]
    return _assigned(np.asarray(sum(one @ other.swapaxes(1, 2) for one, other in pairs)))


def _assigned(gains: NDArray[np.float64]) -> Indices:
    """The orders of greatest total gain, `(outer, size)`, of gains `(outer, size, size)`."""
    return np.stack([linear_sum_assignment(gain, maximize=True)[1] for gain in gains])
