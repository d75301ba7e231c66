"""Curves of several optimizers with bands over seeds, a row of charts per setting."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from neural_graphs.plots.charts import QUANTITIES
from neural_graphs.plots.style import BLUE, GREY, INK, LIGHT_BLUE, RED, SOFT, plain

COLOURS = (BLUE, RED, SOFT, LIGHT_BLUE, GREY, INK)


def curves_with_bands(settings: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Training loss and test accuracy over steps, mean ± deviation over seeds, the first optimizer on top.

    By setting and name of the optimizer, `curves` hold `loss` and `accuracy`, each with `step`, `mean` and `std`.
    """
    figure = Figure(figsize=(9, 2.9 * len(settings)), layout="constrained")
    for row, (setting, found) in zip(figure.subplots(len(settings), 2, squeeze=False), settings.items(), strict=True):
        for axes, quantity, factor in zip(row, ("loss", "accuracy"), (1, 100), strict=True):
            for place, (name, each) in reversed(list(enumerate(found.items()))):
                curve = {key: np.asarray(values, dtype=float) for key, values in each["curves"][quantity].items()}
                mean, std, colour = factor * curve["mean"], factor * curve["std"], COLOURS[place % len(COLOURS)]
                axes.fill_between(curve["step"], mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
                axes.plot(curve["step"], mean, color=colour, linewidth=2, label=name)
            plain(axes)
            axes.set(xlabel="step")
            axes.set_title(f"{setting}: {QUANTITIES[quantity]}", loc="left", color=INK, fontsize=10)
    handles, names = (each[::-1] for each in row[0].get_legend_handles_labels())
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), frameon=False, fontsize=9)
    return figure
