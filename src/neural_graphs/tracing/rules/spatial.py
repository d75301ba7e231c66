"""Operators that move among places only: pools, interpolations, paddings."""

from collections.abc import Sequence
from typing import Any

from neural_graphs.errors import LayoutError
from neural_graphs.layout import GlobalMean, MaxPool
from neural_graphs.tracing.dims import freeze, plain
from neural_graphs.tracing.ops.combine import concat, suffer
from neural_graphs.tracing.ops.reduce import pick, resize
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.sources import Effect, Scale, Unknown
from neural_graphs.tracing.values import TracedTensor, fresh

POOLS = " ".join(
    f"{before}{kind}_pool{rank}d" for rank in (1, 2, 3) for kind in ("max", "avg") for before in ("", "adaptive_")
)
DEFAULTS: tuple[Any, ...] = (None, [], 0, 1, False)  # window, stride, padding, dilation, ceil mode
RESIZED = (
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_bicubic2d upsample_linear1d"
    " upsample_trilinear3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact2d"
    " _adaptive_avg_pool2d grid_sampler grid_sampler_2d"
    " reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d"
)


@rule(*(f"aten.{name}" for name in f"{POOLS} {RESIZED}".split()))
def resized(call: OpCall, x: TracedTensor, *args: Any, **__: Any) -> Any:
    lead = len(call.shape) - int(next((digit for digit in "123" if f"{digit}d" in call.short), "2"))
    x = suffer(call.tape, x, _effect(call, x, args)) if args else x
    found = resize(call.tape, x, call.shape, lead)
    return found if len(call.shapes) == 1 else [found, *map(call.tape.constant, call.shapes[1:])]


@rule("aten.max_pool2d_with_indices", "aten.max_pool1d_with_indices", "aten.max_pool3d_with_indices")
def pool_with_places(call: OpCall, x: TracedTensor, *args: Any, **__: Any) -> Any:
    return resized(call, x, *args)


def _effect(call: OpCall, x: TracedTensor, args: Sequence[Any]) -> Effect:
    """What a pool does to neurons, as far as a layout can tell: a maximum over windows, a mean over everything."""
    if "max" in call.short:
        window, stride, padding, dilation, ceil = [*args, *DEFAULTS[len(args) :]]
        sides = {*_pair(window), *_pair(stride or window)}
        plain = {*_pair(padding)} == {0} and {*_pair(dilation)} == {1} and not ceil
        two = call.short.startswith("max_pool2d") and len(x.dims) == 4
        return MaxPool(sides.pop()) if two and plain and len(sides) == 1 else Unknown()
    whole = call.short.endswith("avg_pool2d") and call.shape[-2:] == (1, 1) and len(x.dims) == 4
    return GlobalMean() if whole and ("adaptive" in call.short or _pair(args[0]) == x.shape[-2:]) else Scale(1.0)


def _pair(sizes: Any) -> tuple[int, ...]:
    found = tuple(sizes) if isinstance(sizes, list | tuple) else (sizes,)
    return found * 2 if len(found) == 1 else found


@rule("aten.pixel_shuffle", "aten.pixel_unshuffle")
def pixel_shuffle(call: OpCall, x: TracedTensor, factor: int) -> TracedTensor:
    tape, (n, channels, height, width) = call.tape, x.shape
    if call.short == "pixel_shuffle":
        apart = tape.reshape(x, (n, channels // factor**2, factor, factor, height, width))
        return tape.reshape(tape.permute(apart, (0, 1, 4, 2, 5, 3)), call.shape)
    apart = tape.reshape(x, (n, channels, height // factor, factor, width // factor, factor))
    return tape.reshape(tape.permute(apart, (0, 1, 3, 5, 2, 4)), call.shape)


@rule("aten.pad", "aten.constant_pad_nd")
def pad(call: OpCall, x: TracedTensor, amounts: Sequence[int], *_: Any, **__: Any) -> TracedTensor:
    """Along places nothing happens to neurons; neurons that may move get constants beside them."""
    tape = call.tape
    for place, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        dim = len(x.dims) - 1 - place
        shape = [*x.shape[:dim], x.shape[dim] + before + after, *x.shape[dim + 1 :]]
        if all(var.fixed for var in plain(x.dims[dim])):
            x = tape.pad(x, dim, before, shape[dim])
        elif min(before, after) < 0:
            raise LayoutError("neurons are cut off at the ends of a dimension, which has no rule")
        else:
            sides = [
                tape.uniform([*shape[:dim], count, *shape[dim + 1 :]]) if count else None for count in (before, after)
            ]
            x = concat(tape, [part for part in (sides[0], x, sides[1]) if part is not None], dim)
    return x


@rule("aten.im2col")
def im2col(call: OpCall, x: TracedTensor, *_: Any) -> TracedTensor:
    """Every channel at every place of a window, for every place of the window itself."""
    lead, channels = x.shape[:-3], x.shape[-3]
    windows = (*lead, channels, call.shape[-2] // channels, call.shape[-1])
    return call.tape.reshape(resize(call.tape, x, windows, len(lead) + 1), call.shape)


@rule("aten.unfold")
def unfold(call: OpCall, x: TracedTensor, dim: int, *_: int) -> TracedTensor:
    """Windows of one dimension, whose places have an order, along a new last one."""
    dim = x.place(dim)
    freeze(x.dims[dim])
    count, window = fresh((call.shape[dim], call.shape[-1]), fixed=True)
    dims = (*x.dims[:dim], count, *x.dims[dim + 1 :], window)
    return pick(call.tape, call.tape.insert(x, len(x.dims)), dims, dim)
