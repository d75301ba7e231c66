"""Metanetworks of layers between grids, linear or of attention, that commute with the symmetries of networks."""

from neural_graphs.layout.equivariant_maps import All, Maps, Neighbours
from neural_graphs.nn.linear.layer import EquivariantLinear
from neural_graphs.nn.linear.metanetwork import GridMetanetwork, LinearMetanetwork
from neural_graphs.nn.linear.models import (
    NFN,
    NFT,
    UNF,
    DWSNet,
    DWSNetEditor,
    NFNEditor,
    NFTEditor,
    UNFEditor,
)
from neural_graphs.nn.linear.readout import GridMax, GridMean, GridPool

__all__ = [
    "NFN",
    "NFT",
    "UNF",
    "All",
    "DWSNet",
    "DWSNetEditor",
    "EquivariantLinear",
    "GridMax",
    "GridMean",
    "GridMetanetwork",
    "GridPool",
    "LinearMetanetwork",
    "Maps",
    "NFNEditor",
    "NFTEditor",
    "Neighbours",
    "UNFEditor",
]
