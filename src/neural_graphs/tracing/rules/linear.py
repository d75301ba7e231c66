"""Operators that multiply and sum: Linear layers, convolutions, attention, embeddings."""

from dataclasses import replace
from string import ascii_letters
from typing import Any

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Conv
from neural_graphs.tracing.dims import Dim, freeze
from neural_graphs.tracing.ops.combine import activate, combine, suffer
from neural_graphs.tracing.ops.contract import Labels, contract
from neural_graphs.tracing.ops.lookup import lookup
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.sources import Unknown
from neural_graphs.tracing.tape import Tape
from neural_graphs.tracing.values import TracedTensor, fresh


@rule("aten.linear")
def linear(call: OpCall, x: TracedTensor, weight: TracedTensor, bias: TracedTensor | None = None) -> TracedTensor:
    lead = ascii_letters[: len(x.dims) - 1]
    found = contract(call.tape, x, weight, ((*lead, "in"), ("out", "in"), (*lead, "out")), "linear")
    return plus(call.tape, found, bias)


@rule("aten.bilinear")
def bilinear(
    call: OpCall, first: TracedTensor, second: TracedTensor, weight: TracedTensor, bias: TracedTensor | None = None
) -> TracedTensor:
    """One of the inputs makes a matrix of the weight, as in a hypernetwork, and that multiplies the other."""
    lead = ascii_letters[: len(first.dims) - 1]
    matrix = contract(call.tape, second, weight, ((*lead, "in"), ("out", "i", "in"), (*lead, "out", "i")), "linear")
    found = times(call.tape, matrix, first, (*lead, "out", "i"), (*lead, "i"), (*lead, "out"), "product")
    return plus(call.tape, found, bias)


def plus(tape: Tape, x: TracedTensor, bias: TracedTensor | None, trailing: int = 0) -> TracedTensor:
    """`x` with a bias along its last dimension, or along the one before `trailing` others."""
    if bias is None:
        return x
    for _ in range(trailing):
        bias = tape.insert(bias, -1)
    return combine(tape, "add", [x, bias])


@rule("aten.addmm", "aten.baddbmm")
def addmm(call: OpCall, bias: TracedTensor, x: TracedTensor, weight: TracedTensor, **_: Any) -> TracedTensor:
    return plus(call.tape, matmul(call, x, weight), bias)


@rule("aten.matmul", "aten.bmm", "aten.mm", "aten.mv", "aten.dot", "aten.vdot")
def matmul(call: OpCall, x: TracedTensor, w: TracedTensor) -> TracedTensor:
    tape, rank = call.tape, max(len(x.dims), len(w.dims)) - 2
    lead = ascii_letters[: max(rank, 0)]
    x_labels = [*lead[len(lead) - max(len(x.dims) - 2, 0) :], "row", "sum"][-len(x.dims) :]
    w_labels = [*lead[len(lead) - max(len(w.dims) - 2, 0) :], "sum", "column"][: len(w.dims)]
    out = [*lead, *(["row"] if "row" in x_labels else []), *(["column"] if "column" in w_labels else [])]
    return times(tape, x, w, x_labels, w_labels, out, "linear")


@rule("aten.cdist")
def distances(call: OpCall, x: TracedTensor, w: TracedTensor, *_: Any) -> TracedTensor:
    x, lead = suffer(call.tape, x, Unknown()), ascii_letters[: len(x.dims) - 2]
    equation = ((*lead, "row", "sum"), (*lead, "column", "sum")[-len(w.dims) :], (*lead, "row", "column"))
    return activate(call.tape, "cdist", times(call.tape, x, w, *equation, "distance"))


@rule("aten.tensordot")
def tensordot(call: OpCall, x: TracedTensor, w: TracedTensor, ours: list[int], theirs: list[int]) -> TracedTensor:
    x_labels, w_labels = ([f"{name}{dim}" for dim in range(len(value.dims))] for name, value in (("x", x), ("w", w)))
    for one, other in zip(ours, theirs, strict=True):
        w_labels[w.place(other)] = x_labels[x.place(one)]
    out = [label for label in (*x_labels, *w_labels) if (label in x_labels) != (label in w_labels)]
    return times(call.tape, x, w, x_labels, w_labels, out, "linear")


def times(
    tape: Tape, x: TracedTensor, w: TracedTensor, x_labels: Labels, w_labels: Labels, out: Labels, kind: str
) -> TracedTensor:
    """A contraction in which dimensions of one place are repeated as often as the other tensor needs."""
    x, x_labels = _without_ones(tape, x, list(x_labels), w, w_labels)
    w, w_labels = _without_ones(tape, w, list(w_labels), x, x_labels)
    extra: dict[str, Dim] = {label: () for label in out if label not in (*x_labels, *w_labels)}
    return contract(tape, x, w, (x_labels, w_labels, out), kind, extra)


def _without_ones(
    tape: Tape, x: TracedTensor, labels: list[str], w: TracedTensor, others: Labels
) -> tuple[TracedTensor, list[str]]:
    """Without dimensions of one place that the other tensor has more places of."""
    wide = {label for label, count in zip(others, w.shape, strict=True) if count > 1}
    for dim in reversed(range(len(labels))):
        if x.shape[dim] == 1 and labels[dim] in wide:
            x, labels = tape.drop(x, dim), labels[:dim] + labels[dim + 1 :]
    return x, labels


# -- convolutions ------------------------------------------------------------------------------------------------------


