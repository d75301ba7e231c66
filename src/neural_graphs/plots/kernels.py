"""What a network holds in its first tensor of weights, as one small picture."""

import math

import numpy as np
from jaxtyping import Float

from neural_graphs.networks import Networks
from neural_graphs.plots.style import SIGNED

SHOWN = 64  # kernels, or rows of a matrix


def first_kernels(network: Networks) -> Float[np.ndarray, "height width 3"]:
    """The first tensor of weights of one network: its kernels in a grid, means over their inputs, or the matrix itself.

    Blue is positive and red negative, full colour the largest number of the picture.
    """
    layout = network.layout
    name = next(block.parameter for block in layout.blocks if block.parameter is not None)
    values = network.tensor(name)[0].detach().float().cpu().numpy()
    values = values.reshape(len(values), -1) if values.ndim < 3 else values.mean(1)[:SHOWN]
    picture = values[:SHOWN, :SHOWN] if values.ndim == 2 else _grid(values.reshape(*values.shape[:2], -1))
    return SIGNED(0.5 + picture / (2 * max(float(np.abs(picture).max()), 1e-12)))[..., :3]


def _grid(kernels: Float[np.ndarray, "kernels height width"]) -> Float[np.ndarray, "rows columns"]:
    """Kernels side by side and below each other, a pixel apart."""
    count, height, width = kernels.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, height + 1, width + 1), kernels.dtype)
    padded[:count, :height, :width] = kernels
    grid = padded.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2)
    return grid.reshape(rows * (height + 1), -1)[:-1, :-1]
