"""Operators that move numbers about: reshape, transpose, slice, join, and what turns shapes into constants."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.io.onnx.registry import Value, number, operator, tensor, whole

DTYPES = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64}
DTYPES |= {9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}  # onnx.TensorProto.DataType


@operator("Identity", "Dropout")
def identity(x: Value, *settings: Value | None, ratio: float = 0.5, seed: int = 0) -> Value:
    """The same; nothing is dropped in evaluation."""
    return x


@operator("Shape")
def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> np.ndarray:
    """The sizes of dimensions, known before the network runs."""
    return np.array(x.shape[start:end], dtype=np.int64)


@operator("Size")
def size(x: Tensor) -> np.ndarray:
    """How many numbers there are."""
    return np.array(x.numel(), dtype=np.int64)


@operator("Cast")
def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """Another kind of number; floats stay in the precision of the parameters, whatever that is."""
    if to not in DTYPES:
        raise CheckpointError(f"numbers of ONNX kind {to} are not read")
    return x if x.is_floating_point() and DTYPES[to].is_floating_point else x.to(DTYPES[to])


@operator("CastLike")
def cast_like(x: Value, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Value:
    """The same kind of number as another value; a constant stays a constant."""
    if not isinstance(x, Tensor):
        return x
    return x if x.is_floating_point() and like.is_floating_point() else x.to(like.dtype)


@operator("Reshape")
def reshape(x: Tensor, sizes: Value | None = None, *, shape: list[int] | None = None, allowzero: int = 0) -> Tensor:
    """The same numbers in another shape; a 0 keeps the size of its dimension."""
    wanted = whole(sizes if sizes is not None else shape, "sizes") or []
    kept = wanted if allowzero else [x.shape[dim] if size == 0 else size for dim, size in enumerate(wanted)]
    return x.reshape(kept)


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """A matrix: the dimensions before `axis`, and those from it on."""
    axis = axis + x.ndim if axis < 0 else axis
    return x.flatten(1) if axis == 1 else x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


@operator("Transpose")
def transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    """Dimensions in another order, reversed by default."""
    return x.permute(perm if perm is not None else list(range(x.ndim))[::-1])


@operator("Squeeze")
def squeeze(x: Tensor, dims: Value | None = None, *, axes: list[int] | None = None) -> Tensor:
    """Without these dimensions of size 1, or without all of them."""
    chosen = whole(dims if dims is not None else axes, "axes")
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


@operator("Unsqueeze")
def unsqueeze(x: Tensor, dims: Value | None = None, *, axes: list[int] | None = None) -> Tensor:
    """With further dimensions of size 1."""
    chosen = whole(dims if dims is not None else axes, "axes") or []
    for axis in sorted(axis % (x.ndim + len(chosen)) for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def concat(*values: Value, axis: int) -> Tensor:
    """Values one after another along a dimension."""
    like = next(value for value in values if isinstance(value, Tensor))
    return torch.cat([tensor(value, like) for value in values], axis)


@operator("Split")
def split(x: Tensor, sizes: Value | None = None, *, axis: int = 0, split: list[int] | None = None,
          num_outputs: int | None = None, outputs: int) -> tuple[Tensor, ...]:  # fmt: skip
    """Consecutive parts of a dimension, of given sizes or equal ones (a smaller one at the end)."""
    wanted = whole(sizes if sizes is not None else split, "sizes")
    if x.shape[axis] == outputs:  # one place each: most often squeezed next
        return tuple(part.unsqueeze(axis) for part in x.unbind(axis))
    return x.split(wanted if wanted is not None else -(-x.shape[axis] // (num_outputs or outputs)), axis)


@operator("SplitToSequence")
def split_to_sequence(x: Tensor, sizes: Value | None = None, *, axis: int = 0, keepdims: int = 1) -> list[Tensor]:
    """Consecutive parts of a dimension as a list; without sizes one place each."""
    wanted = whole(sizes, "sizes") or [1]
    parts = x.split(wanted if len(wanted) > 1 else wanted[0], axis)
    return [part.squeeze(axis) for part in parts] if sizes is None and not keepdims else list(parts)


@operator("SequenceAt")
def sequence_at(values: list[Tensor], place: Value) -> Tensor:
    """One entry of a list."""
    return values[int(number(place, "place"))]


@operator("Slice")
def slices(x: Tensor, first: Value | None = None, last: Value | None = None, over: Value | None = None,
           stride: Value | None = None, *, starts: list[int] | None = None, ends: list[int] | None = None,
           axes: list[int] | None = None) -> Tensor:  # fmt: skip
    """A part of some dimensions."""
    begin, stop = whole(first, "starts") or starts or [], whole(last, "ends") or ends or []
    dims = whole(over if over is not None else axes, "axes") or list(range(len(begin)))
    steps = whole(stride, "steps") or [1] * len(dims)
    index = [slice(None)] * x.ndim
    for dim, a, b, step in zip(dims, begin, stop, steps, strict=True):
        if step == -1 and a in (-1, x.shape[dim] - 1) and b <= -x.shape[dim]:
            x = x.flip(dim)
        elif step < 1:
            raise CheckpointError(f"a slice with step {step} is not read")
        elif step == 1 and min(b, x.shape[dim]) - a == 1 and a >= 0:  # one place: most often squeezed next
            x = x.select(dim, a).unsqueeze(dim)
        else:
            index[dim] = slice(a, b, step)
    return x[tuple(index)]


@operator("GatherND")
def gather_nd(data: Tensor, indices: Value, *, batch_dims: int = 0) -> Tensor:
    """The entries at indices of several dimensions, which the last dimension of `indices` counts."""
    if batch_dims:
        raise CheckpointError("looking up in several dimensions batch by batch is not read")
    return data[tensor(indices, data).unbind(-1)]


@operator("Expand")
def expand(x: Tensor, sizes: Value) -> Tensor:
    """Dimensions of size 1 repeated, as broadcasting does."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(whole(sizes, "sizes") or [])))


@operator("Tile")
def tile(x: Tensor, repeats: Value) -> Tensor:
    """Every dimension repeated."""
    return x.repeat(whole(repeats, "repeats") or [])


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Channels to places: `CRD` is torch's pixel shuffle."""
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    parts = x.reshape(n, blocksize, blocksize, c // blocksize**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // blocksize**2, h * blocksize, w * blocksize)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """Places to channels, the place within a block counted before the channel."""
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * blocksize**2, h // blocksize, w // blocksize)
