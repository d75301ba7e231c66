"""ScaleGMN: layers that respect signs and positive scales of neurons (Kalogeropoulos et al. 2024, *Scale Equivariant
Graph Metanetworks*).

Where neuron i is multiplied by q_i, its features x_i are, and those of the weight from j to i by q_i / q_j. Products
`x_j ⊙ e_ij` then carry q_i, and `Γ v ⊙ inv(v)` carries what v does, Γ a matrix without bias and inv(v) unchanged by q.
Beside x_i every neuron has features u_i that no factor changes: its position, its activation, and what is learned.
"""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neural_graphs.graph import NeuralGraph, Topology
from neural_graphs.graph.constants import constant
from neural_graphs.layout import Layout
from neural_graphs.layout.permissions import SCALES, SIGNS, factor_index
from neural_graphs.layout.recorded import Recorded
from neural_graphs.nn.backbones.base import Backbone, Needs
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.run.memory import EdgeMemory
from neural_graphs.nn.spec import require_size

SMALL = 1e-6  # added to squares of what carries no scale, so that nothing jumps at zero


class Factors(Recorded):
    """Which factors of neurons are to make no difference: `Signs`, `Scales`, or `SignsAndScales`."""

    signs: ClassVar[bool]
    scales: ClassVar[bool]

    def flipped(self, layout: Layout) -> np.ndarray:
        """1 for neurons that may change sign, 0 for others, `(neurons,)`."""
        return self.signs * carriers(layout)[0]

    def scaled(self, layout: Layout) -> np.ndarray:
        """1 for neurons that may be scaled, 0 for others, `(neurons,)`."""
        return self.scales * carriers(layout)[1]

    def absolute(self, topology: Topology, like: Tensor) -> Float[Tensor, "*batch neurons 1"]:
        """1 for neurons that may not be scaled, 0 for others; as many, and as precise, as the `like`."""
        return (1 - topology.neuron_index(self.scaled)).to(like.dtype)[:, None].expand_as(like)

    def turnable(self, layout: Layout) -> np.ndarray:
        """1 for weights between neurons of which none may be scaled, 0 for others, `(weights,)`.

        Those are multiplied alike in both directions; of others the inverse would be, which has no bound.
        """
        return 1 - self.scales * carriers(layout)[2]


