"""Sums, statistics and attention over the edges of a graph, with gradients of their own."""
