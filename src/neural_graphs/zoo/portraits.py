"""A small picture of a network of a zoo, for pages."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from neural_graphs.errors import ZooError
from neural_graphs.plots.kernels import first_kernels
from neural_graphs.plots.page import Picture
from neural_graphs.zoo.store import Zoo

QUALITIES = {"psnr": "PSNR {:.1f} dB", "test_accuracy": "test accuracy {:.1%}"}  # columns, and how they are told
BLANK = np.full((8, 8), 0.5)


def portrait(zoo: Zoo, index: int) -> Picture:
    """The image that an implicit network was fitted to, where it is kept, beside what it draws; of other networks
    their first kernels, and a grey field where the values are not finite."""
    try:
        network = zoo.networks([index])
    except ZooError:
        return Picture.of(BLANK, "values that are not finite")
    if zoo.canvas is None:
        return Picture.of(first_kernels(network), "the kernels of the first layer, blue positive, red negative")
    render = zoo.canvas.render(network)[0]
    if not zoo.has_images:
        return Picture.of(render, "what the network draws")
    image = zoo.image(index).reshape(render.shape) / 255
    return Picture.side_by_side(image, render, "left an image, right what its network draws")


def title(column: str) -> str:
    """A column of a table in words."""
    return {"psnr": "PSNR, dB"}.get(column, column.replace("_", " "))


def caption(row: Mapping[str, Any]) -> list[str]:
    """Lines about a network, from what the table says of it: what it is, and how good."""
    named = [f"{name} {row[name]}" for name in ("label", "epoch") if name in row]
    split = [str(row["split"])] if "split" in row else []
    good = [told.format(row[name]) for name, told in QUALITIES.items() if name in row and known(row[name])]
    return [" · ".join([*named, *split]), *good]


def known(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and bool(np.isfinite(value))
