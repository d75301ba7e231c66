"""Operators over places: pools, means and other reductions, padding, resizing."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.io.onnx.operators.linear import around
from neural_graphs.io.onnx.registry import OPERATORS, Value, number, operator, whole

MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MEANS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
GLOBAL_MEANS = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
GLOBAL_MAXIMA = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceL1": lambda x, dims, keep: torch.linalg.vector_norm(x, 1, dims, keep),
    "ReduceL2": lambda x, dims, keep: torch.linalg.vector_norm(x, 2, dims, keep),
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceSum": torch.sum,
    "ReduceSumSquare": lambda x, dims, keep: torch.sum(x.square(), dims, keep),
}


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    def reduced(x: Tensor, over: Value | None = None, *, axes: list[int] | None = None, keepdims: int = 1,
                noop_with_empty_axes: int = 0) -> Tensor:  # fmt: skip
        dims = whole(over if over is not None else axes, "axes")
        if not dims and noop_with_empty_axes:
            return x
        return function(x, dims or list(range(x.ndim)), bool(keepdims))

    return reduced


OPERATORS.update({name: _reduction(function) for name, function in REDUCTIONS.items()})


@operator("GlobalAveragePool")
def global_mean(x: Tensor) -> Tensor:
    """The mean over all places."""
    return GLOBAL_MEANS[x.ndim - 2](x, 1)


@operator("GlobalMaxPool")
def global_max(x: Tensor) -> Tensor:
    """The maximum over all places."""
    return GLOBAL_MAXIMA[x.ndim - 2](x, 1)


@operator("MaxPool")
def max_pool(x: Tensor, *, kernel_shape: list[int], strides: list[int] | None = None, pads: list[int] | None = None,
             dilations: list[int] | None = None, ceil_mode: int = 0, storage_order: int = 0,
             auto_pad: str = "NOTSET") -> Tensor:  # fmt: skip
    """The maximum over windows."""
    space = len(kernel_shape)
    before, after = _pads(pads, space, auto_pad)
    if before != after or any(2 * pad > size for pad, size in zip(before, kernel_shape, strict=True)):
        x, before = F.pad(x, around(before, after), value=float("-inf")), [0] * space
    return MAXIMA[space](
        x, kernel_shape, strides or [1] * space, before, dilations or [1] * space, ceil_mode=bool(ceil_mode)
    )


@operator("AveragePool")
def mean_pool(x: Tensor, *, kernel_shape: list[int], strides: list[int] | None = None, pads: list[int] | None = None,
              dilations: list[int] | None = None, ceil_mode: int = 0, count_include_pad: int = 0,
              auto_pad: str = "NOTSET") -> Tensor:  # fmt: skip
    """The mean over windows, with or without the pads."""
    space = len(kernel_shape)
    before, after = _pads(pads, space, auto_pad)
    if set(dilations or [1]) != {1}:
        raise CheckpointError(f"a mean over windows with dilations {dilations} is not read")
    if before != after and not count_include_pad:
        raise CheckpointError(f"a mean over windows with unequal pads {pads} that do not count is not read")
    if before != after:
        x, before = F.pad(x, around(before, after)), [0] * space
    return MEANS[space](x, kernel_shape, strides or [1] * space, before, bool(ceil_mode), bool(count_include_pad))


def _pads(pads: list[int] | None, space: int, auto_pad: str) -> tuple[list[int], list[int]]:
    """Pads at the starts and at the ends."""
    if auto_pad not in ("NOTSET", "VALID"):
        raise CheckpointError(f"a pool with auto_pad {auto_pad} is not read; export it with explicit pads")
    pads = pads or [0] * (2 * space)
    return pads[:space], pads[space:]


@operator("Pad")
def pad(x: Tensor, amounts: Value | None = None, value: Value | None = None, axes: Value | None = None, *,
        mode: str = "constant", pads: list[int] | None = None, constant: float = 0.0) -> Tensor:  # fmt: skip
    """Places added around, constant, reflected or repeated."""
    amounts_ = whole(amounts if amounts is not None else pads, "pads") or []
    dims = [axis % x.ndim for axis in whole(axes, "axes") or range(x.ndim)]
    before, after = [0] * x.ndim, [0] * x.ndim
    for place, dim in enumerate(dims):
        before[dim], after[dim] = amounts_[place], amounts_[place + len(dims)]
    if mode == "constant":
        return F.pad(x, around(before, after), value=float(number(value, "value") or constant))
    first = next((dim for dim in range(x.ndim) if before[dim] or after[dim]), x.ndim - 1)
    known: dict[str, str] = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    return F.pad(x, around(before[first:], after[first:]), mode=known[mode])


@operator("Resize", "Upsample")
def resize(x: Tensor, *inputs: Value | None, mode: str = "nearest", nearest_mode: str = "round_prefer_floor",
           coordinate_transformation_mode: str = "half_pixel", cubic_coeff_a: float = -0.75, antialias: int = 0,
           exclude_outside: int = 0, extrapolation_value: float = 0.0,
           keep_aspect_ratio_policy: str = "stretch") -> Tensor:  # fmt: skip
    """More or fewer places, nearest or interpolated, as torch's `interpolate` does it."""
    _, scales, sizes = (None, *inputs, None) if len(inputs) == 1 else (*inputs, None)[:3]  # before version 11 no region
    corners = coordinate_transformation_mode == "align_corners"
    usual = {"nearest": ("asymmetric",), "linear": ("half_pixel", "pytorch_half_pixel", "align_corners"),
             "cubic": ("half_pixel", "pytorch_half_pixel", "align_corners")}  # fmt: skip
    if coordinate_transformation_mode not in usual.get(mode, ()) or (mode == "nearest" and nearest_mode != "floor"):
        raise CheckpointError(f"resizing by {mode}, {coordinate_transformation_mode}, {nearest_mode} is not read")
    kinds = {"nearest": "nearest", "cubic": "bicubic", "linear": ("linear", "bilinear", "trilinear")[x.ndim - 3]}
    options: dict[str, Any] = {"mode": kinds[mode]} | ({} if mode == "nearest" else {"align_corners": corners})
    if sizes is not None:
        return F.interpolate(x, size=(whole(sizes, "sizes") or [])[2:], **options)
    assert scales is not None and not isinstance(scales, Tensor)
    return F.interpolate(x, scale_factor=[float(each) for each in scales[2:]], **options)


@operator("CumSum")
def cumsum(x: Tensor, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Running sums along a dimension."""
    if exclusive or reverse:
        raise CheckpointError("exclusive or reversed running sums are not read")
    return x.cumsum(int(number(axis, "axis")))
