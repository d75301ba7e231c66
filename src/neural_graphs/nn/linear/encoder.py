"""What linear layers read of a network: its numbers as they are, or Fourier features of them."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.graph.constants import Tensors, constant
from neural_graphs.layout import Layout
from neural_graphs.layout.grids import Grid
from neural_graphs.networks import Networks
from neural_graphs.nn.embeddings import Standardise, sinusoids, wave_rates
from neural_graphs.nn.linear.cut import Cut
from neural_graphs.nn.linear.layer import Values
from neural_graphs.nn.spec import InputSpec, require_channels

WAVES = 16  # per index; two numbers each
PLACES = 3


class GridEncoder(nn.Module):
    """The numbers of networks, standardised where their family has statistics, grid by grid; `width` channels each."""

    def __init__(self, family: InputSpec, cut: Cut):
        super().__init__()
        self.cut, self.channels, self.width = cut, family.channels, family.channels
        self.standardise = Standardise(family.statistics) if family.statistics else None

    @property
    def alive(self) -> int:
        """How many numbers it holds for every number that it reads, about."""
        return 2 * self.width

    def forward(self, networks: Networks) -> Values:
        """Values of every grid of networks that share a layout, `(networks, *sizes, features · width)`.

        Raises LayoutError for another number of channels, and for networks that the grids do not fit.
        """
        require_channels(networks, self.channels)
        values, layout = networks.values.reshape(len(networks), -1, self.channels), networks.layout
        if self.standardise is not None:
            self.standardise.require(networks)
            groups, bias = statistics_index(layout, values.device).each
            each = self.standardise.biases(values, groups), self.standardise.weights(values, groups)
            values = torch.where(bias[:, None], *each)
        return self.cut.split(values, layout)


class PlaceEncoder(GridEncoder):
    """Every number as it is, and `PLACES` channels beside it that tell its places along fixed indices (ours)."""

    def __init__(self, family: InputSpec, cut: Cut):
        super().__init__(family, cut)
        self.width = self.channels + PLACES
        self.positions = nn.ModuleList(GridPosition(grid, self.width) for grid in cut.grids)

    def forward(self, networks: Networks) -> Values:
        return [
            position(F.pad(values.unflatten(-1, (-1, self.channels)), (0, PLACES)).flatten(-2))
            for values, position in zip(super().forward(networks), self.positions, strict=True)
        ]


class FourierEncoder(GridEncoder):
    """`[cos(2π v F), sin(2π v F)]` of every number v, and encodings of its places along fixed indices.

    Zhou et al. 2023, appendix: F is drawn once from N(0, sigma²). They put the encodings beside the features, here they
    are added.
    """

    frequencies: Tensor

    def __init__(self, family: InputSpec, cut: Cut, sigma: float = 3.0, frequencies: int = 128):
        super().__init__(family, cut)
        self.width = 2 * frequencies
        self.register_buffer("frequencies", sigma * torch.randn(self.channels, frequencies))
        self.positions = nn.ModuleList(GridPosition(grid, self.width) for grid in cut.grids)

    @property
    def alive(self) -> int:
        return 4 * self.width  # angles, their cosines and sines, both together, with places

    def forward(self, networks: Networks) -> Values:
        found = []
        for values, position in zip(super().forward(networks), self.positions, strict=True):
            angles = values.unflatten(-1, (-1, self.channels)) @ (2 * torch.pi * self.frequencies)
            found.append(position(torch.cat([angles.cos(), angles.sin()], -1).flatten(-2)))
        return found


class GridPosition(nn.Module):
    """Projected sinusoids of the place along every fixed index of a grid, added (Vaswani et al. 2017, section 3.5)."""

    rates: Tensor

    def __init__(self, grid: Grid, width: int):
        super().__init__()
        self.register_buffer("rates", wave_rates(WAVES), persistent=False)
        self.places = [place for place, index in enumerate(grid.indices) if index.fixed]
        project = (nn.Linear(2 * WAVES, grid.features * width, bias=False) for _ in self.places)
        self.project = nn.ModuleList(project)

    def forward(self, x: Tensor) -> Tensor:
        """`(networks, *sizes, features · width)`, the same."""
        for place, project in zip(self.places, self.project, strict=True):
            waves = sinusoids(torch.arange(x.shape[1 + place], device=x.device), self.rates).to(x.dtype)
            after = len(x.shape[2 + place : -1])  # dimensions between this one and the features
            x = x + project(waves).unflatten(0, (-1, *(1,) * after))
        return x


@constant()
def statistics_index(layout: Layout, device: torch.device) -> Tensors:
    """The group that every number leads to, the first where it leads nowhere; whether it is no weight; `(size,)`."""
    sources, targets = layout.number_ends
    groups = np.where(targets < 0, 0, layout.neuron_group[targets])
    return Tensors((torch.from_numpy(groups).to(device), torch.from_numpy(sources < 0).to(device)))
