"""Operators that choose between neurons by their values, and those that find what is at the places that were chosen."""

from collections.abc import Sequence
from typing import Any

from neural_graphs.errors import LayoutError
from neural_graphs.tracing.dims import Dim, freeze, size, unify
from neural_graphs.tracing.ops.choose import choose, member
from neural_graphs.tracing.ops.combine import combine
from neural_graphs.tracing.ops.contract import contract
from neural_graphs.tracing.ops.lookup import lookup
from neural_graphs.tracing.ops.reduce import pick, reduce
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.rules.pointwise import named
from neural_graphs.tracing.tape import Tape
from neural_graphs.tracing.values import TracedTensor, fresh


@rule("aten.topk")
def largest(call: OpCall, x: TracedTensor, _: int, dim: int = -1, *__: Any, **___: Any) -> tuple[TracedTensor, ...]:
    return choose(call.tape, x, dim, call.shapes[0])


@rule("aten.sort.default")
def sort(call: OpCall, x: TracedTensor, dim: int = -1, *_: Any) -> tuple[TracedTensor, ...]:
    return choose(call.tape, x, dim, call.shapes[0])


@rule("aten.sort.stable")
def stable_sort(call: OpCall, x: TracedTensor, *, dim: int = -1, **_: Any) -> tuple[TracedTensor, ...]:
    return choose(call.tape, x, dim, call.shapes[0])


@rule("aten.argsort.default")
def argsort(call: OpCall, x: TracedTensor, dim: int = -1, *_: Any) -> TracedTensor:
    return choose(call.tape, x, dim, call.shape)[1]


@rule("aten.argsort.stable")
def stable_argsort(call: OpCall, x: TracedTensor, *, dim: int = -1, **_: Any) -> TracedTensor:
    return choose(call.tape, x, dim, call.shape)[1]


@rule("aten.max.dim", "aten.min.dim", "aten.median.dim", "aten.nanmedian.dim")
def extreme(call: OpCall, x: TracedTensor, dim: int, keep: bool = False) -> list[TracedTensor]:
    one = (*x.shape[: x.place(dim)], 1, *x.shape[x.place(dim) + 1 :])
    return [value if keep else call.tape.drop(value, x.place(dim)) for value in choose(call.tape, x, dim, one)]


@rule("aten.argmax", "aten.argmin")
def argument(call: OpCall, x: TracedTensor, dim: int | None = None, keep: bool = False) -> TracedTensor:
    if dim is None:  # counted through all dimensions
        x, dim = call.tape.reshape(x, (size(var for term in x.dims for var in term),)), 0
    found = extreme(call, x, dim, keep)[1]
    return found if found.shape == call.shape else call.tape.reshape(found, call.shape)


# -- what is at the places that were chosen ----------------------------------------------------------------------------


@rule("aten.one_hot", places=True)
def one_hot(call: OpCall, which: TracedTensor, *_: int) -> TracedTensor:
    found = member(call.tape, which)
    if found.shape != call.shape:
        raise LayoutError(f"{call.shape[-1]} classes for a choice among {found.shape[-1]} have no rule")
    return found


@rule(*named("scatter scatter_add scatter_reduce"), places=True)
def scatter(
    call: OpCall, base: TracedTensor, dim: int, which: TracedTensor, values: Any = None, *_: Any, **__: Any
) -> TracedTensor:  # fmt: skip
    """Values are put where constants or a choice say, on top of what is there."""
    tape, dim = call.tape, base.place(dim)
    if which.raw and isinstance(values, TracedTensor):
        _like(values, which, dim)  # other places for every neuron tell these apart
        return _onto(tape, base, dim, values)
    if any(size(one) != size(other) for one, other in _beside(base, which, dim)):
        raise LayoutError(f"{which.shape} choices for a part of {base.shape} have no rule; choose for all of it")
    chosen = member(tape, which)
    if isinstance(values, TracedTensor):
        if values.shape != which.shape:
            raise LayoutError(f"{values.shape} values for {which.shape} choices have no rule; give one for each")
        chosen = combine(tape, "mul", [chosen, tape.insert(values, -1)])
    put = reduce(tape, chosen, [dim], keep=False)
    last = len(base.dims) - 1
    put = tape.permute(put, [*range(dim), last, *range(dim, last)])
    return combine(tape, "scatter", [base, put])


