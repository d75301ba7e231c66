"""Metanetworks of linear layers that commute with the symmetries of networks."""

from neural_graphs.layout.equivariant_maps import All, Maps, Neighbours
from neural_graphs.nn.linear.layer import EquivariantLinear

__all__ = ["All", "EquivariantLinear", "Maps", "Neighbours"]
