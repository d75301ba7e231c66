"""What a learned optimizer reads of every parameter: its value, its gradient and five momenta, as 14 channels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks

DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)  # of the momenta
SIGNALS = 2 + len(DECAYS)  # value, gradient, momenta
CHANNELS = 2 * SIGNALS
TINY = 1e-12  # of a root mean square
SMALLEST = math.exp(-10)  # below, a number is read as it is, above by its logarithm


def accumulate(
    momenta: Float[Tensor, "*numbers momenta"], gradient: Float[Tensor, "*numbers"]
) -> Float[Tensor, "*numbers momenta"]:
    """`m_k ← β_k m_k + g`, without a factor 1 − β and without a correction of the first steps."""
    return momenta * momenta.new_tensor(DECAYS) + gradient[..., None]


def log_and_sign(signals: Float[Tensor, "*numbers signals"]) -> Float[Tensor, "*numbers channels"]:
    """Two numbers for every one: `(log|s| / 10, sign s)` where `|s| ≥ e⁻¹⁰`, else `(−1, e¹⁰ s)`.

    Andrychowicz et al. 2016, appendix A, with p = 10.
    """
    size = signals.abs()
    logarithm = size.clamp(min=SMALLEST).log() / 10  # −1 for all small ones
    sign = torch.where(size >= SMALLEST, signals.sign(), signals / SMALLEST)
    return torch.stack([logarithm, sign], -1).flatten(-2)


def tensor_means(values: Float[Tensor, "networks size d"], layout: Layout) -> Float[Tensor, "networks tensors d"]:
    """The mean over each tensor, in their order."""
    parts = values.split([parameter.size for parameter in layout.parameters], 1)
    return torch.stack([part.mean(1) for part in parts], 1)


def to_numbers(found: Float[Tensor, "networks tensors d"], layout: Layout) -> Float[Tensor, "networks size d"]:
    """What is known of tensors, given to each of their numbers."""
    sizes = torch.tensor([parameter.size for parameter in layout.parameters], device=found.device)
    return found.repeat_interleave(sizes, 1, output_size=layout.size)


def tensor_rms(values: Float[Tensor, "..."], like: Networks) -> Float[Tensor, "..."]:
    """The root of the mean square of every number's tensor, for channels `(…, d)` of the numbers of networks.

    At least 10⁻¹², so that one can divide by it, and so that it has a gradient where a tensor is 0.
    """

    def one(part: Networks) -> Tensor:
        return to_numbers(tensor_means(part.values.square(), part.layout).clamp(min=TINY**2).sqrt(), part.layout)

    return like.with_values(values).cat_by_layout(one)