@rule(*named("index_add index_copy"))
def index_add(
    call: OpCall, base: TracedTensor, dim: int, which: TracedTensor, values: TracedTensor, **_: Any
) -> TracedTensor:  # fmt: skip
    if not which.raw:
        raise LayoutError("values are put where parameters decide, which has no rule; use scatter")
    return _onto(call.tape, base, base.place(dim), values)


def _onto(tape: Tape, base: TracedTensor, dim: int, values: TracedTensor) -> TracedTensor:
    """Values at places of one dimension that constants say, such as the ends of a graph's edges."""
    _like(base, values, dim)
    freeze((*base.dims[dim], *values.dims[dim]))
    return combine(tape, "add", [base, pick(tape, values, base.dims, dim)])


def _like(x: TracedTensor, other: TracedTensor, dim: int) -> None:
    """Beside one dimension, the neurons of two tensors are the same ones; where only a part of them is met, fixed."""
    for one, another in _beside(x, other, dim):
        if size(one) == size(another):
            unify(one, another)
        else:
            freeze((*one, *another))


def _beside(x: TracedTensor, other: TracedTensor, dim: int) -> list[tuple[Dim, Dim]]:
    """The other dimensions of two tensors, in pairs."""
    every = enumerate(zip(x.dims, other.dims, strict=True))
    return [pair for place, pair in every if place != dim]


@rule("aten.gather", places=True)
def gather(call: OpCall, x: TracedTensor, dim: int, which: TracedTensor, **_: Any) -> TracedTensor:
    """Places of one dimension, chosen by constants: the same for all neurons that the choice does not tell apart; or by
    parameters: then the places are those that were chosen among."""
    dim = x.place(dim)
    _like(x, which, dim)
    if which.raw:
        freeze((*x.dims[dim], *which.dims[dim]))
        return pick(call.tape, x, which.dims, dim)
    order = [*(d for d in range(len(x.dims)) if d != dim), dim]
    places = call.tape.insert(call.tape.permute(x, order), dim)
    return reduce(call.tape, combine(call.tape, "mul", [member(call.tape, which), places]), [-1], keep=False)


@rule("aten.embedding", places=True)
def embedding(call: OpCall, table: TracedTensor, index: TracedTensor, *_: Any) -> TracedTensor:
    return rows(call.tape, table, index)


@rule("aten.index.Tensor", "aten.index_select", places=True)
def index(call: OpCall, x: TracedTensor, *args: Any) -> TracedTensor:
    chosen = args[-1] if call.short != "index" else args[0]
    dim = x.place(args[0]) if call.short != "index" else next(i for i, v in enumerate(chosen) if v is not None)
    several = chosen if isinstance(chosen, list | tuple) else [chosen]
    only = [v for v in several if v is not None]
    if len(only) > 1 and any(value is None for value in several[: len(only)]):
        raise LayoutError(f"{call.operator} of dimensions that are not the first ones has no rule")
    if len(only) != 1:
        return _pick_places(call, x, only)
    order = [dim, *(d for d in range(len(x.dims)) if d != dim)]
    lead = len(only[0].dims)
    found = rows(call.tape, call.tape.permute(x, order) if dim else x, only[0])
    back = [*range(lead, lead + dim), *range(lead), *range(lead + dim, len(found.dims))]
    return call.tape.permute(found, back) if dim else found


def rows(tape: Tape, table: TracedTensor, index: TracedTensor) -> TracedTensor:
    """Rows of a table, which are fixed, unless what was chosen among are the same ones."""
    if index.choice is None:
        return lookup(tape, table, index)
    lead, rest = [f"i{dim}" for dim in range(len(index.dims))], [f"r{dim}" for dim in range(len(table.dims) - 1)]
    return contract(tape, member(tape, index), table, ((*lead, "place"), ("place", *rest), (*lead, *rest)), "choice")


def _pick_places(call: OpCall, x: TracedTensor, chosen: Sequence[TracedTensor]) -> TracedTensor:
    """Several dimensions indexed at once: only where all of them are places, and nothing else is left."""
    if len(chosen) > len(x.dims) or not all(value.raw for value in chosen):
        raise LayoutError(f"{call.operator} with {len(chosen)} indices of neurons has no rule")
    for term in x.dims[: len(chosen)]:
        freeze(term)
    lead = fresh(call.shape[: len(call.shape) - (len(x.dims) - len(chosen))], fixed=True)
    for _ in chosen:
        x = call.tape.select(x, 0, 0)
    for _ in lead:
        x = call.tape.insert(x, 0)
    return call.tape.same(x, (*lead, *x.dims[len(lead) :]))
