"""`Topology`: a batch of layouts as index structure; the only place that knows regular batches from mixed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.graph.edges import Wiring
from neural_graphs.layout import Layout
from neural_graphs.layout.forwarding import forwarded
from neural_graphs.layout.strides import End
from neural_graphs.networks import Networks

NeuronTable = Callable[[Layout], np.ndarray]  # one whole number per neuron
WeightTable = Callable[[Layout], np.ndarray]  # one whole number per weight


@dataclass(frozen=True)
class Kernels:
    """The weights of one kernel shape: raw numbers `(*batch, weights, kernel · channels)`, and the group
    each leads to within its network, `(weights,)`."""

    shape: tuple[int, ...]
    values: Tensor
    groups: Tensor


@dataclass(frozen=True)
class EdgeSubset:
    """Some edges of a topology: the topology they form, with all neurons, and their numbers `(edges,)`."""

    topology: Topology
    index: Tensor

    def take(self, edges: Tensor) -> Tensor:
        """The features of these edges, out of those of all."""
        return edges.index_select(-2, self.index)

    def take_reversed(self, edges: Tensor, whole: Topology) -> Tensor:
        """The features of the edges that run the other way round, out of those of all edges of `whole`."""
        return edges.index_select(-2, whole.reverse_index()[self.index])

    def keep_outputs(self, new: Tensor, old: Tensor) -> Tensor:
        """`new` features at output neurons, `old` ones at the others."""
        return torch.where(self.topology.is_output(), new, old)


class Topology(ABC):
    """A batch of layouts under one wiring.

    Feature tensors are `(*batch, neurons, d)` and `(*batch, edges, d)`: a batch axis where all networks share one
    layout (`Regular`), one long axis where they differ (`Ragged`).

    Examples:
        >>> import torch, neural_graphs as ng
        >>> from neural_graphs.graph import Forward
        >>> layout = ng.Layout.mlp((2, 3, 1))
        >>> topology = ng.Topology.of(ng.Networks(torch.zeros(1, layout.size), layout), Forward())
        >>> topology.sum(torch.ones(1, 9, 1)).flatten().tolist()  # how many edges lead into each neuron
        [0.0, 0.0, 2.0, 2.0, 2.0, 3.0]
    """

    wiring: Wiring
    in_degree: Tensor  # (neurons, 1) float64

    @staticmethod
    def of(networks: Networks, wiring: Wiring) -> Topology:
        """The topology of these networks; index structure is cached per layout and device."""
        return forwarded("graph.ragged.topology_of")(networks, wiring)

    @abstractmethod
    def prepare(self) -> None:
        """Make now, in any thread, the index tensors that are else made when first asked for."""

    @abstractmethod
    def kernels(self, networks: Networks) -> list[Kernels]:
        """The raw numbers of all weights by kernel shape."""

    @abstractmethod
    def biases(self, networks: Networks) -> tuple[Tensor, Tensor]:
        """Biases `(*batch, neurons, channels)`, 0 where there is none; and the mask `(neurons, 1)` of those there."""

    @abstractmethod
    def arrange(self, pieces: list[Tensor], loop: Tensor | None, absent: Tensor | None) -> Tensor:
        """Put encoded weights on the edge axis.

        `pieces` holds `(*batch, weights, d)` per kernel shape, copy after copy; `loop` and `absent`, `(d,)`, are the
        features of an edge from a neuron to itself and of a pair without a weight, where the wiring has them.
        """

    @abstractmethod
    def gather_add(self, source: Tensor, target: Tensor) -> Tensor:
        """`source[s] + target[t]` for every edge s → t: `(*batch, neurons, d)` twice to `(*batch, edges, d)`."""

    @abstractmethod
    def statistics(self, messages: Tensor) -> Tensor:
        """Mean, minimum, maximum and deviation of the messages into every neuron, `(*batch, neurons, 4d)`."""

    @abstractmethod
    def sum(self, edges: Tensor, end: End = "target") -> Tensor:
        """The sum over the edges of every neuron, at their targets or (`end="source"`) at their sources."""

    @abstractmethod
    def propagate(self, nodes: Tensor, gates: Tensor, end: End = "target") -> Tensor:
        """The sum over the edges of every neuron of gate ⊙ what the other end holds (u_mul_e_sum), head by head.

        `nodes` `(*batch, neurons, d)`, `gates` `(*batch, edges, heads)`, to `(*batch, neurons, d)`: at their targets,
        or against the edges (`end="source"`) at their sources.
        """

    @abstractmethod
    def edge_products(self, source: Tensor, target: Tensor, heads: int) -> Tensor:
        """For every edge the inner product (u_dot_v), head by head, of what its two ends hold.

        `(*batch, neurons, d)` twice, to `(*batch, edges, heads)`.
        """

    @abstractmethod
    def softmax(self, logits: Tensor) -> Tensor:
        """Normalise `(*batch, edges, heads)` over the edges that leave each neuron."""

    def attend(self, nodes: Tensor, edges: Tensor, weight: Tensor, heads: int, modulate: bool) -> Tensor:
        """Relational attention of every neuron over the edges that leave it, `(*batch, neurons, attention)`.

        `nodes` `(*batch, neurons, 3 · attention)` holds query, key and value of every neuron, `weight`
        `(3 or 4 · attention, d)` makes query, key, value (and gate) of `edges` `(*batch, edges, d)`; each of the parts
        is `attention` wide, head after head. See `RelationalAttention` for the formula.
        """
        q, k, v = nodes.chunk(3, -1)
        width, nothing = q.shape[-1], torch.zeros_like(q)
        q_e, k_e, v_e, *gate = F.linear(edges, weight).split(width, -1)
        product = (self.gather_add(q, nothing) + q_e) * (self.gather_add(nothing, k) + k_e)
        share = self.softmax(product.unflatten(-1, (heads, -1)).sum(-1) * width**-0.5)
        value = self.gather_add(nothing, v) * gate[0] + v_e if modulate else self.gather_add(nothing, v) + v_e
        return self.sum((share[..., None] * value.unflatten(-1, (heads, -1))).flatten(-2), "source")

    @abstractmethod
    def at_outputs(self, end: End) -> EdgeSubset:
        """The edges whose `end` ("source" or "target") is an output neuron."""

    @abstractmethod
    def is_output(self) -> Tensor:
        """Which neurons are outputs, `(neurons, 1)` bool."""

    @abstractmethod
    def reverse_index(self) -> Tensor:
        """The number of the edge that joins the same neurons the other way round, `(edges,)`."""

    @abstractmethod
    def reverse(self, edges: Tensor) -> Tensor:
        """For every edge the features of the edge that joins the same neurons the other way round."""

    @abstractmethod
    def weights(self, edges: Tensor) -> Tensor:
        """The features of the weights in the layouts' order, `(*batch, weights, d)`."""

    @abstractmethod
    def mean(self, nodes: Tensor) -> Tensor:
        """The mean over the neurons of each network, `(networks, d)`."""

    @abstractmethod
    def group_mean(self, nodes: Tensor) -> Tensor:
        """The mean over the neurons of every group, given to each of them: `(*batch, neurons, d)` to the same."""

    @abstractmethod
    def repeat(self, features: Tensor) -> Tensor:
        """Features of networks `(networks, d)`, given to each of their neurons: broadcasts against `nodes`."""

    @abstractmethod
    def outputs(self, nodes: Tensor) -> Tensor:
        """The features of the output neurons, `(networks, outputs, d)`. Raises LayoutError where numbers differ."""

    @abstractmethod
    def neuron_index(self, table: NeuronTable) -> Tensor:
        """A function of the layout with one whole number per neuron, `(neurons,)`."""

    @abstractmethod
    def weight_index(self, table: WeightTable) -> list[Tensor]:
        """A function of the layout with one whole number per weight, `(weights,)`, parted as `kernels` are."""

    @abstractmethod
    def by_kernel(self, weights: Tensor) -> list[Tensor]:
        """Features of weights `(*batch, weights, d)`, parted by kernel shape in the order of `kernels`."""

    @abstractmethod
    def fill(self, like: Networks, kernels: list[Tensor], biases: Tensor, channels: int) -> Networks:
        """Networks with these numbers: the inverse of `kernels` and `biases`. One channel gets no axis of its own."""


def reversed_edges(found: Tensor | None, wiring: Wiring) -> Tensor:
    """The reversed edges of an index. Raises LayoutError where the wiring has none."""
    if found is None:
        raise LayoutError(f"{wiring} has no reversed edges; use Bidirectional, Looped or AllPairs")
    return found
