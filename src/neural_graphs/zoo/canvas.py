"""How the outputs of an implicit network become an image: the coordinates to ask for and the range that comes back."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neural_graphs.errors import ZooError
from neural_graphs.graph.constants import Tensors, constant
from neural_graphs.layout.serialise import build
from neural_graphs.networks import Networks


@dataclass(frozen=True)
class Canvas:
    """A regular grid on [−1, 1]² and the range [`low`, `high`] in which networks on it were fitted to pixels.

    With `axes` "xy" a coordinate is (column, row), with "ij" (row, column); rows of pixels follow each other in both.
    """

    height: int
    width: int
    channels: int
    axes: str = "xy"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels) < 1 or self.axes not in ("xy", "ij") or self.low == self.high:
            raise ZooError(f"{self} is no canvas: it needs sizes of at least 1, axes xy or ij, and a range")

    def coordinates(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "points 2"]:
        """Return the coordinates of all pixels, row by row."""
        rows = torch.linspace(-1, 1, self.height, dtype=dtype).repeat_interleave(self.width)
        columns = torch.linspace(-1, 1, self.width, dtype=dtype).repeat(self.height)
        return torch.stack((columns, rows) if self.axes == "xy" else (rows, columns), dim=1)

    def draw(self, networks: Networks) -> Float[Tensor, "networks points channels"]:
        """Return what the networks draw, differentiable: a pixel is 0 where the network says `low` and 1 at `high`."""
        outputs = networks.run(_points(self, networks.values.dtype, networks.values.device).only)
        return outputs if (self.low, self.high) == (0, 1) else (outputs - self.low) / (self.high - self.low)

    @torch.no_grad()
    def render(self, networks: Networks) -> NDArray[np.float32]:
        """Return what the networks draw: (networks, height, width), with a last axis of 3 for colour.

        As `draw`, without gradients; values outside 0 to 1 are not clipped.
        """
        return self.picture(self.draw(networks))

    def picture(self, pixels: Float[Tensor, "networks points channels"]) -> NDArray[np.float32]:
        """Return drawn pixels as arrays to show: (networks, height, width), with a last axis of 3 for colour."""
        channels = () if self.channels == 1 else (self.channels,)
        return pixels.detach().float().cpu().numpy().reshape(len(pixels), self.height, self.width, *channels)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Canvas":
        """Return the canvas that `to_json` described; raises `LayoutError` naming a key that does not fit."""
        return build(cls, value)


@constant(64)
def _points(canvas: Canvas, dtype: torch.dtype, device: torch.device) -> Tensors:
    """The coordinates on a device, uploaded once."""
    return Tensors((canvas.coordinates(dtype).to(device),))
