"""Operators that multiply by weights: matrix products, convolutions, look-ups."""

import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.io.onnx.registry import Value, operator, tensor

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("Linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x weightᵀ + bias`, as torch has it; no ONNX operator, but what joins make of a product and a sum."""
    return F.linear(x, weight, bias)


@operator("Gemm")
def gemm(a: Tensor, b: Value, c: Value | None = None, *, alpha: float = 1.0, beta: float = 1.0,
         transA: int = 0, transB: int = 0) -> Tensor:  # fmt: skip
    """`alpha · a b + beta · c`, with either factor transposed before."""
    left, right = a.t() if transA else a, tensor(b, a)
    bias = None if c is None or beta == 0.0 else tensor(c, a)
    weight = right if transB else right.t()
    if alpha == beta == 1.0 and (bias is None or bias.shape == weight.shape[:1]):
        return F.linear(left, weight, bias)
    product = F.linear(left, weight)
    product = product if alpha == 1.0 else alpha * product
    return product if bias is None else product + (bias if beta == 1.0 else beta * bias)


@operator("MatMul")
def matmul(a: Value, b: Value) -> Tensor:
    """A product of matrices, in batches."""
    like = a if isinstance(a, Tensor) else b
    assert isinstance(like, Tensor)
    return torch.matmul(tensor(a, like), tensor(b, like))


@operator("Einsum")
def einsum(*values: Value, equation: str) -> Tensor:
    """Sums of products of values, indexed as the equation says."""
    like = next(value for value in values if isinstance(value, Tensor))
    return torch.einsum(equation, *(tensor(value, like) for value in values))


@operator("Gather")
def gather(data: Tensor, indices: Value, *, axis: int = 0) -> Tensor:
    """Entries of one dimension; one with an index from outside is the look-up of an embedding."""
    axis %= data.ndim
    if not isinstance(indices, Tensor) and indices.ndim == 0:
        return data.select(axis, int(indices) % data.shape[axis])
    places = tensor(indices, data)
    places = torch.where(places < 0, places + data.shape[axis], places) if _may_be_negative(indices) else places
    if data.ndim == 2 and axis == 0:
        return F.embedding(places, data)
    found = data.index_select(axis, places.reshape(-1))
    return found.reshape(*data.shape[:axis], *places.shape, *data.shape[axis + 1 :])


def _may_be_negative(indices: Value) -> bool:
    return not isinstance(indices, Tensor) and bool((indices < 0).any())


@operator("Conv")
def conv(x: Tensor, weight: Value, bias: Value | None = None, *, strides: list[int] | None = None,
         pads: list[int] | None = None, dilations: list[int] | None = None, group: int = 1,
         kernel_shape: list[int] | None = None, auto_pad: str = "NOTSET") -> Tensor:  # fmt: skip
    """A convolution over one, two or three dimensions; `pads` are (starts, ends)."""
    kernel = tensor(weight, x)
    space = kernel.ndim - 2
    ones = [1] * space
    strides, dilations, pads = strides or ones, dilations or ones, pads or [0] * (2 * space)
    if auto_pad != "NOTSET":
        pads = _automatic(auto_pad, list(x.shape[2:]), list(kernel.shape[2:]), strides, dilations)
    before, after = pads[:space], pads[space:]
    if before != after:
        x, before = F.pad(x, around(before, after)), [0] * space
    return CONVOLUTIONS[space](x, kernel, _bias(bias, x), strides, before, dilations, group)


@operator("ConvTranspose")
def conv_transpose(x: Tensor, weight: Value, bias: Value | None = None, *, strides: list[int] | None = None,
                   pads: list[int] | None = None, output_padding: list[int] | None = None,
                   dilations: list[int] | None = None, group: int = 1, kernel_shape: list[int] | None = None,
                   auto_pad: str = "NOTSET") -> Tensor:  # fmt: skip
    """A transposed convolution with equal pads at both ends."""
    kernel = tensor(weight, x)
    space = kernel.ndim - 2
    ones, pads = [1] * space, pads or [0] * (2 * space)
    if auto_pad not in ("NOTSET", "VALID") or pads[:space] != pads[space:]:
        raise CheckpointError(f"only transposed convolutions with equal pads are read, got {auto_pad} {pads}")
    more = output_padding or [0] * space
    return TRANSPOSED[space](x, kernel, _bias(bias, x), strides or ones, pads[:space], more, group, dilations or ones)


def _bias(bias: Value | None, like: Tensor) -> Tensor | None:
    """The bias; none where it is a constant of zeros, which exporters write for a convolution that has none."""
    return None if bias is None or (not isinstance(bias, Tensor) and not bias.any()) else tensor(bias, like)


def around(before: list[int], after: list[int]) -> list[int]:
    """Pads as `F.pad` wants them: from the last dimension to the first, start and end of each."""
    return [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]


def _automatic(kind: str, sizes: list[int], kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    """Pads by name: VALID, or SAME_UPPER and SAME_LOWER (an odd one at the end, or at the start)."""
    if kind == "VALID":
        return [0] * (2 * len(sizes))
    wanted = [
        max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    less, more = [pad // 2 for pad in wanted], [pad - pad // 2 for pad in wanted]
    return less + more if kind == "SAME_UPPER" else more + less
