"""Backbones: stacks of layers that take a graph to a graph."""