@rule("aten.conv1d", "aten.conv2d", "aten.conv3d")
def conv(
    call: OpCall, x: TracedTensor, weight: TracedTensor, bias: TracedTensor | None = None, *args: Any
) -> TracedTensor:
    groups = args[3] if len(args) > 3 else 1
    return _conv(call, x, weight, bias, groups, turned=False, operator=_operator(*args))


@rule("aten.convolution")
def convolution(
    call: OpCall, x: TracedTensor, weight: TracedTensor, bias: TracedTensor | None, *args: Any
) -> TracedTensor:
    told = None if args[3] else _operator(args[0], args[1], args[2], args[5])
    return _conv(call, x, weight, bias, args[5], turned=bool(args[3]), operator=told)


@rule("aten.conv_transpose1d", "aten.conv_transpose2d", "aten.conv_transpose3d")
def conv_transpose(
    call: OpCall, x: TracedTensor, weight: TracedTensor, bias: TracedTensor | None = None, *args: Any
) -> TracedTensor:
    return _conv(call, x, weight, bias, args[3] if len(args) > 3 else 1, turned=True)


def _operator(stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Conv | None:
    """What a convolution does to places, where a layout can tell: the same in both dimensions, without gaps."""
    steps, pads, gaps = ({*each} if isinstance(each, list | tuple) else {each} for each in (stride, padding, dilation))
    plain = len(steps) == len(pads) == 1 and gaps == {1} and groups == 1 and "same" not in pads
    return Conv(steps.pop(), 0 if pads == {"valid"} else pads.pop()) if plain else None


def _conv(
    call: OpCall, x: TracedTensor, weight: TracedTensor, bias: TracedTensor | None, groups: int, turned: bool,
    operator: Conv | None = None,
) -> TracedTensor:  # fmt: skip
    tape, places = call.tape, len(weight.dims) - 2
    x = tape.reshape(x, (1, *x.shape)) if len(x.dims) == places + 1 else x
    for term in (*weight.dims[2:], *x.dims[2:]):
        freeze(term)
    spatial, window = [f"x{i}" for i in range(places)], [f"k{i}" for i in range(places)]
    after = [f"y{i}" for i in range(places)]
    extra = dict(zip(after, fresh(call.shape[-places:], fixed=True), strict=True))
    inner = ("in", "out") if turned else ("out", "in")
    if groups == 1:
        equation = (["n", "in", *spatial], [*inner, *window], ["n", "out", *after])
        found = contract(tape, x, weight, equation, "conv", extra, operator)
    else:
        x = tape.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
        weight = tape.reshape(weight, (groups, weight.shape[0] // groups, *weight.shape[1:]))
        equation = (["n", "g", "in", *spatial], ["g", *inner, *window], ["n", "g", "out", *after])
        found = contract(tape, x, weight, equation, "conv", extra)
        found = tape.reshape(found, (found.shape[0], groups * found.shape[2], *found.shape[3:]))
    found = plus(tape, found, bias, places)
    return found if len(found.dims) == len(call.shape) else tape.reshape(found, call.shape)


# -- attention ---------------------------------------------------------------------------------------------------------


@rule("aten.scaled_dot_product_attention")
def attention(
    call: OpCall, query: TracedTensor, key: TracedTensor, value: TracedTensor, mask: TracedTensor | None = None,
    _: float = 0.0, causal: bool = False, *, is_causal: bool = False, enable_gqa: bool = False, **__: Any,
) -> TracedTensor:  # fmt: skip
    tape = call.tape
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        query, key, value = _grouped(tape, query, key, value)
    lead = list(ascii_letters[: len(query.dims) - 2])
    scores = times(tape, query, key, (*lead, "q", "d"), (*lead, "k", "d"), (*lead, "q", "k"), "product")
    if causal or is_causal:
        freeze((*scores.dims[-2], *scores.dims[-1]))
    if mask is not None:
        scores = combine(tape, "where", [scores, mask]) if mask.raw else combine(tape, "add", [scores, mask])
    share = activate(tape, "softmax", scores)
    found = times(tape, share, value, (*lead, "q", "k"), (*lead, "k", "e"), (*lead, "q", "e"), "attention")
    return found if found.shape == call.shape else tape.reshape(found, call.shape)


def _grouped(
    tape: Tape, query: TracedTensor, key: TracedTensor, value: TracedTensor
) -> tuple[TracedTensor, TracedTensor, TracedTensor]:
    """Query heads as key heads times how many share one of them."""
    heads, groups = query.shape[-3], key.shape[-3]
    query = tape.reshape(query, (*query.shape[:-3], groups, heads // groups, *query.shape[-2:]))

    def shared(x: TracedTensor) -> TracedTensor:
        wide = tape.insert(x, len(x.dims) - 2)
        return tape.expand(wide, (*wide.shape[:-3], heads // groups, *wide.shape[-2:]))

    return query, shared(key), shared(value)


# -- look-ups ----------------------------------------------------------------------------------------------------------


@rule("aten.embedding_bag", "aten.embedding_bag.padding_idx")
def embedding_bag(
    call: OpCall, table: TracedTensor, index: TracedTensor, offsets: TracedTensor, *options: Any
) -> tuple[TracedTensor, None, None, None]:
    """Sums, means or maxima of rows are, neuron by neuron, what a row is: one of the look-up's for every bag."""
    if any(isinstance(each, TracedTensor) for each in options):
        raise LayoutError("an EmbeddingBag with weights per sample has no rule; look rows up and multiply them instead")
    return lookup(call.tape, table, replace(index, dims=offsets.dims)), None, None, None
