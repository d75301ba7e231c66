"""Metanetworks that read the grids of a network: what those of linear layers and of attention share."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from math import isqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.layout.equivariant_maps import Maps
from neural_graphs.networks import Networks
from neural_graphs.nn.linear.encoder import GridEncoder
from neural_graphs.nn.linear.layer import EquivariantLinear, Values
from neural_graphs.nn.linear.readout import GridEditReadout, GridReadout
from neural_graphs.nn.run.checkpointing import LARGE, checkpointed, is_large
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.run.memory import require_bytes
from neural_graphs.nn.run.microbatch import BUDGET, Reader
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import require_size

PIECE, LARGEST = BUDGET["cpu"], LARGE["cpu"]  # numbers of a tensor


class GridMetanetwork(Shareable, Reader):
    """`GridEncoder → layers between grids → readout`.

    Networks of several layouts are read layout by layout, with the same parameters; see `Cut` for which can be.
    """

    def __init__(self, encoder: GridEncoder, readout: GridReadout | GridEditReadout, width: int):
        super().__init__()
        self.encoder, self.readout, self.width = encoder, readout, width

    @abstractmethod
    def encode(self, networks: Networks) -> Values:
        """What the readout reads of every grid, of networks that share a layout."""

    @abstractmethod
    def alive(self, gradients: bool, recomputed: bool) -> int:
        """How many times the values of all grids are in memory at the worst moment of reading, or of the backward pass,
        about."""

    def read(self, networks: Networks) -> Any:
        """Read a batch in one go: `(networks, classes)`, or `Networks`.

        Raises MemoryNeeded, before anything is made, where it needs more memory than there is.
        """
        require_bytes(self.bytes_needed(networks), networks)
        if isinstance(self.readout, GridEditReadout):
            return networks.with_values(networks.cat_by_layout(self._answer))
        return networks.stack_by_layout(self._answer)

    def _answer(self, part: Networks) -> Tensor:
        found: Tensor = self.readout(self.encode(part), part)
        return found

    def embed(self, networks: Networks) -> Float[Tensor, "networks d"]:
        """One vector per network: what the MLP of the readout sees. Raises ConfigError for an editor."""
        if not isinstance(self.readout, GridReadout):
            raise ConfigError("an editor pools nothing: it has no embedding of a network")
        return networks.stack_by_layout(lambda part: torch.cat(self.encode(part), 1))

    def bytes_needed(self, networks: Networks) -> int:
        """For reading these networks in one go, with their gradients where torch records them, about."""
        gradients, numbers = torch.is_grad_enabled(), networks.values.numel() // self.encoder.channels
        recomputed = gradients and is_large(self._values(networks), networks.values.device)
        each = self.encoder.alive + self.width * self.alive(gradients, recomputed)
        return each * numbers * networks.values.element_size()

    def _values(self, networks: Networks) -> int:
        """The numbers that the values of all grids hold between layers."""
        return self.width * (networks.values.numel() // self.encoder.channels)

    def numbers(self, networks: Networks) -> int:
        """How many numbers the values of the largest of these networks have; fewer are told where layers are wide, as a
        piece should be larger than the gradients it adds up."""
        found = max(layout.size for layout in dict.fromkeys(networks.layouts)) * self.width
        worth = sum(parameter.numel() for parameter in self.parameters()) // PIECE
        return found // min(max(1, worth), LARGEST // PIECE)


class LinearMetanetwork(GridMetanetwork):
    """`GridEncoder → (EquivariantLinear, norm, ReLU, dropout) × depth → readout`."""

    def __init__(
        self, encoder: GridEncoder, readout: GridReadout | GridEditReadout, width: int, depth: int, *,
        dropout: float = 0.0, norm: bool = False, maps: Maps | None = None,
    ):  # fmt: skip
        require_size(width, depth)
        super().__init__(encoder, readout, width)
        every = encoder.cut.grids
        widths, self.normed = [encoder.width, *[width] * (depth - 1)], norm
        self.layers = nn.ModuleList(EquivariantLinear(every, before, width, maps) for before in widths)
        self.between = nn.ModuleList(Between([grid.features for grid in every], width, norm, dropout) for _ in widths)

    def encode(self, networks: Networks) -> Values:
        """What the readout reads of every grid, of networks that share a layout."""
        values: Values = self.encoder(networks)
        stride = isqrt(len(self.layers))
        for first in range(0, len(self.layers), stride):  # of large networks only every stride-th values are kept
            several = partial(self._several, slice(first, first + stride))
            values = checkpointed(
                several, *values, numbers=self.width * networks.values.numel() // self.encoder.channels
            )
        return values

    def alive(self, gradients: bool, recomputed: bool) -> int:
        depth = len(self.layers)
        if not gradients:
            return 3
        kept = depth * (2 if self.normed else 1)
        return 3 + (2 * isqrt(depth) if recomputed else kept)

    def _several(self, which: slice, *values: Tensor) -> Values:
        """The values of every grid after some layers; after the last one only what the readout reads of them."""
        found = list(values)
        for layer, between in zip(self.layers[which], self.between[which], strict=True):
            found = layer(found, self._last if between is self.between[-1] else between)
        return found

    def _last(self, place: int, x: Tensor) -> Tensor:
        found: Tensor = self.readout.of_grid(self.between[-1](place, x))
        return found


class Between(nn.Module):
    """What follows a linear layer, number by number: a norm over the features of a place, ReLU, dropout."""

    def __init__(self, features: Sequence[int], width: int, norm: bool, dropout: float):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(each * width) if norm else nn.Identity() for each in features)
        self.dropout = Dropout(dropout)

    def forward(self, place: int, x: Tensor) -> Tensor:
        """Values of the grid at a place, the same shape."""
        normed = self.norms[place](x)
        return self.dropout(normed.relu() if normed is x else normed.relu_())
