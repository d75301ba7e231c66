"""Metanetworks of linear layers that commute with the symmetries of networks."""

from neural_graphs.layout.equivariant_maps import All, Maps, Neighbours
from neural_graphs.nn.linear.layer import EquivariantLinear
from neural_graphs.nn.linear.models import NFN, UNF, DWSNet, DWSNetEditor, LinearMetanetwork, NFNEditor, UNFEditor
from neural_graphs.nn.linear.readout import GridMax, GridMean, GridPool

__all__ = [
    "NFN",
    "UNF",
    "All",
    "DWSNet",
    "DWSNetEditor",
    "EquivariantLinear",
    "GridMax",
    "GridMean",
    "GridPool",
    "LinearMetanetwork",
    "Maps",
    "NFNEditor",
    "Neighbours",
    "UNFEditor",
]
