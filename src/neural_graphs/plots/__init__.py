"""Pictures of zoos, runs and networks. Every function returns a matplotlib `Figure`; `save` writes it.

Nothing here touches matplotlib's global state.
"""

from matplotlib.figure import Figure

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.layout.describe import is_chain
from neural_graphs.networks import Networks
from neural_graphs.plots.charts import barrier_curve, bars, confusion_matrix, training_curve
from neural_graphs.plots.gallery import gallery
from neural_graphs.plots.layout import layout_graph
from neural_graphs.plots.network import network_graph
from neural_graphs.plots.scatter import scatter
from neural_graphs.plots.sheet import contact_sheet
from neural_graphs.plots.style import save

__all__ = [
    "barrier_curve",
    "bars",
    "confusion_matrix",
    "contact_sheet",
    "gallery",
    "layout_graph",
    "network_graph",
    "plot",
    "save",
    "scatter",
    "training_curve",
]

LONGEST = 8  # groups of a chain that is drawn neuron by neuron


def plot(what: Layout | Networks, *, title: str = "") -> Figure:
    """A picture of an architecture, or of one network.

    A network that is a short chain is drawn neuron by neuron with the values of its weights, see `network_graph`; all
    else group by group, see `layout_graph`. Raises LayoutError for networks of several layouts.

    Examples:
        >>> import neural_graphs as ng
        >>> figure = ng.plot(ng.Layout.cnn((1, 8, 8), (3, 3), 10), title="a small CNN")
        >>> len(figure.axes)
        1
    """
    if isinstance(what, Layout):
        return layout_graph(what, title=title)
    layouts = set(what.layouts)
    if len(layouts) != 1:
        raise LayoutError(
            f"a picture shows one architecture, got networks of {len(layouts)}; choose, as in networks[0]"
        )
    layout = layouts.pop()
    if len(what) == 1 and is_chain(layout) and len(layout.groups) <= LONGEST:
        return network_graph(what, title=title)
    return layout_graph(layout, title=title)
