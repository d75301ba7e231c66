"""What is known of tensor dimensions while a module is traced: products of variables, unified as operators join them.

A dimension is a `Dim`: variables whose sizes multiply, the slowest first. Reshaping refines a variable into a product,
concatenating and splitting refine it into a chain of dims, and operators that pair two dimensions place by place unify
their dims. What is left at the end are plain variables, either fixed or free to permute.

Example:
    Attention reads its 12 features as 3 heads of 4; numbering the heads freezes them, and the 4 stay free.

    >>> features, heads, each = new(12), DimVar(3), DimVar(4)
    >>> unify(features, (heads, each))
    >>> freeze((heads,))
    >>> flat(features)  # "!" marks what must not be relabelled
    (3!, 4)

    Two cuts of 6 rows, at 2 and at 4, that turn out to be the same rows: three parts, each free by itself.

    >>> rows, others = new(6), new(6)
    >>> split(rows, [2, 6]), split(others, [4, 6])
    ([(2,), (4,)], [(4,), (2,)])
    >>> unify(rows, others)
    >>> plain(rows)
    (2, 2, 2)
    >>> plain(rows) == plain(others)
    True
"""

from collections.abc import Container, Iterable, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import TypeAlias

from neural_graphs.errors import LayoutError

Dim: TypeAlias = "tuple[DimVar, ...]"


class DimVar:
    """One dimension or one factor of one: plain, or refined into a product, a chain of dims, or one per index.

    `fixed`: its places must not be relabelled. `owner` and `by`: it is another variable at every index of its owner, or
    in every part of an owner that is a chain.
    """

    def __init__(self, size: int, *, fixed: bool = False):
        self.size, self.fixed = size, fixed
        self.alias: DimVar | None = None
        self.product: Dim | None = None
        self.chain: tuple[Dim, ...] | None = None
        self.owner: DimVar | None = None
        self.by: tuple[Dim, ...] | None = None

    def __repr__(self) -> str:
        return f"{self.size}{'!' if self.fixed else ''}"

    @property
    def plain(self) -> bool:
        """Whether nothing is known of it but its size."""
        return self.alias is None and self.product is None and self.chain is None and self.by is None

    @property
    def parts(self) -> tuple[Dim, ...]:
        """The dims it is a chain of, and those it is at the places of its owner, each once."""
        return (*(self.chain or ()), *dict.fromkeys(self.by or ()))


def new(size: int, *, fixed: bool = False) -> Dim:
    """A dimension of which nothing is known; one of a single place has no variables."""
    return () if size == 1 else (DimVar(size, fixed=fixed),)


def size(term: Iterable[DimVar]) -> int:
    """How many places a dimension has."""
    return prod(var.size for var in term)


def flat(term: Iterable[DimVar]) -> Dim:
    """The same dimension without aliases and products."""
    found: list[DimVar] = []
    for var in term:
        while var.alias is not None:
            var = var.alias
        found += [var] if var.product is None else flat(var.product)
    return tuple(found)


def plain(term: Iterable[DimVar]) -> Dim:
    """All plain variables a dimension is made of, owners included, each once."""
    found: dict[DimVar, None] = {}
    for var in flat(term):
        parts = var.parts
        for part in parts:
            found |= dict.fromkeys(plain(part))
        if not parts:
            found[var] = None
    return tuple(found)


def stretches(owner: DimVar) -> list[range]:
    """The places of an owner at which others may be different: those of each part of a chain, else every single one."""
    sizes = [size(part) for part in owner.chain] if owner.chain is not None else [1] * owner.size
    return [range(end - count, end) for count, end in zip(sizes, accumulate(sizes), strict=True)]


def owners_in(term: Iterable[DimVar]) -> set[DimVar]:
    """The variables at whose places others in a dimension are different ones."""
    found: set[DimVar] = set()
    for var in flat(term):
        if var.by is not None and var.owner is not None:
            found |= {*flat((var.owner,))}
        for part in var.parts:
            found |= owners_in(part)
    return found


def freeze(term: Iterable[DimVar]) -> None:
    """Forbid relabelling any place of a dimension."""
    for var in flat(term):
        var.fixed = True
        for part in var.parts:
            freeze(part)


def unify(first: Iterable[DimVar], second: Iterable[DimVar]) -> None:
    """Two dimensions are the same, place by place. Raises LayoutError for different sizes."""
    left, right = list(flat(first)), list(flat(second))
    if size(left) != size(right):
        raise LayoutError(f"dimensions of {size(left)} and {size(right)} places cannot be joined one to one")
    while left and right:
        a, b = left.pop(0), right.pop(0)
        if a.size == b.size:
            _join(a, b)
        elif a.size > b.size and _divide(a, b):
            left[:0] = flat((a,))[1:]
        elif b.size > a.size and _divide(b, a):
            right[:0] = flat((b,))[1:]
        else:  # nothing lines up: everything stays where it is
            freeze([a, b, *left, *right])
            return


