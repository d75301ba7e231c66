"""NG-GNN: message passing with edge modulation and four statistics (PNA), paper section 3.1."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.graph import NeuralGraph, Topology
from neural_graphs.nn.backbones.base import Backbone
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.run.memory import EdgeMemory
from neural_graphs.nn.spec import require_size


class GraphNorm(nn.Module):
    """LayerNorm over all neurons and channels of one network together: `(x − mean) / (std + 1e-5) · γ + β`.

    The released code takes it over the whole mini-batch; here a prediction never depends on its companions.
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(
        self, nodes: Float[Tensor, "*batch neurons width"], topology: Topology
    ) -> Float[Tensor, "*batch neurons width"]:  # fmt: skip
        """Nodes normed network by network."""
        centred = nodes - topology.repeat(topology.mean(nodes).mean(-1, keepdim=True))
        std = topology.mean(centred * centred).mean(-1, keepdim=True).sqrt()
        return centred / (topology.repeat(std) + 1e-5) * self.weight + self.bias


class Messages(nn.Module):
    """`m = scale(e) ⊙ (W [target; source] + b) + shift(e)`, its statistics, and the new node features.

    The statistics are mean, minimum, maximum and deviation, as they are and times `log(degree + 1) / δ` (PNA: identity
    and amplification scalers; Corso et al. 2020); δ is `log_degree`, the average of `log(degree + 1)` when training.
    For None there is no amplification: features do not grow with the degree.
    """

    log_degree: Tensor | None

    def __init__(self, width: int, log_degree: float | None):
        super().__init__()
        self.modulation = nn.Linear(width, 2 * width)
        self.target, self.source = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.combine, self.update = nn.Linear((5 if log_degree is None else 9) * width, width), nn.Linear(width, width)
        self.register_buffer("log_degree", None if log_degree is None else torch.tensor(float(log_degree)))

    def forward(self, graph: NeuralGraph) -> Float[Tensor, "*batch neurons width"]:
        """New node features."""
        scale, shift = self.modulation(graph.edges).chunk(2, -1)
        pairs = graph.topology.gather_add(self.source(graph.nodes), self.target(graph.nodes))
        found = graph.topology.statistics(scale * pairs + shift)
        parts = [graph.nodes, found]
        if self.log_degree is not None:
            parts.append(found * ((graph.topology.in_degree + 1).log().to(found.dtype) / self.log_degree))
        return self.update(self.combine(torch.cat(parts, -1)))


class EdgeUpdate(nn.Module):
    """`e ← W₂ SiLU(W₁ e + W_s source + W_t target)`, no residual."""

    def __init__(self, width: int):
        super().__init__()
        self.edge, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.source, self.target = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, graph: NeuralGraph) -> Float[Tensor, "*batch edges width"]:
        """New edge features."""
        ends = graph.topology.gather_add(self.source(graph.nodes), self.target(graph.nodes))
        return self.out(F.silu(self.edge(graph.edges) + ends))


@dataclass(frozen=True)
class Round:
    """Messages, then norm, SiLU and dropout, then new edges; the last round has no norm."""

    messages: Messages
    norm: GraphNorm | None = None
    edge_update: EdgeUpdate | None = None
    dropout: Dropout | None = None

    def nodes(self, graph: NeuralGraph) -> Float[Tensor, "*batch neurons width"]:
        """New node features."""
        found: Tensor = self.messages(graph)
        if self.norm is None or self.dropout is None:
            return found
        return self.dropout(F.silu(self.norm(found, graph.topology)))

    def edges(self, graph: NeuralGraph) -> Float[Tensor, "*batch edges width"] | None:
        """New edge features; None where they stay."""
        return None if self.edge_update is None else self.edge_update(graph)


class MessagePassing(Backbone):
    """The NG-GNN backbone: `depth` rounds of messages, and edge updates between them.

    `log_degree` is δ, see `InputSpec` and `Messages`; `dropout` follows the norm between rounds; `outputs_only` as for
    `Backbone`. Neurons are updated `depth` times, edges `depth − 1` times, or as often with `update_edges` (a readout
    that looks at edges alone). Raises ConfigError for less than one channel or round.
    """

    def __init__(
        self, width: int, depth: int = 4, log_degree: float | None = 1.0, dropout: float = 0.0,
        outputs_only: bool = False, update_edges: bool = False,
    ):  # fmt: skip
        require_size(width, depth)
        updates = depth if update_edges else depth - 1
        memory = EdgeMemory(state=width, largest=2 * width, work=5 * width, layers=updates)
        super().__init__(memory, outputs_only, update_edges)
        self.messages = nn.ModuleList(Messages(width, log_degree) for _ in range(depth))
        self.norms = nn.ModuleList(GraphNorm(width) for _ in range(depth - 1))
        self.edge_updates = nn.ModuleList(EdgeUpdate(width) for _ in range(updates))
        self.dropout = Dropout(dropout)

    def stack(self) -> list[Round]:
        """The rounds."""
        *before, last = self.messages
        *updates, final = [*self.edge_updates, None][: len(self.messages)]
        parts = zip(before, self.norms, updates, strict=True)
        return [*(Round(*each, self.dropout) for each in parts), Round(last, edge_update=final)]
