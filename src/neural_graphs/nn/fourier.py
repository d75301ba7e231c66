"""Numbers to features: Fourier features and Linear layers, for biases, kernels and channels."""

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function

from neural_graphs.errors import LayoutError
from neural_graphs.nn.spec import plane

CHUNK = 2048  # rows of Fourier features alive at a time: 2048 × 256 numbers stay in a core's cache


class FourierLinear(Function):
    """`[cos(2π v Fᵀ), sin(2π v Fᵀ)] Wᵀ + b` chunk by chunk; the Fourier features are never stored, but made again in
    the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(values, frequencies, weight)
        angular, transposed = 2 * torch.pi * frequencies.T, weight.T.contiguous()
        out = values.new_empty(len(values), len(weight))
        features = values.new_empty(min(CHUNK, len(values)), weight.shape[1])
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            torch.addmm(bias, _waves(chunk, angular, features), transposed, out=out[start : start + CHUNK])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor]:
        values, frequencies, weight = ctx.saved_tensors
        grad, angular = grads[0], 2 * torch.pi * frequencies.T
        weight_grad = torch.zeros_like(weight)
        values_grad = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        features = values.new_empty(min(CHUNK, len(values)), weight.shape[1])
        for start in range(0, len(values), CHUNK):
            piece = grad[start : start + CHUNK]
            waves = _waves(values[start : start + CHUNK], angular, features)
            weight_grad.addmm_(piece.T, waves)
            if values_grad is not None:
                cosine, sine = waves.chunk(2, 1)
                inner = piece @ weight  # (rows, 2 · frequencies): d/d cos and d/d sin
                half = inner.shape[1] // 2
                slope = inner[:, half:] * cosine - inner[:, :half] * sine
                values_grad[start : start + CHUNK] = slope @ angular.T
        return values_grad, None, weight_grad, grad.sum(0)


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


@cache
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
        flat: Tensor = FourierLinear.apply(rows, frequencies, weight, bias)  # type: ignore[no-untyped-call]  # torch's
        return flat.unflatten(0, values.shape[:-1])
