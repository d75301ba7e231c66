"""The graph is exactly as symmetric as the function: its automorphisms are the relabellings that leave the function be.

More of them, and a metanetwork could not tell networks apart that do different things; fewer is impossible, since every
symmetry acts on the graph.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import islice
from math import factorial, prod

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networkx.algorithms.isomorphism import DiGraphMatcher
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.layout import Layout


def structure(layout: Layout) -> nx.DiGraph:
    """Neurons and weights, labelled by what they are and not by their numbers; fixed neurons by their places too."""
    graph = nx.DiGraph()
    for group, place in zip(layout.groups, layout.neuron_slices, strict=True):
        atoms = group.axis.atoms()
        table = np.indices([atom.size for atom in atoms]).reshape(len(atoms), -1).T
        index = table[:, [i for i, atom in enumerate(atoms) if not atom.free]]
        for neuron, fixed in zip(range(place.start, place.stop), index, strict=True):
            graph.add_node(neuron, label=(group.name, *fixed.tolist()))
    labels = defaultdict(list)
    sources, targets = layout.ends
    for source, target, block in zip(sources, targets, layout.weight_block, strict=True):
        labels[source, target].append(int(block))
    graph.add_edges_from((source, target, {"label": tuple(each)}) for (source, target), each in labels.items())
    return graph


def automorphisms(layout: Layout, most: int | None = None) -> int:
    """How many relabellings of neurons leave the structure as it is, counted up to `most`."""
    graph = structure(layout)
    matcher = DiGraphMatcher(graph, graph, lambda a, b: a["label"] == b["label"], lambda a, b: a["label"] == b["label"])
    return sum(1 for _ in islice(matcher.isomorphisms_iter(), most))


def relabellings(layout: Layout) -> int:
    """How many elements the symmetry group has: an atom has an order at every place of those it is nested in."""
    sizes = {atom.name: atom.size for group in layout.groups for atom in group.axis.atoms()}
    return prod(
        factorial(atom.size) ** prod(sizes[outer] for outer in atom.within) for atom in layout.free_atoms
    )  # fmt: skip


class Attention(nn.Module):
    """Two heads of two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.qkv, self.out, self.leave = (nn.Linear(*s) for s in ((1, 2), (2, 12), (4, 2), (2, 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return self.leave(x)


class Gated(nn.Module):
    """A recurrent layer: the state that is read is the state that is written, one step later."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.core, self.leave = kind(2, 2, batch_first=True), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.core(x)[0])


class Grouped(nn.Module):
    """Channels in two groups of two, read by a convolution that keeps them apart, with a skip and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.within = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm, self.squeeze, self.leave = nn.BatchNorm2d(4), nn.Linear(4, 2), nn.Linear(4, 2)
        self.excite = nn.Linear(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x).relu()
        x = x + self.norm(self.within(x))
        gate = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return self.leave((x * gate[:, :, None, None]).mean((2, 3)))


class Dense(nn.Module):
    """What two layers make is read together."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.leave = nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        return self.leave(torch.cat([first, self.second(first).tanh()], -1))


CASES = {
    "attention": (Attention, (1, 3, 1)),
    "LSTM": (lambda: Gated(nn.LSTM), (1, 3, 2)),
    "GRU": (lambda: Gated(nn.GRU), (1, 3, 2)),
    "grouped convolution": (Grouped, (1, 2, 4, 4)),
    "concatenation": (Dense, (1, 2)),
    "transformer layer": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.TransformerEncoderLayer(2, 1, 2, batch_first=True), nn.Linear(2, 2)),
        (1, 3, 2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_as_symmetric_as_the_function(name: str) -> None:
    build, shape = CASES[name]
    layout = ng.trace(build().double().eval(), torch.rand(shape, dtype=torch.float64))
    expected = relabellings(layout)
    assert expected > 1
    assert automorphisms(layout) == expected


def test_without_head_neurons_it_would_be_more_symmetric() -> None:
    """The tester tested: dimensions of different heads could change places if nothing held a head together."""
    layout = ng.trace(Attention().double().eval(), torch.rand(1, 3, 1, dtype=torch.float64))
    heads = {place for place, group in enumerate(layout.groups) if group.kind == "product" and group.size == 2}
    blocks = tuple(b for b in layout.blocks if b.source not in heads and b.target not in heads)
    assert len(blocks) == len(layout.blocks) - 2
    expected = relabellings(layout)
    assert automorphisms(replace(layout, blocks=blocks), expected + 1) > expected
