"""What is known of tensor dimensions while a module is traced: products of variables, unified as operators join them.

A dimension is a `Term`: variables whose sizes multiply, the slowest first. Reshaping refines a variable into a product,
concatenating and splitting refine it into a chain of terms, and operators that pair two dimensions place by place unify
their terms. What is left at the end are plain variables, either fixed or free to permute.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import TypeAlias

from neural_graphs.errors import LayoutError

Term: TypeAlias = "tuple[Var, ...]"


class Var:
    """One dimension or one factor of one: plain, or refined into a product, a chain of terms, or one per index.

    `fixed`: its places must not be relabelled. `owner` and `by`: it is another variable at every index of its owner.
    """

    def __init__(self, size: int, *, fixed: bool = False):
        self.size, self.fixed = size, fixed
        self.alias: Var | None = None
        self.product: Term | None = None
        self.chain: tuple[Term, ...] | None = None
        self.owner: Var | None = None
        self.by: tuple[Term, ...] | None = None

    def __repr__(self) -> str:
        return f"{self.size}{'!' if self.fixed else ''}"

    @property
    def plain(self) -> bool:
        """Whether nothing is known of it but its size."""
        return self.alias is None and self.product is None and self.chain is None and self.by is None


def new(size: int, *, fixed: bool = False) -> Term:
    """A dimension of which nothing is known; one of a single place has no variables."""
    return () if size == 1 else (Var(size, fixed=fixed),)


def size(term: Iterable[Var]) -> int:
    """How many places a dimension has."""
    return prod(var.size for var in term)


def flat(term: Iterable[Var]) -> Term:
    """The same dimension without aliases and products."""
    found: list[Var] = []
    for var in term:
        while var.alias is not None:
            var = var.alias
        found += [var] if var.product is None else flat(var.product)
    return tuple(found)


def plain(term: Iterable[Var]) -> Term:
    """All plain variables a dimension is made of, owners included, each once."""
    found: dict[Var, None] = {}
    for var in flat(term):
        parts = [*(var.chain or ()), *(var.by or ())]
        for part in parts:
            found |= dict.fromkeys(plain(part))
        if not parts:
            found[var] = None
    return tuple(found)


def owners_in(term: Iterable[Var]) -> set[Var]:
    """The variables at whose places others in a dimension are different ones."""
    found: set[Var] = set()
    for var in flat(term):
        if var.by is not None and var.owner is not None:
            found |= {*flat((var.owner,))}
        for part in (*(var.chain or ()), *(var.by or ())):
            found |= owners_in(part)
    return found


def fix(term: Iterable[Var]) -> None:
    """Forbid relabelling any place of a dimension."""
    for var in flat(term):
        var.fixed = True
        for part in (*(var.chain or ()), *(var.by or ())):
            fix(part)


def unify(first: Iterable[Var], second: Iterable[Var]) -> None:
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
            fix([a, b, *left, *right])
            return


def _divide(whole: Var, factor: Var) -> bool:
    """Refine a variable into `factor` times the rest, where that is possible."""
    if whole.chain is not None and all(size(part) * factor.size == whole.size for part in whole.chain):
        fix((factor,))  # as many parts as the factor has places: another variable at each of them
        rest = Var(whole.size // factor.size)
        rest.owner, rest.by = factor, whole.chain
        whole.chain, whole.product = None, (factor, rest)
        return True
    if whole.size % factor.size or not whole.plain:
        return False
    if whole.fixed:
        fix((factor,))
    whole.product = (factor, Var(whole.size // factor.size, fixed=whole.fixed))
    return True


def _join(a: Var, b: Var) -> None:
    """Two variables of one size are the same."""
    if a is b:
        return
    if a.fixed or b.fixed:
        fix((a, b))
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
        fix((a, b))


def _cuts(chain: Sequence[Term]) -> list[int]:
    return list(accumulate(size(part) for part in chain))


def split(term: Iterable[Var], ends: Sequence[int]) -> list[Term]:
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
    fix(whole)
    return [new(end - start, fixed=True) for start, end in zip(starts, ends, strict=True)]


def _chain(var: Var, ends: Sequence[int]) -> None:
    """Refine a variable so that it is a chain with cuts at `ends`."""
    if var.plain:
        var.chain = tuple(new(b - a, fixed=var.fixed) for a, b in pairwise((0, *ends)))
    elif var.chain is not None:
        parts: list[Term] = []
        for part, end in zip(var.chain, _cuts(var.chain), strict=True):
            start = end - size(part)
            inside = [cut - start for cut in ends if start < cut < end]
            parts += split(part, [*inside, end - start]) if inside else [part]
        var.chain = tuple(parts)
    elif var.by is not None:
        rows = [split(part, ends) for part in var.by]
        parts = []
        for place, (a, b) in enumerate(pairwise((0, *ends))):
            piece = Var(b - a)
            piece.owner, piece.by = var.owner, tuple(row[place] for row in rows)
            parts.append((piece,))
        var.owner, var.by, var.chain = None, None, tuple(parts)


def _gather(chain: Sequence[Term], starts: Sequence[int], ends: Sequence[int]) -> list[Term]:
    """The parts of a chain that lie between starts and ends, each a term: a chain again where they are several."""
    found = []
    places = list(zip((0, *_cuts(chain)[:-1]), _cuts(chain), chain, strict=True))
    for start, end in zip(starts, ends, strict=True):
        parts = [part for a, b, part in places if start <= a and b <= end]
        found.append(parts[0] if len(parts) == 1 else chained(parts))
    return found


def chained(parts: Sequence[Term]) -> Term:
    """Dimensions one after another."""
    if len(parts) == 1:
        return parts[0]
    var = Var(sum(size(part) for part in parts))
    var.chain = tuple(parts)
    return (var,)


def apart(var: Var, owner: Var) -> None:
    """A plain variable becomes another one at every index of `owner`."""
    var.owner, var.by = owner, tuple(new(var.size, fixed=var.fixed) for _ in range(owner.size))
