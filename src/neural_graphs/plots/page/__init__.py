"""Pages: charts that answer to the mouse, pictures and tables in one HTML file that needs no other."""

from neural_graphs.plots.page.blocks import (
    Block,
    Card,
    Cards,
    Code,
    Matrix,
    Note,
    Section,
    Table,
)
from neural_graphs.plots.page.charts import Curve, Histogram, Histograms, Lines, Panel, Points, bins
from neural_graphs.plots.page.page import Page
from neural_graphs.plots.page.pictures import (
    Comparison,
    Comparisons,
    Drawing,
    Facet,
    Picture,
    Sheet,
    Slider,
    Tile,
    Tiles,
    fitting,
)

__all__ = [
    "Block",
    "Card",
    "Cards",
    "Code",
    "Comparison",
    "Comparisons",
    "Curve",
    "Drawing",
    "Facet",
    "Histogram",
    "Histograms",
    "Lines",
    "Matrix",
    "Note",
    "Page",
    "Panel",
    "Picture",
    "Points",
    "Section",
    "Sheet",
    "Slider",
    "Table",
    "Tile",
    "Tiles",
    "bins",
    "fitting",
]