def _divide(whole: DimVar, factor: DimVar) -> bool:
    """Refine a variable into `factor` times the rest, where that is possible."""
    if whole.chain is not None and whole.size % factor.size == 0:
        freeze((factor,))  # another variable at each of its places, of parts that are cut where places end
        rest = DimVar(whole.size // factor.size)
        parts = split((whole,), [rest.size * (place + 1) for place in range(factor.size)])
        rest.owner, rest.by = factor, tuple(parts)
        whole.chain, whole.product = None, (factor, rest)
        return True
    if whole.size % factor.size or not whole.plain:
        return False
    if whole.fixed:
        freeze((factor,))
    whole.product = (factor, DimVar(whole.size // factor.size, fixed=whole.fixed))
    return True


def _join(a: DimVar, b: DimVar) -> None:
    """Two variables of one size are the same."""
    if a is b:
        return
    if a.fixed or b.fixed:
        freeze((a, b))
    if a.plain:
        a, b = b, a
    if b.plain:
        b.alias, b.fixed = a, False
    elif a.chain is not None and b.chain is not None:
        cuts = sorted({*_cuts(a.chain), *_cuts(b.chain)})
        for one, other in zip(split((a,), cuts), split((b,), cuts), strict=True):
            unify(one, other)
        b.chain, b.alias = None, a
    elif a.by is not None and b.by is not None and flat((a.owner,)) == flat((b.owner,)):  # type: ignore[arg-type]
        for one, other in zip(a.by, b.by, strict=True):
            unify(one, other)
        b.by, b.owner, b.alias = None, None, a
    else:
        freeze((a, b))


def _cuts(chain: Sequence[Dim]) -> list[int]:
    return list(accumulate(size(part) for part in chain))


def split(term: Iterable[DimVar], ends: Sequence[int]) -> list[Dim]:
    """A dimension in consecutive parts that end at the given places, the last one at its own end."""
    whole = flat(term)
    starts = (0, *ends[:-1])
    if len(ends) == 1:
        return [whole]
    if len(whole) == 1:
        _chain(whole[0], ends)
        return _gather(whole[0].chain or (), starts, ends)
    rest = size(whole[1:])
    if all(end % rest == 0 for end in ends):
        heads = split(whole[:1], [end // rest for end in ends])
        return [(*head, *whole[1:]) for head in heads]
    freeze(whole)
    return [new(end - start, fixed=True) for start, end in zip(starts, ends, strict=True)]


def _chain(var: DimVar, ends: Sequence[int]) -> None:
    """Refine a variable so that it is a chain with cuts at `ends`."""
    if var.plain:
        var.chain = tuple(new(b - a, fixed=var.fixed) for a, b in pairwise((0, *ends)))
    elif var.chain is not None:
        parts: list[Dim] = []
        for part, end in zip(var.chain, _cuts(var.chain), strict=True):
            start = end - size(part)
            inside = [cut - start for cut in ends if start < cut < end]
            parts += split(part, [*inside, end - start]) if inside else [part]
        var.chain = tuple(parts)
    elif var.by is not None:
        found = {part: split(part, ends) for part in var.by}
        rows = [found[part] for part in var.by]
        parts = []
        for place, (a, b) in enumerate(pairwise((0, *ends))):
            view = DimVar(b - a)
            view.owner, view.by = var.owner, tuple(row[place] for row in rows)
            parts.append((view,))
        var.owner, var.by, var.chain = None, None, tuple(parts)


def _gather(chain: Sequence[Dim], starts: Sequence[int], ends: Sequence[int]) -> list[Dim]:
    """The parts of a chain that lie between starts and ends, each a dim: a chain again where they are several."""
    found = []
    places = list(zip((0, *_cuts(chain)[:-1]), _cuts(chain), chain, strict=True))
    for start, end in zip(starts, ends, strict=True):
        parts = [part for a, b, part in places if start <= a and b <= end]
        found.append(parts[0] if len(parts) == 1 else chained(parts))
    return found


def chained(parts: Sequence[Dim]) -> Dim:
    """Dimensions one after another."""
    if len(parts) == 1:
        return parts[0]
    var = DimVar(sum(size(part) for part in parts))
    var.chain = tuple(parts)
    return (var,)


def apart(var: DimVar, owner: DimVar, loose: Container[DimVar]) -> None:
    """A loose variable becomes another one at every index of `owner`, or in every part of it where it is a chain.

    One that is different ones there already becomes others where these are loose.
    """
    before = var.by or ((var,),) * owner.size
    found: list[Dim] = []
    for stretch in stretches(owner):
        known = flat(before[stretch.start]) if var.by else (var,)
        free = all(each in loose for each in known)
        found += [new(var.size) if free else known] * len(stretch)
    var.owner, var.by = owner, tuple(found)
