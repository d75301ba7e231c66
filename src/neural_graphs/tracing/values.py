"""What flows through a traced program: the dims of tensors, and the log of which were seen together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from neural_graphs.tracing.dims import Dim, DimVar, flat, new, plain, size, unify


@dataclass(eq=False)
class TracedTensor:
    """A tensor of the traced program: its shape is one `Dim` per dimension.

    `raw`: made of inputs and constants only, no parameter has touched it; `given`: made of inputs. `sole`: at most one
    operator reads it, so what that one does can be said of the neurons themselves. `stored`: one of the state dict.
    `choice`: its numbers are places.
    """

    dims: tuple[Dim, ...]
    raw: bool = False
    given: bool = False
    sole: bool = False
    stored: bool = False
    choice: "Choice | None" = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return tuple(size(dim) for dim in self.dims)

    def place(self, dim: int) -> int:
        """The number of a dimension that may be counted from the end."""
        return dim % max(1, len(self.dims))


@dataclass(frozen=True, eq=False)
class Choice:
    """What numbers mean that name places: those of one dimension of what was chosen among."""

    among: TracedTensor
    dim: int

    @property
    def places(self) -> Dim:
        """The dimension whose places are named."""
        return self.among.dims[self.dim]


@dataclass
class DimLog:
    """All tensors met so far, one tuple of dims each: what was always seen together may vary together."""

    tensors: list[tuple[Dim, ...]] = field(default_factory=list)

    def see(self, *dims: Iterable[DimVar]) -> None:
        """A tensor, or a result inside an operator, has these dimensions."""
        self.tensors.append(tuple(tuple(dim) for dim in dims))

    def varies(self, var: DimVar, owner: DimVar) -> bool:
        """Whether every tensor that has `var` has `owner`, all of it, so far."""
        whole = {*plain((owner,))}
        for dims in self.tensors:
            present = {each for dim in dims for each in plain(dim)}
            if var in present and not whole <= present:
                return False
        return True

    def within(self) -> dict[DimVar, frozenset[DimVar]]:
        """For every plain variable those that were present, exactly once, wherever it was."""
        found: dict[DimVar, frozenset[DimVar]] = {}
        for dims in self.tensors:
            often = Counter(each for dim in dims for each in plain(dim))
            once = frozenset(var for var, times in often.items() if times == 1)
            for var in often:
                found[var] = found[var] & once if var in found else once
        return {var: others - {var} for var, others in found.items()}


def fresh(shape: Sequence[int], *, fixed: bool = False) -> tuple[Dim, ...]:
    """Dimensions of which nothing is known, or nothing may move."""
    return tuple(new(int(count), fixed=fixed) for count in shape)


def broadcast(values: Sequence[TracedTensor]) -> tuple[Dim, ...]:
    """The dimensions of tensors combined element by element, as torch broadcasts them."""
    rank = max(len(value.dims) for value in values)
    out: list[Dim] = []
    for place in range(-rank, 0):
        terms = [value.dims[place] for value in values if len(value.dims) >= -place and size(value.dims[place]) > 1]
        for term in terms[1:]:
            unify(terms[0], term)
        out.append(flat(terms[0]) if terms else ())
    return tuple(out)


def reshaped(dims: Sequence[Dim], shape: Sequence[int]) -> tuple[Dim, ...]:
    """The same numbers, row by row, under another shape."""
    found = fresh(shape)
    unify([var for dim in dims for var in flat(dim)], [var for dim in found for var in dim])
    return tuple(flat(dim) for dim in found)
