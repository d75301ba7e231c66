"""Numbers to features: Fourier features and Linear layers, for biases, kernels and channels."""

from math import asinh
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.library import custom_op, register_autograd, register_fake

from neural_graphs.errors import LayoutError
from neural_graphs.graph.constants import Tensors, constant
from neural_graphs.graph.ops.direct import direct, plainly
from neural_graphs.graph.ops.folding import over_networks
from neural_graphs.graph.ops.plain import transformed
from neural_graphs.nn.spec import plane

CHUNK = 2048  # rows of Fourier features alive at a time: 2048 × 256 numbers stay in a core's cache
SCALES = (1.0, 10.0, 100.0)  # of numbers, before asinh
LARGE_CHUNK = 1 << 20  # on an accelerator, which small pieces leave idle


FOURIER, BACKWARD = "neural_graphs::fourier_linear", "neural_graphs::fourier_linear_backward"
OF_BACKWARD = "(Tensor grad, Tensor values, Tensor frequencies, Tensor weight, bool inner) -> (Tensor, Tensor)"


@custom_op(FOURIER, mutates_args=(), schema="(Tensor values, Tensor frequencies, Tensor weight, Tensor bias) -> Tensor")
def _fourier_linear(values: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`[cos(2π v Fᵀ), sin(2π v Fᵀ)] Wᵀ + b` chunk by chunk; the Fourier features are never stored, but made again in
    the backward pass."""
    angular, transposed = 2 * torch.pi * frequencies.T, weight.T.contiguous()
    out = values.new_empty(len(values), len(weight))
    rows = _rows(values)
    features = values.new_empty(rows, weight.shape[1])
    for start in range(0, len(values), max(1, rows)):
        chunk = values[start : start + rows]
        torch.addmm(bias, _waves(chunk, angular, features), transposed, out=out[start : start + rows])
    return out


@register_fake(FOURIER)
def _(values: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return values.new_empty(values.shape[0], weight.shape[0])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor]:
    values, frequencies, weight = ctx.saved_tensors
    inner = bool(ctx.needs_input_grad[0])
    way = fourier_grad if torch.is_grad_enabled() else _backward_directly  # is a gradient of this gradient asked for?
    values_grad, weight_grad = way(grad, values, frequencies, weight, inner)
    return values_grad if inner else None, None, weight_grad, grad.sum(0)


register_autograd(FOURIER, _backward, setup_context=_keep)
over_networks(FOURIER, _fourier_linear, 1)
_directly = direct(_fourier_linear, _keep, _backward)


def fourier_linear(values: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`[cos(2π v Fᵀ), sin(2π v Fᵀ)] Wᵀ + b`: our operator, or plain steps where a transform looks on."""
    if not transformed():
        return _directly(values, frequencies, weight, bias)
    angles = values @ (2 * torch.pi * frequencies.T)
    return F.linear(torch.cat([angles.cos(), angles.sin()], 1), weight, bias)


@custom_op(BACKWARD, mutates_args=(), schema=OF_BACKWARD)
def fourier_backward(
    grad: Tensor, values: Tensor, frequencies: Tensor, weight: Tensor, inner: bool
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gradients of values (only where `inner`) and of the weight, chunk by chunk; see `fourier_grad`."""
    angular, weight_grad = 2 * torch.pi * frequencies.T, torch.zeros_like(weight)
    values_grad = torch.empty_like(values) if inner else values.new_empty(0)
    rows = _rows(values)
    features = values.new_empty(rows, weight.shape[1])
    for start in range(0, len(values), max(1, rows)):
        piece = grad[start : start + rows]
        waves = _waves(values[start : start + rows], angular, features)
        weight_grad.addmm_(piece.T, waves)
        if inner:
            values_grad[start : start + rows] = _slope(piece @ weight, waves) @ angular.T
    return values_grad, weight_grad


@register_fake(BACKWARD)
def _(
    grad: Tensor, values: Tensor, frequencies: Tensor, weight: Tensor, inner: bool
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(values) if inner else values.new_empty(0), torch.empty_like(weight)


_backward_directly = plainly(fourier_backward)


def fourier_grad(
    grad: Tensor, values: Tensor, frequencies: Tensor, weight: Tensor, inner: bool
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The same in one go, by operators that have gradients themselves: the plain reference of `fourier_backward`."""
    angular = 2 * torch.pi * frequencies.T
    waves = torch.cat([(values @ angular).cos(), (values @ angular).sin()], 1)
    return _slope(grad @ weight, waves) @ angular.T if inner else values.new_empty(0), grad.T @ waves


def _slope(inner: Tensor, waves: Tensor) -> Tensor:
    """What angles get of what cosines and sines get, `(rows, frequencies)`."""
    (cosine, sine), (of_cosine, of_sine) = waves.chunk(2, 1), inner.chunk(2, 1)
    return of_sine * cosine - of_cosine * sine


def _rows(values: Tensor) -> int:
    """Rows of Fourier features that are alive at a time."""
    return min(CHUNK if values.device.type == "cpu" else LARGE_CHUNK, len(values))


def _waves(values: Tensor, angular: Tensor, out: Tensor) -> Tensor:
    """Cosines and sines of `values @ angular`, side by side, in the first rows of `out`."""
    rows = out[: len(values)]
    angles = values @ angular if values.shape[1] > 1 else values * angular
    cosine, sine = rows.chunk(2, 1)
    if angles.device.type == "cpu" and angles.dtype in (torch.float32, torch.float64):
        np.cos(angles.numpy(), out=cosine.numpy())  # about twice as fast as torch's, as exact
        np.sin(angles.numpy(), out=sine.numpy())
    else:
        rows.copy_(torch.cat([angles.cos(), angles.sin()], 1))
    return rows


@constant()
def frame_columns(shape: tuple[int, ...], frame: tuple[int, int], channels: int) -> np.ndarray | None:
    """The numbers of a frame that a kernel, laid out flat, fills when centred, `⌊(K − k) / 2⌋` free places before it.

    `(kernel · channels,)`, or None where the kernel is as large as the frame. Raises LayoutError where it is larger.
    """
    height, width = plane(shape)
    if (height, width) == frame:
        return None
    if height > frame[0] or width > frame[1]:
        raise LayoutError(
            f"a {height}×{width} kernel does not fit into the {frame[0]}×{frame[1]} frame it is read with"
        )
    top, left = (frame[0] - height) // 2, (frame[1] - width) // 2
    places = (top + np.arange(height))[:, None] * frame[1] + left + np.arange(width)
    return (places.reshape(-1, 1) * channels + np.arange(channels)).reshape(-1)


@constant()
def column_index(
    shape: tuple[int, ...], frame: tuple[int, int], channels: int, parts: int, device: torch.device
) -> Tensors:  # fmt: skip
    """The columns of `frame_columns`, in each of so many frames side by side, on a device; None for all columns."""
    columns = frame_columns(shape, frame, channels)
    if columns is None:
        return Tensors((None,))
    size = frame[0] * frame[1] * channels
    every = np.concatenate([columns + part * size for part in range(parts)])
    return Tensors((torch.from_numpy(every).to(device),))


class ValueEncoder(nn.Module):
    """`[Fourier], Linear, (SiLU, Linear) × (depth − 1)` on the last axis (paper section 3 and appendix).

    `inputs` raw numbers to `width` features. `sigma` is the scale of the random frequencies, drawn once from
    N(0, sigma²) and never trained; None feeds the raw numbers straight in. A kernel smaller than the largest one gives
    the `columns` of the frame that its numbers fill: the same result as zero padding, without the zeros.
    """

    frequencies: Tensor | None

    def __init__(
        self, inputs: int, width: int, sigma: float | None = 3.0, depth: int = 1, frequencies: int = 128,
        generator: torch.Generator | None = None,
    ):  # fmt: skip
        super().__init__()
        drawn = None if sigma is None else sigma * torch.randn(frequencies, inputs, generator=generator)
        self.register_buffer("frequencies", drawn)
        self.first = nn.Linear(inputs if drawn is None else 2 * frequencies, width)
        self.rest = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))

    def forward(
        self, values: Float[Tensor, "*batch numbers"], columns: Tensor | None = None, then: nn.Linear | None = None
    ) -> Float[Tensor, "*batch width"]:
        """Encode, and apply the Linear layer `then`, merged with the one before it where nothing lies between."""
        weight: Tensor = self.first.weight
        bias: Tensor = self.first.bias
        if then is not None and not self.rest:
            weight, bias, then = then.weight @ weight, then.weight @ bias + then.bias, None
        features = self._project(values, columns, weight, bias)
        for linear in self.rest:
            features = linear(F.silu(features))
        return features if then is None else then(features)

    def _project(self, values: Tensor, columns: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
        if self.frequencies is None:
            return F.linear(values, weight if columns is None else weight[:, columns], bias)
        frequencies = self.frequencies if columns is None else self.frequencies[:, columns]
        rows = values.reshape(-1, values.shape[-1])
        flat: Tensor = fourier_linear(rows, frequencies, weight, bias)
        return flat.unflatten(0, values.shape[:-1])


class MultiscaleEncoder(nn.Module):
    """Numbers as they are and at several scales: `W v + W₂ SiLU(W₁ [asinh(v), asinh(10 v), asinh(100 v)])` (ours).

    What is multiplied by a feature must be proportional to the number somewhere, which the first part is; the second
    tells small numbers apart and stays moderate for large ones. `inputs`, `columns` and `then` as for `ValueEncoder`.
    """

    frequencies = None

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.scales = nn.ModuleList(nn.Linear(inputs, width) for _ in SCALES)
        self.mix = nn.Linear(width, width)

    def forward(
        self, values: Float[Tensor, "*batch numbers"], columns: Tensor | None = None, then: nn.Linear | None = None
    ) -> Float[Tensor, "*batch width"]:
        """Encode, and apply the Linear layer `then`."""
        hidden = torch.zeros((), dtype=values.dtype, device=values.device)
        for scale, linear in zip(SCALES, self.scales, strict=True):
            hidden = hidden + _selected(linear, (scale * values).asinh() / asinh(scale), columns)
        features = _selected(self.first, values, columns) + self.mix(F.silu(hidden))
        return features if then is None else then(features)


def _selected(linear: nn.Linear, values: Tensor, columns: Tensor | None) -> Tensor:
    """A Linear layer on some of its inputs, the others being zero."""
    return F.linear(values, linear.weight if columns is None else linear.weight[:, columns], linear.bias)
