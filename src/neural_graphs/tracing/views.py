"""Where the neurons of a group, or the numbers of a tensor, are in a traced value, and how views move them about.

A value is a list of pieces, one for every part of a concatenation; a piece knows the legs along which its neurons lie.
Everything a dimension has besides legs are places: positions of an image, tokens, networks of a batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from neural_graphs.errors import LayoutError
from neural_graphs.layout.strides import row_major
from neural_graphs.tracing.dims import Term, Var, flat, owners_in, size
from neural_graphs.tracing.sources import Source

Spot: TypeAlias = tuple[int, int]  # dimension and step


@dataclass(frozen=True)
class Leg:
    """A variable along dimension `dim`: `step` places of it apart, and `stride` neurons (or numbers) of the source."""

    dim: int
    var: Var
    step: int
    stride: int

    @property
    def size(self) -> int:
        """How many places it has."""
        return self.var.size

    @property
    def spot(self) -> Spot:
        """Where it lies: the legs of tensors that lie on each other have the same spots."""
        return self.dim, self.step


@dataclass(frozen=True)
class Piece:
    """The neurons `offset + Σ i · stride` of a source, from place `starts` of every dimension on.

    In the dimensions `cut` other pieces follow or precede it; in the others it is all there is.
    """

    source: Source
    starts: tuple[int, ...]
    legs: tuple[Leg, ...]
    offset: int = 0
    cut: frozenset[int] = frozenset()

    def along(self, dim: int) -> list[Leg]:
        """The legs of one dimension, the slowest first."""
        return slowest_first(leg for leg in self.legs if leg.dim == dim)


Pieces: TypeAlias = list[Piece]


def slowest_first(legs: Iterable[Leg]) -> list[Leg]:
    """Legs in the order of their dimensions, those of one dimension by their steps."""
    return sorted(legs, key=lambda leg: (leg.dim, -leg.step))


def joined(several: Sequence[Pieces]) -> list[tuple[Piece, ...]]:
    """The pieces of tensors with unified dimensions that lie on each other, one of each tensor."""
    found: list[tuple[Piece, ...]] = [()]
    for pieces in several:
        found = [
            (*before, p) for before in found for p in pieces
            if all(meet(other, p, ((d, d) for d in range(len(p.starts)))) for other in before)
        ]  # fmt: skip
    return found


def meet(one: Piece, other: Piece, dims: Iterable[tuple[int, int]]) -> bool:
    """Whether two pieces cover the same part of dimensions that were unified, given as pairs."""
    return all(one.starts[a] == other.starts[b] or a not in one.cut or b not in other.cut for a, b in dims)


def pieces_of(source: Source, dims: Sequence[Term]) -> Pieces:
    """All of a tensor: its legs are all variables of its dimensions, its strides row-major."""
    strides = row_major([size(dim) for dim in dims])
    owners = {owner for dim in dims for owner in owners_in(dim)}
    found: list[tuple[Piece, dict[Var, int]]] = [(Piece(source, (0,) * len(dims), ()), {})]  # with pinned owners
    for dim, term in enumerate(dims):
        found = [
            (_further(piece, dim, start, inner, strides[dim]), pins)
            for piece, before in found
            for start, inner, pins in _boxes(term, before, owners)
        ]
    return recut(sorted((piece for piece, _ in found), key=lambda piece: piece.offset))


def _further(piece: Piece, dim: int, start: int, inner: Sequence[tuple[Var, int]], stride: int) -> Piece:
    legs = (*piece.legs, *(Leg(dim, var, step, step * stride) for var, step in inner))
    starts = (*piece.starts[:dim], start, *piece.starts[dim + 1 :])
    return Piece(piece.source, starts, legs, piece.offset + start * stride)


Box = tuple[int, tuple[tuple[Var, int], ...], dict[Var, int]]  # start, variables with steps, pinned owners


def _boxes(term: Term, pins: dict[Var, int], owners: set[Var]) -> list[Box]:
    """The parts of a dimension that concatenations and choices cut it into."""
    found: list[Box] = [(0, (), pins)]
    step = size(term)
    for var in flat(term):
        step //= var.size
        found = [
            (start + first * step, (*legs, *((leg, inner * step) for leg, inner in more)), after)
            for start, legs, before in found
            for first, more, after in _parts(var, before, owners)
        ]
    return found


def _parts(var: Var, pins: dict[Var, int], owners: set[Var]) -> list[Box]:
    if var.chain is not None:
        starts = [sum(size(part) for part in var.chain[:i]) for i in range(len(var.chain))]
        return [
            (start + first, legs, after)
            for start, part in zip(starts, var.chain, strict=True)
            for first, legs, after in _boxes(part, pins, owners)
        ]
    if var.by is not None and var.owner is not None:
        (owner,) = flat((var.owner,))
        chosen = [pins[owner]] if owner in pins else range(owner.size)
        return [box for place in chosen for box in _boxes(var.by[place], {**pins, owner: place}, owners)]
    if var in owners:
        return [(place, (), {**pins, var: place}) for place in ([pins[var]] if var in pins else range(var.size))]
    return [(0, ((var, 1),), pins)]


# -- views ------------------------------------------------------------------------------------------------------------


def permuted(pieces: Pieces, order: Sequence[int]) -> Pieces:
    """Dimensions in another order: new dimension i was dimension `order[i]`."""
    place = {old: now for now, old in enumerate(order)}
    return [
        replace(p, starts=tuple(p.starts[old] for old in order), cut=frozenset(place[old] for old in p.cut),
                legs=tuple(replace(leg, dim=place[leg.dim]) for leg in p.legs))
        for p in pieces
    ]  # fmt: skip


def reshaped(pieces: Pieces, old: Sequence[int], shape: Sequence[int]) -> Pieces:
    """The same numbers, row by row, under another shape. Raises LayoutError where neurons are cut across."""
    before, after = row_major(old), row_major(shape)

    def moved(leg: Leg) -> Leg:
        step = leg.step * before[leg.dim]
        for dim, (count, stride) in enumerate(zip(shape, after, strict=True)):
            if count > 1 and stride <= step and (leg.size - 1) * step < stride * count and step % stride == 0:
                return replace(leg, dim=dim, step=step // stride)
        raise LayoutError(f"a reshape from {tuple(old)} to {tuple(shape)} cuts across {leg.size} neurons")

    def start(piece: Piece) -> tuple[int, ...]:
        first = sum(s * stride for s, stride in zip(piece.starts, before, strict=True))
        return tuple(first // stride % count for count, stride in zip(shape, after, strict=True))

    return recut([replace(p, starts=start(p), legs=tuple(map(moved, p.legs))) for p in pieces])


def recut(pieces: Pieces) -> Pieces:
    """The same with dimensions marked as cut where pieces start at different places: together they are all there is."""
    cut = frozenset(dim for dim in range(len(pieces[0].starts)) if len({p.starts[dim] for p in pieces}) > 1)
    return [replace(p, cut=cut) for p in pieces]


def sliced(pieces: Pieces, dim: int, start: int, stop: int) -> Pieces:
    """Places `start` to `stop` of a dimension. Raises LayoutError where they are some neurons of a piece only."""
    found = []
    for p in pieces:
        first = p.starts[dim]
        last = first + sum((leg.size - 1) * leg.step for leg in p.along(dim))
        inside, outside = start <= first and last < stop, last < start or stop <= first
        if p.along(dim) and not (inside or outside):
            raise LayoutError(f"places {start} to {stop} of neurons that were not told apart are read")
        if dim not in p.cut:
            found.append(p)
        elif not outside:
            found.append(replace(p, starts=(*p.starts[:dim], max(first - start, 0), *p.starts[dim + 1 :])))
    return recut(found)


def strided(pieces: Pieces, dim: int, start: int, step: int) -> Pieces:
    """Every `step`-th place of a dimension from `start` on."""
    found = []
    for p in pieces:
        inner = [leg for leg in p.along(dim) if leg.step < step]
        offset = p.offset + sum(start // leg.step % leg.size * leg.stride for leg in inner)
        if any(leg.step % step for leg in p.along(dim) if leg not in inner) or prod(leg.size for leg in inner) > step:
            raise LayoutError(f"every {step}th of these neurons cannot be followed")
        legs = tuple(
            replace(leg, step=leg.step // step) if leg.dim == dim else leg for leg in p.legs if leg not in inner
        )
        found.append(replace(p, legs=legs, offset=offset))
    return found


def selected(pieces: Pieces, dim: int, place: int) -> Pieces:
    """One place of a dimension, which disappears."""
    found, lacking = [], []
    for p in pieces:
        rest, offset = place - p.starts[dim], p.offset
        for leg in p.along(dim):
            index = max(0, min(rest // leg.step, leg.size - 1))
            rest, offset = rest - index * leg.step, offset + index * leg.stride
        legs = tuple(replace(leg, dim=leg.dim - (leg.dim > dim)) for leg in p.legs if leg.dim != dim)
        starts, cut = (*p.starts[:dim], *p.starts[dim + 1 :]), frozenset(d - (d > dim) for d in p.cut if d != dim)
        found.append(replace(p, legs=legs, offset=offset, starts=starts, cut=cut))
        lacking.append(0 if dim not in p.cut else rest if place >= p.starts[dim] else place + 1)
    nearest = min(lacking)  # what is left over are places between neurons, fewest in the part that holds this one
    return [p for p, rest in zip(found, lacking, strict=True) if rest == nearest]


def inserted(pieces: Pieces, dim: int) -> Pieces:
    """A dimension of one place more."""
    return [
        replace(p, starts=(*p.starts[:dim], 0, *p.starts[dim:]), cut=frozenset(d + (d >= dim) for d in p.cut),
                legs=tuple(replace(leg, dim=leg.dim + (leg.dim >= dim)) for leg in p.legs))
        for p in pieces
    ]  # fmt: skip


def shifted(pieces: Pieces, dim: int, by: int) -> Pieces:
    """The same further along a dimension, as a later part of a concatenation."""
    return [
        replace(p, starts=(*p.starts[:dim], p.starts[dim] + by, *p.starts[dim + 1 :]), cut=p.cut | {dim})
        for p in pieces
    ]


def padded(pieces: Pieces, dim: int, before: int) -> Pieces:
    """With further places in front, where pieces have neurons along the dimension."""
    return [
        shifted([p], dim, before)[0] if p.along(dim) or dim in p.cut else p for p in pieces
    ]  # fmt: skip


def frame(combo: Sequence[Piece]) -> tuple[tuple[int, ...], frozenset[int]]:
    """Where pieces that lie on each other start, and in which dimensions they are cut."""
    starts = tuple(max(piece.starts[dim] for piece in combo) for dim in range(len(combo[0].starts)))
    return starts, frozenset().union(*(piece.cut for piece in combo))


def flattened(pieces: Pieces, shape: Sequence[int], dims: Iterable[int]) -> Pieces:
    """Without cuts along dimensions that are places only: the parts of a tensor there are one leg again."""
    level = [dim for dim in dims if any(dim in piece.cut for piece in pieces)]
    if not level:
        return pieces
    whole = {dim: Var(shape[dim], fixed=True) for dim in level}
    found: dict[object, Piece] = {}
    for piece in pieces:
        starts = tuple(0 if dim in level else start for dim, start in enumerate(piece.starts))
        kept = tuple(leg for leg in piece.legs if leg.dim not in level)
        strides = {leg.dim: leg.stride // leg.step for leg in piece.legs if leg.dim in level}
        key = (starts, kept, piece.source)
        known = found.get(key)
        merged = {leg.dim: leg.stride for leg in known.legs if leg.dim in level} | strides if known else strides
        legs = (*kept, *(Leg(dim, whole[dim], 1, stride) for dim, stride in merged.items()))
        offset = min(piece.offset, known.offset) if known else piece.offset
        found[key] = replace(piece, starts=starts, legs=legs, offset=offset, cut=piece.cut - set(level))
    return list(found.values())
