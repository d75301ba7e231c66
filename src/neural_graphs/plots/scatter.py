"""Predicted against true numbers."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from neural_graphs.plots.style import BLUE, GREY, INK, LIGHT_BLUE, plain


def scatter(
    predicted: Float[np.ndarray, " networks"],
    true: Float[np.ndarray, " networks"],
    *,
    margin: float | None = None,
    title: str = "",
) -> Figure:
    """Accuracies (0 to 1) as points beside the line where both are equal; `margin` is half the width of a band."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    ends = np.array([0.0, 100.0])
    if margin is not None:
        axes.fill_between(
            ends, ends - 100 * margin, ends + 100 * margin, color=LIGHT_BLUE, alpha=0.35, linewidth=0, zorder=0
        )
    axes.plot(ends, ends, color=GREY, linewidth=1, zorder=1)
    opacity = float(np.clip(60 / max(1, len(true)) ** 0.5, 0.15, 0.8)) if len(true) else 1.0
    axes.scatter(100 * true, 100 * predicted, s=12, color=BLUE, alpha=opacity, linewidths=0, zorder=2)
    plain(axes, "both")
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="true accuracy, %", ylabel="predicted accuracy, %", aspect="equal")
    axes.yaxis.label.set_color(axes.xaxis.label.get_color())
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=10)
    return figure
