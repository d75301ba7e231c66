"""`GroupStatistics`: what StatNN sees of a layer, given to each of its neurons (ours)."""

from math import ceil, floor, log

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.graph.constants import table_on
from neural_graphs.graph.index import neuron_groups
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks

SHARP = 30.0  # times numbers before asinh: weights are some hundredths to some units
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
STATISTICS = 2 + len(QUANTILES)


def statistics(values: Float[Tensor, "networks size"]) -> Float[Tensor, "networks statistics"]:
    """Mean, variance (biased) and quantiles 0, ¼, ½, ¾, 1 (linear between neighbours) over the last axis."""
    ranked = values.sort(1).values
    places = [quantile * (values.shape[1] - 1) for quantile in QUANTILES]
    quantiles = [torch.lerp(ranked[:, floor(at)], ranked[:, ceil(at)], at - floor(at)) for at in places]
    return torch.stack((values.mean(1), values.var(1, correction=0), *quantiles), 1)


class GroupStatistics(nn.Module):
    """Features of a group: statistics of the tensors its weights and its biases are in, and how many numbers they hold.

    Mean, variance and quantiles (see `statistics`) as `asinh(30 x)`, and the logarithm of the number, through
    `Linear, SiLU, Linear`. Zeros stand for tensors that a group has not; of several channels the first is looked at.
    """

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * (STATISTICS + 1), width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, networks: Networks) -> Tensor:
        """`(*batch, neurons, width)`, of raw parameters."""
        return networks.cat_by_layout(self._of_neurons)

    def _of_neurons(self, networks: Networks) -> Tensor:
        groups = table_on(networks.values.device, neuron_groups, networks.layout)
        found: Tensor = self.mlp(group_statistics(networks))
        return found.index_select(1, groups)


def group_statistics(networks: Networks) -> Tensor:
    """`(networks, groups, 2 · 8)` of a regular batch: those of weights, then those of biases."""
    values = networks.values if networks.values.ndim == 2 else networks.values[..., 0]
    rows = []
    for index, group in enumerate(networks.layout.groups):
        blocks = [block.parameter for block in networks.layout.blocks if block.target == index and block.parameter]
        rows.append(torch.cat([_of(values, networks.layout, names) for names in (blocks, [group.bias])], 1))
    return torch.stack(rows, 1)


def _of(values: Tensor, layout: Layout, names: list[str | None]) -> Tensor:
    """Of the numbers of all these tensors together, `(networks, 8)`."""
    parts = [values[:, layout.slices[name]] for name in dict.fromkeys(names) if name is not None]
    if not parts:
        return values.new_zeros(len(values), STATISTICS + 1)
    every = torch.cat(parts, 1)
    return F.pad((SHARP * statistics(every)).asinh(), (0, 1), value=log(every.shape[1]) / 10)
