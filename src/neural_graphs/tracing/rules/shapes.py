"""Operators that only rearrange."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from neural_graphs.layout import GlobalMean
from neural_graphs.tracing.ops.combine import suffer
from neural_graphs.tracing.ops.reduce import reduce
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.sources import Unknown
from neural_graphs.tracing.values import TracedTensor


@rule(
    "aten.view",
    "aten.reshape",
    "aten._unsafe_view",
    "aten.flatten",
    "aten.unflatten",
    "aten.view_as",
    "aten.reshape_as",
    places=True,
)
def reshape(call: OpCall, x: TracedTensor, *_: Any) -> TracedTensor:
    return call.tape.reshape(x, call.shape)


@rule("aten.permute", places=True)
def permute(call: OpCall, x: TracedTensor, order: Sequence[int]) -> TracedTensor:
    return call.tape.permute(x, order)


@rule("aten.transpose", "aten.swapaxes", places=True)
def transpose(call: OpCall, x: TracedTensor, one: int, other: int) -> TracedTensor:
    return call.tape.transpose(x, one, other)


@rule("aten.movedim", places=True)
def movedim(call: OpCall, x: TracedTensor, source: Any, target: Any) -> TracedTensor:
    sources, targets = ([d] if isinstance(d, int) else list(d) for d in (source, target))
    places = {x.place(t): x.place(s) for s, t in zip(sources, targets, strict=True)}
    rest = iter(dim for dim in range(len(x.dims)) if dim not in places.values())
    return call.tape.permute(x, [places[dim] if dim in places else next(rest) for dim in range(len(x.dims))])


@rule("aten.t", "aten.numpy_T", "aten.mT", "aten.adjoint", places=True)
def turn(call: OpCall, x: TracedTensor) -> TracedTensor:
    return x if len(x.dims) < 2 else call.tape.transpose(x, len(x.dims) - 2, len(x.dims) - 1)


@rule("aten.unsqueeze", places=True)
def unsqueeze(call: OpCall, x: TracedTensor, dim: int) -> TracedTensor:
    return call.tape.insert(x, dim)


@rule("aten.squeeze", places=True)
def squeeze(call: OpCall, x: TracedTensor, dims: Any = None) -> TracedTensor:
    chosen = range(len(x.dims)) if dims is None else [dims] if isinstance(dims, int) else dims
    for dim in sorted({x.place(dim) for dim in chosen if x.shape[dim] == 1}, reverse=True):
        x = call.tape.drop(x, dim)
    return x


@rule("aten.expand", "aten.expand_as", "aten.broadcast_to", places=True)
def expand(call: OpCall, x: TracedTensor, *_: Any, **__: Any) -> TracedTensor:
    return call.tape.expand(x, call.shape)


@rule("aten.repeat", "aten.tile", places=True)
def repeat(call: OpCall, x: TracedTensor, times: Sequence[int]) -> TracedTensor:
    """Copies one after another along every dimension: which copy it is, is a place."""
    while len(x.dims) < len(times):
        x = call.tape.insert(x, 0)
    for dim in reversed(range(len(times))):
        x = _copies(call, x, dim, times[dim], at=dim)
    return x


def _copies(call: OpCall, x: TracedTensor, dim: int, times: int, at: int) -> TracedTensor:
    """A dimension `times` over; copies follow each other (`at` the dimension) or lie side by side (behind it)."""
    wide = call.tape.insert(x, at)
    wide = call.tape.expand(wide, (*wide.shape[:at], times, *wide.shape[at + 1 :]))
    return call.tape.reshape(wide, (*x.shape[:dim], times * x.shape[dim], *x.shape[dim + 1 :]))


@rule("aten.repeat_interleave.self_int", places=True)
def repeat_interleave(call: OpCall, x: TracedTensor, times: int, dim: int = 0, **_: Any) -> TracedTensor:
    return _copies(call, x, x.place(dim), times, at=x.place(dim) + 1)


@rule("aten.split", "aten.chunk", "aten.split_with_sizes", "aten.tensor_split", places=True)
def split(call: OpCall, x: TracedTensor, _: Any, dim: int = 0) -> list[TracedTensor]:
    return call.tape.unpack(x, dim, list(accumulate(shape[dim] for shape in call.shapes)))


@rule("aten.slice", "aten.narrow", places=True)
def cut(
    call: OpCall, x: TracedTensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> TracedTensor:  # fmt: skip
    count = x.shape[dim]
    start = min(max(start or 0, -count) % count if (start or 0) < 0 else start or 0, count)
    if call.short == "narrow":
        end = start + (end or 0)
    if step != 1:
        return call.tape.stride(x, dim, start, step, call.shape[x.place(dim)])
    return call.tape.slice(x, dim, start, start + call.shape[x.place(dim)])


@rule("aten.select", places=True)
def select(call: OpCall, x: TracedTensor, dim: int, place: int) -> TracedTensor:
    return call.tape.select(x, dim, place)


@rule("aten.unbind", places=True)
def unbind(call: OpCall, x: TracedTensor, dim: int = 0) -> list[TracedTensor]:
    return [call.tape.select(x, dim, place) for place in range(x.shape[dim])]


@rule("aten.channel_shuffle", places=True)
def channel_shuffle(call: OpCall, x: TracedTensor, groups: int) -> TracedTensor:
    apart = call.tape.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    return call.tape.reshape(call.tape.transpose(apart, 1, 2), call.shape)


@rule("aten.mean", "aten.sum", "aten.amax", "aten.amin", "aten.var", "aten.std", "aten.norm", "aten.linalg_vector_norm",
      "aten.any", "aten.all", "aten.logsumexp", "aten.prod")  # fmt: skip
def reduction(call: OpCall, x: TracedTensor, *args: Any, **_: Any) -> TracedTensor:
    dims = next((a for a in args if isinstance(a, list | tuple)), None)
    if dims is None and call.short in ("any", "all", "prod", "logsumexp"):
        dims = [a for a in args[:1] if isinstance(a, int)]
    chosen = list(dims) if dims else list(range(len(x.dims)))
    if call.short not in ("mean", "sum"):
        x = suffer(call.tape, x, Unknown())
    elif call.short == "mean" and {x.place(dim) for dim in chosen} == {2, 3} and len(x.dims) == 4:
        x = suffer(call.tape, x, GlobalMean())
    return reduce(call.tape, x, chosen, keep=len(call.shape) == len(x.dims))


@rule("aten.var_mean", "aten.std_mean")
def two_moments(call: OpCall, x: TracedTensor, *args: Any, **_: Any) -> list[TracedTensor]:
    return [reduction(call, x, *args), reduction(call, x, *args)]
