"""What edits do to pictures: before, after, what was wanted, and where they differ."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neural_graphs.plots.style import INK, SIGNED, SOFT

SIDE = 0.95  # inches of a picture


def gallery(pictures: Mapping[str, NDArray[np.floating]], *, title: str = "", difference: bool = True) -> Figure:
    """Named rows of pictures, a column per network: (n, height, width) or (n, height, width, 3) in [0, 1].

    With `difference` a further row shows the last row minus the one before it: blue where the last is brighter, red
    where it is darker, full colour at a difference of 1.
    """
    rows = {name: np.asarray(row).clip(0, 1) for name, row in pictures.items()}
    count = len(next(iter(rows.values())))
    height = len(rows) + difference
    head = 0.35 if title else 0.05
    figure = Figure(figsize=(SIDE * count + 0.95, SIDE * height + head))
    grid = figure.subplots(height, count, squeeze=False)
    left, top = 0.95 / figure.get_figwidth(), 1 - head / figure.get_figheight()
    figure.subplots_adjust(left=left, right=1, bottom=0, top=top, wspace=0.06, hspace=0.06)
    for axes in grid.flat:
        axes.axis("off")
    for line, row in zip(grid, rows.values(), strict=False):
        for axes, picture in zip(line, row, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    names = list(rows)
    if difference:
        names.append(f"{names[-1]}\n− {names[-2]}")
        wanted, edited = list(rows.values())[-2:]
        change = (edited - wanted).mean(-1) if wanted.ndim == 4 else edited - wanted
        for axes, picture in zip(grid[-1], change, strict=True):
            axes.imshow(picture, cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest")
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.text(-0.08, 0.5, name, transform=axes.transAxes, ha="right", va="center", fontsize=9, color=SOFT)
    if title:
        figure.suptitle(title, x=0.01, ha="left", y=1 - 0.08 / figure.get_figheight(), va="top", color=INK, fontsize=11)
    return figure
