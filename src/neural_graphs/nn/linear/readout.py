"""Values of grids to answers: invariant ones about a network, and changes of its numbers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.graph.constants import Tensors, constant
from neural_graphs.layout import Layout
from neural_graphs.layout.equivariant_maps import Maps
from neural_graphs.networks import Networks
from neural_graphs.nn.linear.cut import Cut
from neural_graphs.nn.linear.layer import EquivariantLinear, Values
from neural_graphs.nn.run.dropout import Dropout


class GridPool(nn.Module, ABC):
    """Every grid to one vector: its places are pooled, its features stay apart."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "networks places numbers"]) -> Float[Tensor, "networks numbers"]:
        """The places of one grid, pooled."""


class GridMean(GridPool):
    """The mean over all places (Zhou et al. 2023)."""

    def forward(self, x: Float[Tensor, "networks places numbers"]) -> Float[Tensor, "networks numbers"]:
        return x.mean(1)


class GridMax(GridPool):
    """The largest over all places (Navon et al. 2023)."""

    def forward(self, x: Float[Tensor, "networks places numbers"]) -> Float[Tensor, "networks numbers"]:
        return x.amax(1)


class GridReadout(nn.Module):
    """An invariant answer per network: every grid pooled, side by side, then an MLP.

    The MLP has `Linear, ReLU, dropout` for each of the `hidden` widths and a last Linear layer.
    """

    def __init__(
        self, cut: Cut, width: int, classes: int, pool: GridPool, hidden: Sequence[int], dropout: float = 0.0
    ):  # fmt: skip
        super().__init__()
        self.pool = pool
        sizes = [width * sum(grid.features for grid in cut.grids), *hidden]
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU(), Dropout(dropout))]
        self.mlp = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, pooled: Values, networks: Networks) -> Float[Tensor, "networks classes"]:
        """Answers from every grid, pooled."""
        return self.mlp(torch.cat(pooled, 1))

    def of_grid(self, x: Float[Tensor, "networks ..."]) -> Float[Tensor, "networks numbers"]:
        """What it reads of the values of one grid, `(networks, *sizes, numbers)`: all places pooled."""
        return self.pool(x.reshape(len(x), -1, x.shape[-1]))


class GridEditReadout(nn.Module):
    """A change of every number: one more linear layer, and a learned scale for every tensor, `initial` at first."""

    def __init__(self, cut: Cut, width: int, channels: int, initial: float, maps: Maps | None):
        super().__init__()
        if channels < 1:
            raise ConfigError(f"channels is {channels}: an edit has at least one number for every parameter")
        self.cut, self.channels = cut, channels
        self.names = tuple(dict.fromkeys(name for grid in cut.grids for name in grid.tensors))
        self.last = EquivariantLinear(cut.grids, width, channels, maps)
        self.scale = nn.Parameter(torch.full((len(self.names),), initial))

    def of_grid(self, x: Float[Tensor, "networks ..."]) -> Float[Tensor, "networks ..."]:
        """What it reads of the values of one grid: all of them."""
        return x

    def forward(self, values: Values, networks: Networks) -> Float[Tensor, "networks size ..."]:
        """The values of networks of one layout, one channel without an axis for it."""
        layout = networks.layout
        change = self.cut.join(self.last(values), layout, self.channels)
        (tensors,) = tensor_index(layout, self.names, change.device).each
        change = change * self.scale[tensors][:, None]
        return change[..., 0] if self.channels == 1 else change


@constant()
def tensor_index(layout: Layout, names: tuple[str, ...], device: torch.device) -> Tensors:
    """The place among some tensors of the tensor of every number, `(size,)`; the first for those of no such tensor."""
    places = [names.index(p.name) if p.name in names else 0 for p in layout.parameters]
    return Tensors((torch.from_numpy(np.repeat(places, [p.size for p in layout.parameters])).to(device),))
