"""Networks cut into the values of their grids, and put together again."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.graph.constants import table_on
from neural_graphs.layout import Layout
from neural_graphs.layout.grids import Grid, grids
from neural_graphs.nn.linear.layer import Values
from neural_graphs.nn.spec import InputSpec


class Cut:
    """What every number of a network is to a linear layer, for all layouts that differ in free sizes only.

    Parameters of layers belong to pairs of grids, so networks share them whose grids have the same indices and hold the
    same tensors: MLPs of one depth and any hidden widths, say. With `ends` fixed neurons are permuted, too. Raises
    LayoutError for a family that does not tell its layout.
    """

    def __init__(self, family: InputSpec, ends: bool = False):
        if family.layout is None:
            raise LayoutError(
                "this InputSpec tells no layout to derive linear layers from; make it by InputSpec.of(layouts)"
            )
        self.layout, self.ends = family.layout, ends
        self.grids = grids(family.layout, ends)
        self._kinds = [grid.kind for grid in self.grids]

    def grids_of(self, layout: Layout) -> tuple[Grid, ...]:
        """The grids of a layout. Raises LayoutError where they are others than those the layers were made for."""
        found = grids(layout, self.ends)
        if layout != self.layout and [grid.kind for grid in found] != self._kinds:
            raise LayoutError(
                f"linear layers made for {self.layout} cannot read {layout}: networks share their parameters that have "
                "the same tensors and differ in free sizes only; make others for it, or use NGGNN or NGT"
            )
        return found

    def split(self, values: Float[Tensor, "networks size channels"], layout: Layout) -> Values:
        """The values of every grid, `(networks, *sizes, features · channels)`."""
        chosen = values.index_select(1, table_on(values.device, self.places, layout))
        every = self.grids_of(layout)
        pieces = chosen.split([grid.size for grid in every], 1)
        return [
            piece.reshape(len(values), *grid.sizes, grid.features * values.shape[2])
            for piece, grid in zip(pieces, every, strict=True)
        ]

    def join(self, values: Values, layout: Layout, channels: int) -> Float[Tensor, "networks size channels"]:
        """The flat vectors again; 0 for numbers that no grid holds."""
        flat = torch.cat([x.reshape(len(x), -1, channels) for x in values], 1)
        flat = torch.cat([flat, flat.new_zeros(len(flat), 1, channels)], 1)
        return flat.index_select(1, table_on(flat.device, self.order, layout))

    def places(self, layout: Layout) -> np.ndarray:
        """The places of the numbers of all grids in the flat vector, grid after grid."""
        return np.concatenate([grid.places.reshape(-1) for grid in self.grids_of(layout)])

    def order(self, layout: Layout) -> np.ndarray:
        """Where every number of the flat vector lies among those of all grids; after all where it lies in none."""
        places = self.places(layout)
        found = np.full(layout.size, len(places))
        found[places] = np.arange(len(places))
        return found
