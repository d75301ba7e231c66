"""Pictures of a page: tiles, edits under a slider, and a sheet of tiles that can be filtered."""

import base64
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from neural_graphs.plots.page.blocks import Block

SIDE = 64  # pixels of a picture in a tile at most
COLOURS = 128  # of a large picture, which makes it four times smaller
ROOM = 2_000_000  # bytes for the pictures of a page


@dataclass(frozen=True)
class Picture:
    """A PNG inside the page, and what it shows in words."""

    source: str  # data:…
    alt: str
    width: int
    height: int

    @classmethod
    def of(cls, pixels: NDArray[np.floating], alt: str) -> "Picture":
        """Of pixels in [0, 1], (height, width) or (height, width, 1 or 3); large ones are made smaller."""
        shown = (255 * np.nan_to_num(pixels).clip(0, 1)).round().astype(np.uint8)
        picture = Image.fromarray(shown[..., 0] if shown.ndim == 3 and shown.shape[2] == 1 else shown)
        picture.thumbnail((2 * SIDE, SIDE))  # a pair lies side by side
        return cls(_png(picture), alt, *picture.size)

    @classmethod
    def side_by_side(cls, left: NDArray[np.floating], right: NDArray[np.floating], alt: str) -> "Picture":
        """Of two pictures of one size, with a gap between them."""
        gap = np.full((*left.shape[:1], max(1, left.shape[1] // 14), *left.shape[2:]), 0.5)
        return cls.of(np.concatenate((left, gap, right), 1), alt)

    @classmethod
    def drawn(cls, figure: Figure, alt: str) -> "Picture":
        """Of a figure of matplotlib, on white."""
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=110, bbox_inches="tight", facecolor="white")
        few = Image.open(data).convert("RGB").quantize(COLOURS)
        return cls(_png(few), alt, *few.size)


def _png(picture: Image.Image) -> str:
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


@dataclass(frozen=True)
class Tile:
    """A picture with lines of text below it; a `bad` one stands out. Filters ask for its `facts`."""

    picture: Picture
    lines: Sequence[str]
    facts: Mapping[str, Any]
    bad: bool = False


def fitting(tiles: Iterable[Tile], room: int = ROOM) -> Iterator[Tile]:
    """The first tiles whose pictures fit into so many bytes together."""
    for tile in tiles:
        room -= len(tile.picture.source)
        if room < 0:
            return
        yield tile


@dataclass(frozen=True)
class Tiles(Block):
    """Pictures in rows."""

    template: ClassVar[str] = "tiles.html"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Drawing(Block):
    """One large picture."""

    template: ClassVar[str] = "drawing.html"
    picture: Picture


@dataclass(frozen=True)
class Comparison:
    """A network before and after an edit, and what was wanted."""

    before: Picture
    after: Picture
    target: Picture
    lines: Sequence[str]


@dataclass(frozen=True)
class Comparisons(Block):
    """Edits under one slider, which uncovers what each network draws after its edit."""

    template: ClassVar[str] = "comparisons.html"
    edits: Sequence[Comparison]


@dataclass(frozen=True)
class Facet:
    """A column of which one value is chosen."""

    name: str
    values: Sequence[str]


@dataclass(frozen=True)
class Slider:
    """A column of numbers that have to reach what a slider says; those without a number fall short of everything."""

    name: str
    title: str
    low: float
    high: float
    step: float

    @classmethod
    def over(cls, name: str, title: str, numbers: NDArray[np.floating]) -> "Slider":
        """From below the least number to the largest, in about a hundred round steps."""
        known = numbers[np.isfinite(numbers)]
        low, high = float(known.min()), float(known.max())
        digits = 2 - math.floor(math.log10(high - low)) if high > low else 2
        step = 10.0**-digits
        return cls(name, title, round(math.floor(low / step) * step, digits), round(high, digits), step)


@dataclass(frozen=True)
class Sheet(Block):
    """Tiles, and what they are filtered by."""

    template: ClassVar[str] = "sheet.html"
    tiles: Sequence[Tile]
    facets: Sequence[Facet]
    sliders: Sequence[Slider]
