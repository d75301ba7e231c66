"""Quarter turns and reflections of a canvas: networks and pictures moved together, without approximation."""

from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_graphs.graph.constants import Tensors, constant
from neural_graphs.networks import Networks
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.transforms import move


def count(canvas: Canvas) -> int:
    """How many there are, the one that moves nothing first: eight of a square, four of another canvas."""
    return len(_matrices(canvas))


def turn(networks: Networks, which: Int[Tensor, " networks"], canvas: Canvas) -> Networks:
    """Networks that draw their pictures turned, each as it is told: `run(turned, x) = run(network, A x)`."""
    matrices = _table(canvas, networks.values.device).each[0]
    assert matrices is not None
    chosen = matrices[which].to(networks.values.dtype)
    return move(networks, chosen, torch.zeros_like(chosen[:, 0]))


def turn_pictures(
    pictures: Float[Tensor, "networks points channels"], which: Int[Tensor, " networks"], canvas: Canvas, *,
    back: bool = False,
) -> Float[Tensor, "networks points channels"]:  # fmt: skip
    """Pictures turned as `turn` turns what networks draw, or `back`."""
    _, pixels, undone = _table(canvas, pictures.device).each
    assert pixels is not None and undone is not None
    return pictures.gather(1, (undone if back else pixels)[which][..., None].expand_as(pictures))


@constant(64)
def _table(canvas: Canvas, device: torch.device) -> Tensors:
    """Matrices `(turns, 2, 2)`, the pixel at A x for every pixel x, `(turns, points)`, and the inverse of that."""
    matrices = _matrices(canvas)
    pixels = torch.stack([_pixels(canvas, matrix) for matrix in matrices])
    return Tensors(tuple(each.to(device) for each in (torch.tensor(matrices), pixels, pixels.argsort(1))))


Matrix = tuple[tuple[int, int], tuple[int, int]]


def _matrices(canvas: Canvas) -> list[Matrix]:
    """Those that take the grid to itself: no reflection along a lone row or column, which lies at −1."""
    sizes = (canvas.width, canvas.height) if canvas.axes == "xy" else (canvas.height, canvas.width)
    signs = [(1, -1) if size > 1 else (1,) for size in sizes]
    found: list[Matrix] = [((a, 0), (0, b)) for a, b in product(*signs)]
    return found + [((0, a), (b, 0)) for a, b in product(*signs)] if sizes[0] == sizes[1] else found


def _pixels(canvas: Canvas, matrix: Matrix) -> Int[Tensor, " points"]:
    """The number of the pixel at A x, for every pixel x."""
    grid = torch.arange(canvas.height * canvas.width).view(canvas.height, canvas.width)
    by_coordinate = grid.T if canvas.axes == "xy" else grid  # [first coordinate, second coordinate]
    (a, b), (c, d) = matrix
    flipped = by_coordinate.flip([axis for axis, sign in enumerate((a + b, c + d)) if sign < 0])
    moved = flipped if a else flipped.T
    return (moved.T if canvas.axes == "xy" else moved).flatten()
