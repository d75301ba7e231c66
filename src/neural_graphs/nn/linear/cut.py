"""Networks cut into the values of their grids, and put together again."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.graph.constants import Tensors, constant
from neural_graphs.layout import Layout
from neural_graphs.layout.grids import grids
from neural_graphs.nn.linear.layer import Values
from neural_graphs.nn.spec import InputSpec


@dataclass(frozen=True, eq=False)
class Shapes:
    """`(*sizes, features)` of every grid; a constant to compilers."""

    each: tuple[tuple[int, ...], ...]


@constant()
def grid_shapes(layout: Layout, like: Layout, ends: bool) -> Shapes:
    """Those of the grids of a layout. Raises LayoutError where they are of other kinds than those of another one."""
    found, expected = grids(layout, ends), grids(like, ends)
    if [grid.kind for grid in found] != [grid.kind for grid in expected]:
        raise LayoutError(
            f"linear layers made for {like} cannot read {layout}: networks share their parameters that have the same "
            "tensors and differ in free sizes only; make others for it, or use NGGNN or NGT"
        )
    return Shapes(tuple(grid.places.shape for grid in found))


@constant()
def cut_index(layout: Layout, ends: bool, device: torch.device) -> Tensors:
    """The places of the numbers of all grids in the flat vector, grid after grid; and where among these every number of
    the flat vector lies, `(size,)`, after all where it lies in none."""
    small = np.int32 if layout.size < 2**31 - 1 else np.int64
    places = np.concatenate([grid.places.reshape(-1) for grid in grids(layout, ends)], dtype=small)
    order = np.full(layout.size, len(places), small)
    order[places] = np.arange(len(places))
    return Tensors((torch.from_numpy(places).to(device), torch.from_numpy(order).to(device)))


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

    def split(self, values: Float[Tensor, "networks size channels"], layout: Layout) -> Values:
        """The values of every grid, `(networks, *sizes, features · channels)`.

        Raises LayoutError for a layout with other grids than those the layers were made for.
        """
        shapes = grid_shapes(layout, self.layout, self.ends).each
        places, _ = cut_index(layout, self.ends, values.device).each
        pieces = values.index_select(1, places).split([prod(shape) for shape in shapes], 1)
        return [
            piece.reshape(len(values), *sizes, features * values.shape[2])
            for piece, (*sizes, features) in zip(pieces, shapes, strict=True)
        ]

    def join(self, values: Values, layout: Layout, channels: int) -> Float[Tensor, "networks size channels"]:
        """The flat vectors again; 0 for numbers that no grid holds."""
        flat = torch.cat([x.reshape(len(x), -1, channels) for x in values], 1)
        _, order = cut_index(layout, self.ends, flat.device).each
        return F.pad(flat, (0, 0, 0, 1)).index_select(1, order)
