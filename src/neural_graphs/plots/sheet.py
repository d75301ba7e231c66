"""Images and, beside each, what the network fitted to it draws."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neural_graphs.plots.style import INK, SOFT


def contact_sheet(
    images: NDArray[np.floating],
    renders: NDArray[np.floating],
    captions: Sequence[str] = (),
    *,
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Images and, beside each, what the network fitted to it draws.

    `images` and `renders` are (n, height, width) or (n, height, width, 3) in [0, 1]; `captions` stand below.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.75 * columns, (1.13 if captions else 0.95) * rows + (0.5 if title else 0.1)))
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - 0.5 / figure.get_figheight() if title else 1,
                           wspace=0.08, hspace=0.32 if captions else 0.1)  # fmt: skip
    for axes in grid.flat:
        axes.axis("off")
    gap = np.ones((*images.shape[1:2], max(1, images.shape[2] // 14), *images.shape[3:]))
    for place, axes in zip(range(len(images)), grid.flat, strict=False):
        pair = np.concatenate((images[place], gap, renders[place].clip(0, 1)), 1)
        axes.imshow(pair, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if captions:
            axes.set_title(captions[place], y=-0.3, fontsize=8, color=SOFT)
    if title:
        figure.suptitle(title, x=0, ha="left", y=1 - 0.12 / figure.get_figheight(), va="top", color=INK, fontsize=11)
    return figure
