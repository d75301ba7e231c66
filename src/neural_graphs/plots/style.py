"""One palette, little ink, and how a figure is written."""

from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK, SOFT, FAINT, PAPER = "#1f2933", "#7b8794", "#e4e8ec", "#ffffff"
BLUE, LIGHT_BLUE, RED, GREY = "#2f6fb3", "#a9cbe8", "#c8453b", "#b4bdc6"
SIGNED = LinearSegmentedColormap.from_list("signed", [RED, "#f4f2ee", BLUE])  # negative, zero, positive
SHARES = LinearSegmentedColormap.from_list("shares", [PAPER, LIGHT_BLUE, BLUE, "#1d4f86"])


def save(figure: Figure, path: str | Path, dpi: int = 160) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix of `path`; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, facecolor=PAPER, bbox_inches="tight", pad_inches=0.15)
    return path


def plain(axes: Axes, grid: Literal["x", "y", "both"] = "y") -> None:
    """Leave two soft spines and a faint grid along one axis, or both."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.xaxis.label.set_color(SOFT)
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
