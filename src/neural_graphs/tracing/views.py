"""Where the neurons of a group, or the numbers of a tensor, are in a traced value, and how views move them about.

A value is a list of views, one for every part of a concatenation; a view knows the axes along which its neurons lie.
Everything a dimension has besides axes are places: positions of an image, tokens, networks of a batch.

Example:
    The packed weight of attention, `(12, 4)`, is cut into query, key and value. The key's rows 4 to 8 begin at number
    16 of the tensor, and a transposition moves its axes, never the numbers: a stride of 4 down the rows, of 1 along.

    >>> from neural_graphs.tracing.dims import new, split
    >>> from neural_graphs.tracing.sources import ParamRef
    >>> rows, columns = new(12), new(4)
    >>> query, key, value = split(rows, [4, 8, 12])
    >>> views = views_of(ParamRef("in_proj_weight", (12, 4), buffer=False), (rows, columns))
    >>> [view.offset for view in views]
    [0, 16, 32]
    >>> (turned,) = permuted(sliced(views, dim=0, start=4, stop=8), order=(1, 0))
    >>> turned.offset, [(axis.dim, axis.size, axis.stride) for axis in turned.axes]
    (16, [(1, 4, 4), (0, 4, 1)])
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from neural_graphs.errors import LayoutError
from neural_graphs.layout.strides import row_major
from neural_graphs.tracing.dims import Dim, DimVar, flat, owners_in, size, stretches
from neural_graphs.tracing.sources import Source

Spot: TypeAlias = tuple[int, int]  # dimension and step


@dataclass(frozen=True)
class ViewAxis:
    """A variable along dimension `dim`: `step` places of it apart, and `stride` neurons (or numbers) of the source."""

    dim: int
    var: DimVar
    step: int
    stride: int

    @property
    def size(self) -> int:
        """How many places it has."""
        return self.var.size

    @property
    def spot(self) -> Spot:
        """Where it lies: the axes of tensors that lie on each other have the same spots."""
        return self.dim, self.step


@dataclass(frozen=True)
class StridedView:
    """The neurons `offset + Σ i · stride` of a source, from place `starts` of every dimension on.

    In the dimensions `cut` other views follow or precede it; in the others it is all there is.
    """

    source: Source
    starts: tuple[int, ...]
    axes: tuple[ViewAxis, ...]
    offset: int = 0
    cut: frozenset[int] = frozenset()

    def along(self, dim: int) -> list[ViewAxis]:
        """The axes of one dimension, the slowest first."""
        return slowest_first(axis for axis in self.axes if axis.dim == dim)


Views: TypeAlias = list[StridedView]


def slowest_first(axes: Iterable[ViewAxis]) -> list[ViewAxis]:
    """Axes in the order of their dimensions, those of one dimension by their steps."""
    return sorted(axes, key=lambda axis: (axis.dim, -axis.step))


def joined(several: Sequence[Views]) -> list[tuple[StridedView, ...]]:
    """The views of tensors with unified dimensions that lie on each other, one of each tensor."""
    found: list[tuple[StridedView, ...]] = [()]
    for views in several:
        found = [
            (*before, p) for before in found for p in views
            if all(meet(other, p, ((d, d) for d in range(len(p.starts)))) for other in before)
        ]  # fmt: skip
    return found


def meet(one: StridedView, other: StridedView, dims: Iterable[tuple[int, int]]) -> bool:
    """Whether two views cover the same part of dimensions that were unified, given as pairs."""
    return all(one.starts[a] == other.starts[b] or a not in one.cut or b not in other.cut for a, b in dims)


def views_of(source: Source, dims: Sequence[Dim]) -> Views:
    """All of a tensor: its axes are all variables of its dimensions, its strides row-major."""
    strides = row_major([size(dim) for dim in dims])
    owners = {owner for dim in dims for owner in owners_in(dim)}
    pins: Pins = {}
    found = [(StridedView(source, (0,) * len(dims), ()), pins)]
    for dim, term in enumerate(dims):
        found = [
            (_further(view, dim, start, inner, strides[dim]), pins)
            for view, before in found
            for start, inner, pins in _boxes(term, before, owners)
        ]
    return recut(sorted((view for view, _ in found), key=lambda view: view.offset))


def _further(view: StridedView, dim: int, start: int, inner: Sequence[tuple[DimVar, int]], stride: int) -> StridedView:
    axes = (*view.axes, *(ViewAxis(dim, var, step, step * stride) for var, step in inner))
    starts = (*view.starts[:dim], start, *view.starts[dim + 1 :])
    return StridedView(view.source, starts, axes, view.offset + start * stride)


Pins = dict[DimVar, range]  # the places of owners
Box = tuple[int, tuple[tuple[DimVar, int], ...], Pins]  # start, variables with steps, pinned owners


def _boxes(term: Dim, pins: Pins, owners: set[DimVar]) -> list[Box]:
    """The parts of a dimension that concatenations and choices cut it into."""
    found: list[Box] = [(0, (), pins)]
    step = size(term)
    for var in flat(term):
        step //= var.size
        found = [
            (start + first * step, (*axes, *((axis, inner * step) for axis, inner in more)), after)
            for start, axes, before in found
            for first, more, after in _parts(var, before, owners)
        ]
    return found


def _parts(var: DimVar, pins: Pins, owners: set[DimVar]) -> list[Box]:
    if var.by is not None and var.owner is not None:
        return [box for dim, after in _choices(var.by, flat((var.owner,)), pins) for box in _boxes(dim, after, owners)]
    places = [pins[var]] if var in pins else stretches(var)
    if var.chain is not None:
        parts = dict(zip(stretches(var), var.chain, strict=True))
        return [
            (place.start + first, axes, after)
            for place in places
            for first, axes, after in _boxes(parts[place], {**pins, var: place}, owners)
        ]
    if var in owners:
        return [(place.start, (), {**pins, var: place}) for place in places]
    return [(0, ((var, 1),), pins)]


def _choices(by: Sequence[Dim], owner: Dim, pins: Pins) -> list[tuple[Dim, Pins]]:
    """What a variable is at the places of its owner, which are pinned by that."""
    places = [pins[owner[0]]] if owner[0] in pins else stretches(owner[0])
    if len(owner) > 1 or any(len(set(by[place.start : place.stop])) > 1 for place in places):
        raise LayoutError(f"{size(owner)} places of a tensor are used in two ways: one by one, and joined")
    return [(by[place.start], {**pins, owner[0]: place}) for place in places]


# -- views ------------------------------------------------------------------------------------------------------------


def permuted(views: Views, order: Sequence[int]) -> Views:
    """Dimensions in another order: new dimension i was dimension `order[i]`."""
    place = {old: now for now, old in enumerate(order)}
    return [
        replace(p, starts=tuple(p.starts[old] for old in order), cut=frozenset(place[old] for old in p.cut),
                axes=tuple(replace(axis, dim=place[axis.dim]) for axis in p.axes))
        for p in views
    ]  # fmt: skip


def reshaped(views: Views, old: Sequence[int], shape: Sequence[int]) -> Views:
    """The same numbers, row by row, under another shape. Raises LayoutError where neurons are cut across."""
    before, after = row_major(old), row_major(shape)

    def moved(axis: ViewAxis) -> ViewAxis:
        step = axis.step * before[axis.dim]
        for dim, (count, stride) in enumerate(zip(shape, after, strict=True)):
            if count > 1 and stride <= step and (axis.size - 1) * step < stride * count and step % stride == 0:
                return replace(axis, dim=dim, step=step // stride)
        raise LayoutError(f"a reshape from {tuple(old)} to {tuple(shape)} cuts across {axis.size} neurons")

    def start(view: StridedView) -> tuple[int, ...]:
        first = sum(s * stride for s, stride in zip(view.starts, before, strict=True))
        return tuple(first // stride % count for count, stride in zip(shape, after, strict=True))

    return recut([replace(p, starts=start(p), axes=tuple(map(moved, p.axes))) for p in views])


def recut(views: Views) -> Views:
    """The same with dimensions marked as cut where views start at different places: together they are all there is."""
    cut = frozenset(dim for dim in range(len(views[0].starts)) if len({p.starts[dim] for p in views}) > 1)
    return [replace(p, cut=cut) for p in views]


def sliced(views: Views, dim: int, start: int, stop: int) -> Views:
    """Places `start` to `stop` of a dimension. Raises LayoutError where they are some neurons of a view only."""
    found = []
    for p in views:
        first = p.starts[dim]
        last = first + sum((axis.size - 1) * axis.step for axis in p.along(dim))
        inside, outside = start <= first and last < stop, last < start or stop <= first
        if p.along(dim) and not (inside or outside):
            raise LayoutError(f"places {start} to {stop} of neurons that were not told apart are read")
        if dim not in p.cut:
            found.append(p)
        elif not outside:
            found.append(replace(p, starts=(*p.starts[:dim], max(first - start, 0), *p.starts[dim + 1 :])))
    return recut(found)


def strided(views: Views, dim: int, start: int, step: int) -> Views:
    """Every `step`-th place of a dimension from `start` on."""
    found = []
    for p in views:
        inner = [axis for axis in p.along(dim) if axis.step < step]
        offset = p.offset + sum(start // axis.step % axis.size * axis.stride for axis in inner)
        if (
            any(axis.step % step for axis in p.along(dim) if axis not in inner)
            or prod(axis.size for axis in inner) > step
        ):
            raise LayoutError(f"every {step}th of these neurons cannot be followed")
        axes = tuple(
            replace(axis, step=axis.step // step) if axis.dim == dim else axis for axis in p.axes if axis not in inner
        )
        found.append(replace(p, axes=axes, offset=offset))
    return found


def selected(views: Views, dim: int, place: int) -> Views:
    """One place of a dimension, which disappears."""
    found, lacking = [], []
    for p in views:
        rest, offset = place - p.starts[dim], p.offset
        for axis in p.along(dim):
            index = max(0, min(rest // axis.step, axis.size - 1))
            rest, offset = rest - index * axis.step, offset + index * axis.stride
        axes = tuple(replace(axis, dim=axis.dim - (axis.dim > dim)) for axis in p.axes if axis.dim != dim)
        starts, cut = (*p.starts[:dim], *p.starts[dim + 1 :]), frozenset(d - (d > dim) for d in p.cut if d != dim)
        found.append(replace(p, axes=axes, offset=offset, starts=starts, cut=cut))
        lacking.append(0 if dim not in p.cut else rest if place >= p.starts[dim] else place + 1)
    nearest = min(lacking)  # what is left over are places between neurons, fewest in the part that holds this one
    return [p for p, rest in zip(found, lacking, strict=True) if rest == nearest]


def inserted(views: Views, dim: int) -> Views:
    """A dimension of one place more."""
    return [
        replace(p, starts=(*p.starts[:dim], 0, *p.starts[dim:]), cut=frozenset(d + (d >= dim) for d in p.cut),
                axes=tuple(replace(axis, dim=axis.dim + (axis.dim >= dim)) for axis in p.axes))
        for p in views
    ]  # fmt: skip


def shifted(views: Views, dim: int, by: int) -> Views:
    """The same further along a dimension, as a later part of a concatenation."""
    return [
        replace(p, starts=(*p.starts[:dim], p.starts[dim] + by, *p.starts[dim + 1 :]), cut=p.cut | {dim}) for p in views
    ]


def padded(views: Views, dim: int, before: int) -> Views:
    """With further places in front, where views have neurons along the dimension."""
    return [
        shifted([p], dim, before)[0] if p.along(dim) or dim in p.cut else p for p in views
    ]  # fmt: skip


def frame(combo: Sequence[StridedView]) -> tuple[tuple[int, ...], frozenset[int]]:
    """Where views that lie on each other start, and in which dimensions they are cut."""
    starts = tuple(max(view.starts[dim] for view in combo) for dim in range(len(combo[0].starts)))
    return starts, frozenset().union(*(view.cut for view in combo))


def flattened(views: Views, shape: Sequence[int], dims: Iterable[int]) -> Views:
    """Without cuts along dimensions that are places only: the parts of a tensor there are one axis again."""
    level = [dim for dim in dims if any(dim in view.cut for view in views)]
    if not level:
        return views
    whole = {dim: DimVar(shape[dim], fixed=True) for dim in level}
    found: dict[object, StridedView] = {}
    for view in views:
        starts = tuple(0 if dim in level else start for dim, start in enumerate(view.starts))
        kept = tuple(axis for axis in view.axes if axis.dim not in level)
        strides = {axis.dim: axis.stride // axis.step for axis in view.axes if axis.dim in level}
        key = (starts, kept, view.source)
        known = found.get(key)
        merged = {axis.dim: axis.stride for axis in known.axes if axis.dim in level} | strides if known else strides
        axes = (*kept, *(ViewAxis(dim, whole[dim], 1, stride) for dim, stride in merged.items()))
        offset = min(view.offset, known.offset) if known else view.offset
        found[key] = replace(view, starts=starts, axes=axes, offset=offset, cut=view.cut - set(level))
    return list(found.values())