@constant()
def carriers(layout: Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1 for what may have a factor and 0 for others: neurons with a sign, neurons with a scale, weights at these."""
    signs, scales = ((factor_index(layout, rule) >= 0).astype(np.int64) for rule in (SIGNS, SCALES))
    source, target = (scales[end] for end in layout.ends)
    return signs, scales, np.maximum(source, target)


class Signs(Factors):
    """Neurons of odd activations (sine, tanh, none) may change sign."""

    signs, scales = True, False


class Scales(Factors):
    """Neurons of positively homogeneous activations (ReLU, leaky ReLU, none) may be scaled."""

    signs, scales = False, True


class SignsAndScales(Factors):
    """Both, each where the activation permits it."""

    signs, scales = True, True


class Invariant(nn.Module):
    """inv(v): a non-linear function of vectors that does not change with the factor that each of them carries.

    `φ(z) + φ(−z)` of `z = W v / |v|` plus a bias for signs, `φ(z)` for scales, φ = SiLU. Where no scale is carried
    `log |v|²` is read as well, if `sized`.
    """

    def __init__(self, factors: Factors, width: int, sized: bool = True):
        super().__init__()
        self.signs = factors.signs
        self.bias = nn.Parameter(torch.zeros(width))
        self.size = nn.Parameter(torch.zeros(width)) if sized else None

    def forward(
        self, product: Float[Tensor, "*batch width"], square: Float[Tensor, "*batch 1"],
        absolute: Float[Tensor, "*#batch 1"] | float, known: Float[Tensor, "*#batch width"] | float = 0.0,
        flipped: Bool[Tensor, "*#batch 1"] | None = None,
    ) -> Float[Tensor, "*batch width"]:  # fmt: skip
        """Of `W v`, `|v|²`, and what else is `known` that no factor changes.

        `absolute` is 1 where v carries no scale and 0 where it does; `flipped` (default: all) tells where it may carry
        a sign.
        """
        square = square + SMALL * absolute
        square = torch.where(square > 0, square, 1.0)
        z, offset = product * square.rsqrt(), self.bias + known
        if self.size is not None:
            offset = offset + self.size * absolute * square.log()
        if not self.signs:
            return F.silu(z + offset)
        return F.silu(z + offset) + F.silu((-z if flipped is None else torch.where(flipped, -z, z)) + offset)


def matrix(width: int) -> nn.Linear:
    """Γ: without a bias, so that what goes through it keeps its factor."""
    return nn.Linear(width, width, bias=False)


def square(vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch 1"]:
    """`|v|²`: the mean of squares, so that numbers of `v / |v|` are about one, however many there are."""
    return vectors.square().mean(-1, keepdim=True)


class Messages(nn.Module):
    """Along every edge from j to i `eq([x_i; p])` of the product `p = Γ x_j ⊙ Γ e_ij`, and the sums over j.

    Backwards along a weight a product that carries q_j would hold 1 / e_ij, which has no bound. There the message is
    `Γ x_j ⊙ inv(…)`, of the product that came forwards along the same weight (ours; with `back`).
    """

    def __init__(self, factors: Factors, width: int, back: bool):
        super().__init__()
        self.source, self.edge = matrix(width), matrix(width)
        self.read_target, self.read_product = matrix(width), matrix(width)
        self.factors, self.invariant = factors, Invariant(factors, width)
        self.known = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.mix, self.back = nn.Linear(width, width), matrix(width) if back else None
        self.keep_target, self.keep_product = matrix(width), matrix(width)
        self.gate = nn.Linear(width, width)

    def forward(self, graph: NeuralGraph) -> tuple[Tensor, Tensor]:
        """What every neuron hears, `(*batch, neurons, width)` twice: with the neuron's factor, and without any."""
        topology, (x, u) = graph.topology, graph.nodes.chunk(2, -1)
        sent, read, size = self.source(x), self.read_target(x), square(x)
        seen = torch.cat([read, size, self.factors.absolute(topology, size)], -1)
        from_source, from_target = (linear(u) for linear in self.known)
        nothing, unseen = torch.zeros_like(u), torch.zeros_like(seen)
        ends = topology.gather_add(
            torch.cat([sent, from_source, nothing, unseen], -1),
            torch.cat([nothing, from_target, self.keep_target(x), seen], -1),
        )
        sent_here, known, kept, seen_here = ends.split([u.shape[-1]] * 3 + [seen.shape[-1]], -1)
        product = sent_here * self.edge(graph.edges)
        mixed = known + self.mix(self._features(product, seen_here))
        if self.back is not None:
            ends = topology.gather_add(torch.cat([nothing, seen], -1), torch.cat([sent, unseen], -1))
            sent_back, seen_there = ends.split([u.shape[-1], seen.shape[-1]], -1)
            mixed = mixed + self.back(self._features(sent_back * graph.reverse(self.edge), seen_there))
        features = F.silu(mixed)
        message = (kept + self.keep_product(product)) * self.gate(features)
        degree = topology.in_degree.clamp(min=1).to(message.dtype)
        heard, told = topology.sum(torch.cat([message, features], -1)).chunk(2, -1)
        return heard / degree.sqrt(), told / degree

    def _features(self, product: Tensor, seen: Tensor) -> Tensor:
        """inv([x; p]) of a product and of what it meets: `W x`, `|x|²`, and whether x carries no scale."""
        read, size, absolute = seen.split([product.shape[-1], 1, 1], -1)
        return self.invariant(read + self.read_product(product), size + square(product), absolute)


class EdgeGate(nn.Module):
    """`e ⊙ inv(x_i, x_j, e)`: features of edges, which keep their factor."""

    def __init__(self, factors: Factors, width: int):
        super().__init__()
        self.read = matrix(width)
        self.absolute = 0.0 if factors.scales else 1.0  # that some edges carry no scale does not matter here
        self.invariant = Invariant(factors, width, sized=not factors.scales)
        self.known = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.mix, self.gate = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, graph: NeuralGraph) -> Float[Tensor, "*batch edges width"]:
        """What x_i and x_j have to say comes with u_i and u_j."""
        u = graph.nodes.chunk(2, -1)[1]
        found = self.invariant(self.read(graph.edges), square(graph.edges), self.absolute)
        known = graph.topology.gather_add(*(linear(u) for linear in self.known))
        return graph.edges * self.gate(F.silu(self.mix(found) + known))


