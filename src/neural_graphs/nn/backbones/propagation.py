"""Propagation: residual rounds in which features of neurons run through the weights, forwards and backwards (ours).

A message is the product of what an edge holds and what the neuron at its other end holds, head by head. So a round is a
few products of matrices, no feature of a neuron is copied to its edges, and the sum over a dense layer costs as much as
running that layer on as many inputs as neurons have features. Every weight is one edge, which is used both ways.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.graph import NeuralGraph
from neural_graphs.graph.index import fan_out
from neural_graphs.nn.backbones.base import Backbone
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.run.memory import EdgeMemory
from neural_graphs.nn.spec import require_size


class SineSiLU(nn.Module):
    """Sine for the first half of the features, SiLU for the rest: waves for what sines compute, gates for the rest."""

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Element by element."""
        waves, rest = x.chunk(2, -1)
        return torch.cat([waves.sin(), F.silu(rest)], -1)


class PropagationRound(nn.Module):
    """`x + W₂ φ(W₁ [h; Σ g ⊙ F h; Σ g′ ⊙ B h] + V mean(h))`, h the normed nodes, `[g; g′]` the edges.

    The first sum is over the weights into a neuron, the second over those that leave it (`back`), each divided by the
    root of their number; the mean over all neurons of the network reaches each in one round, however deep it is. While
    training, a network goes without the round with probability `skipped` (stochastic depth; Huang et al. 2016).
    """

    def __init__(self, width: int, dropout: float, back: bool, skipped: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.forwards, self.backwards = nn.Linear(width, width), nn.Linear(width, width) if back else None
        self.combine, self.network = nn.Linear((3 if back else 2) * width, width), nn.Linear(width, width, bias=False)
        self.activation, self.dropout, self.out = SineSiLU(), Dropout(dropout), nn.Linear(width, width)
        self.skip = Dropout(skipped)

    def nodes(self, graph: NeuralGraph) -> Float[Tensor, "*batch neurons width"]:
        """New node features."""
        topology, normed = graph.topology, self.norm(graph.nodes)
        into, out_of = graph.edges.chunk(2, -1)
        found = [normed, topology.propagate(self.forwards(normed), into) * root(topology.in_degree, normed)]
        if self.backwards is not None:
            told = topology.propagate(self.backwards(normed), out_of, "source")
            found.append(told * root(topology.neuron_index(fan_out)[:, None], normed))
        mean = topology.mean(normed)
        hidden = self.activation(self.combine(torch.cat(found, -1)) + topology.repeat(self.network(mean)))
        change = self.out(self.dropout(hidden))
        if self.training and self.skip.rate:
            change = change * topology.repeat(self.skip(torch.ones_like(mean[..., :1])))
        return graph.nodes + change

    def edges(self, graph: NeuralGraph) -> None:
        """Edges stay: what two neurons have to do with each other is in their weight."""


def root(count: Tensor, like: Tensor) -> Tensor:
    """One over the root of a count, at least one, `(neurons, 1)`."""
    return count.clamp(min=1).to(like.dtype).rsqrt()


class Propagation(Backbone):
    """`depth` rounds over nodes, `width` wide, and edges, `2 · heads` wide.

    The last round is skipped at the rate `skipped` while training, those before it at rates that grow evenly up to it.
    `outputs_only` as for `Backbone`; the last round is then without the sums over weights that leave a neuron. Raises
    ConfigError for a width that heads do not divide, or an odd one, and for less than one round.
    """

    def __init__(
        self, width: int, depth: int = 4, heads: int = 8, dropout: float = 0.0, outputs_only: bool = False,
        skipped: float = 0.0,
    ):  # fmt: skip
        require_size(width, depth)
        if heads < 1 or width % heads or width % 2:
            raise ConfigError(f"a width of {width} is not a multiple of {heads} heads and of 2")
        super().__init__(EdgeMemory(state=2 * heads, largest=2 * heads, work=width, layers=depth), outputs_only)
        self.rounds = nn.ModuleList(
            PropagationRound(width, dropout, not outputs_only or place < depth, skipped * place / depth)
            for place in range(1, depth + 1)
        )
        self.norm = nn.LayerNorm(width)

    def stack(self) -> list[PropagationRound]:
        """The rounds."""
        return list(self.rounds)

    def forward(self, graph: NeuralGraph) -> NeuralGraph:
        """Run the rounds, and norm what they found."""
        found = super().forward(graph)
        return NeuralGraph(self.norm(found.nodes), found.edges, found.topology)