class Movement(nn.Module):
    """`x + eq([x; Σ m])` and `e + Γ (e ⊙ inv(…))`: new features that carry what the old ones do."""

    def __init__(self, factors: Factors, width: int):
        super().__init__()
        self.own, self.heard, self.gate = matrix(width), matrix(width), nn.Linear(width, width)
        self.edge_gate, self.edge = EdgeGate(factors, width), matrix(width)

    def nodes(self, x: Tensor, heard: Tensor, features: Tensor) -> Tensor:
        """New x, `(*batch, neurons, width)`; `features` are inv([x; Σ m])."""
        return x + (self.own(x) + self.heard(heard)) * self.gate(features)

    def edges(self, graph: NeuralGraph) -> Tensor:
        """New edges, `(*batch, edges, width)`."""
        return graph.edges + self.edge(self.edge_gate(graph))


class ScaleRound(nn.Module):
    """Messages, new neurons `[x, LN(u + inv([x; Σ m]))]`, and, with `moving`, new x and edges too."""

    def __init__(self, factors: Factors, width: int, back: bool, moving: bool, dropout: float):
        super().__init__()
        self.messages, self.dropout = Messages(factors, width, back), Dropout(dropout)
        self.read_own, self.read_heard = matrix(width), matrix(width)
        self.factors, self.invariant = factors, Invariant(factors, width)
        self.known, self.told = nn.Linear(width, width), matrix(width)
        self.out, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.movement = Movement(factors, width) if moving else None

    def nodes(self, graph: NeuralGraph) -> Tensor:
        """New features of neurons, `(*batch, neurons, 2 · width)`: x, then u."""
        x, u = graph.nodes.chunk(2, -1)
        heard, told = self.messages(graph)
        read, known = self.read_own(x) + self.read_heard(heard), self.known(u) + self.told(told)
        size, flipped = square(x) + square(heard), graph.topology.neuron_index(self.factors.flipped)[:, None] > 0
        features = self.invariant(read, size, self.factors.absolute(graph.topology, size), known, flipped)
        new = self.norm(u + self.dropout(self.out(features)))
        return torch.cat([x if self.movement is None else self.movement.nodes(x, heard, features), new], -1)

    def edges(self, graph: NeuralGraph) -> Tensor | None:
        """New features of edges, `(*batch, edges, width)`."""
        return None if self.movement is None else self.movement.edges(graph)


class ScaleEquivariant(Backbone):
    """The ScaleGMN backbone: `depth` rounds over neurons `[x, u]`, `2 · width` wide, and edges, `width` wide.

    `both_ways` needs a wiring with reversed edges; those whose weights cannot be turned carry zeros. The last round
    hears forwards only, and changes x and edges only with `update_edges` (a readout of weights); `outputs_only` as for
    `Backbone`. Raises ConfigError for less than one channel or round.
    """

    def __init__(
        self, factors: Factors, width: int, depth: int = 4, both_ways: bool = True, dropout: float = 0.0, *,
        update_edges: bool = False, outputs_only: bool = False,
    ):  # fmt: skip
        require_size(width, depth)
        work = (13 if both_ways else 9) * width
        memory = EdgeMemory(state=width, largest=4 * width + 2, work=work, layers=depth)
        super().__init__(memory, outputs_only, update_edges)
        self.needs = Needs(reverse_edges=both_ways)
        self.rounds = nn.ModuleList(
            ScaleRound(factors, width, both_ways and i < depth - 1, update_edges or i < depth - 1, dropout)
            for i in range(depth)
        )

    def stack(self) -> list[ScaleRound]:
        """The rounds."""
        return list(self.rounds)
