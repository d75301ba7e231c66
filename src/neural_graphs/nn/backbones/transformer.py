"""NG-T: relational attention, where edges shape queries, keys and values (paper section 3.2; Diao & Loynd 2023)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.graph import NeuralGraph
from neural_graphs.nn.backbones.base import Backbone, Needs
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.run.memory import EdgeMemory
from neural_graphs.nn.spec import require_size


class RelationalAttention(nn.Module):
    """Every neuron r attends to the neurons c that its edges (r, c) lead to.

    Per head `logit = ⟨q_r + q_rc, k_c + k_rc⟩ / √attention` and the message is `v_c ⊙ g_rc + v_rc`, or `v_c + v_rc`
    without `modulate`. `attention` is the width of all heads together, also under the root. Raises ConfigError for one
    that heads do not divide.
    """

    def __init__(self, nodes: int, edges: int, attention: int, heads: int, modulate: bool = True):
        super().__init__()
        if heads < 1 or attention % heads:
            raise ConfigError(f"an attention width of {attention} is no multiple of {heads} heads")
        self.heads, self.modulate = heads, modulate
        self.node = nn.Linear(nodes, 3 * attention, bias=False)  # per head: query, key, value
        self.edge = nn.Linear(edges, (4 if modulate else 3) * attention, bias=False)  # and gate
        self.out = nn.Linear(attention, nodes)

    def forward(self, graph: NeuralGraph) -> Float[Tensor, "*batch neurons nodes"]:
        """What every neuron hears."""
        nodes = F.linear(graph.nodes, self._parts(self.node.weight, 3))
        weight = self._parts(self.edge.weight, 4 if self.modulate else 3)
        return self.out(graph.topology.attend(nodes, graph.edges, weight, self.heads, self.modulate))

    def _parts(self, weight: Tensor, parts: int) -> Tensor:
        """Rows ordered by head and then part, as the released code keeps them, to part and then head."""
        return weight.unflatten(0, (self.heads, parts, -1)).transpose(0, 1).flatten(0, 2)


class RelationalLayer(nn.Module):
    """Attention, node MLP, and, with `edge_update`, new edges from themselves, the reversed ones and their ends."""

    def __init__(
        self, nodes: int, edges: int, attention: int, heads: int, hidden: tuple[int, int], modulate: bool = True,
        dropout: float = 0.0, edge_update: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.dropout = Dropout(dropout)
        self.attention = RelationalAttention(nodes, edges, attention, heads, modulate)
        self.node_in = nn.Linear(nodes, nodes)
        self.node_norms = nn.ModuleList(nn.LayerNorm(nodes) for _ in range(2))
        self.node_mlp = nn.Sequential(nn.Linear(nodes, hidden[0], False), nn.GELU(), nn.Linear(hidden[0], nodes))
        self.edge_update = RelationalEdgeUpdate(nodes, edges, hidden[1], dropout) if edge_update else None

    def nodes(self, graph: NeuralGraph) -> Float[Tensor, "*batch neurons nodes"]:
        """New node features."""
        nodes = self.node_norms[0](graph.nodes + self.dropout(self.node_in(self.attention(graph))))
        return self.node_norms[1](nodes + self.dropout(self.node_mlp(nodes)))

    def edges(self, graph: NeuralGraph) -> Float[Tensor, "*batch edges width"] | None:
        """New edge features; None where they stay."""
        return None if self.edge_update is None else self.edge_update(graph)


class RelationalEdgeUpdate(nn.Module):
    """`e ← LN(e + W GELU(W_e [e; e'] + W_r x_r + W_c x_c))` with e' the reverse of e, then an MLP of its own."""

    def __init__(self, nodes: int, edges: int, hidden: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.own, self.opposite = nn.Linear(edges, hidden), nn.Linear(edges, hidden, bias=False)
        self.source, self.target = nn.Linear(nodes, hidden), nn.Linear(nodes, hidden)
        self.out = nn.Linear(hidden, edges)
        self.norms = nn.ModuleList(nn.LayerNorm(edges) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(edges, hidden, False), nn.GELU(), nn.Linear(hidden, edges))

    def forward(self, graph: NeuralGraph) -> Float[Tensor, "*batch edges width"]:
        """New edge features. Raises LayoutError for a wiring without reversed edges."""
        ends = graph.topology.gather_add(self.source(graph.nodes), self.target(graph.nodes))
        hidden = F.gelu(self.own(graph.edges) + graph.reverse(self.opposite) + ends)
        edges = self.norms[0](graph.edges + self.dropout(self.out(hidden)))
        return self.norms[1](edges + self.dropout(self.mlp(edges)))


class RelationalTransformer(Backbone):
    """The NG-T backbone: `depth` relational layers.

    Attention runs over the edges of the wiring: `Looped()` for the weights (linear in their number, ours), `AllPairs()`
    for the paper's model. The last layer updates edges only with `update_edges` (a readout of weights); `outputs_only`
    as for `Backbone`. `widths` are those of nodes and edges, `hidden` those of their MLPs.
    Raises ConfigError for less than one channel or layer.
    """

    needs = Needs(end="source", reverse_edges=True)

    def __init__(
        self, widths: tuple[int, int] = (64, 32), depth: int = 4, heads: int = 8, attention: int = 128,
        hidden: tuple[int, int] = (128, 64), *, modulate: bool = True, dropout: float = 0.0,
        update_edges: bool = False, outputs_only: bool = False,
    ):  # fmt: skip
        require_size(min(*widths, *hidden, attention), depth)
        work = 5 * attention + 2 * max(hidden[1], widths[1])
        memory = EdgeMemory(state=widths[1], largest=attention, work=work, layers=depth)
        super().__init__(memory, outputs_only, update_edges)
        self.layers = nn.ModuleList(
            RelationalLayer(*widths, attention, heads, hidden, modulate, dropout, update_edges or i < depth - 1)
            for i in range(depth)
        )

    def stack(self) -> list[RelationalLayer]:
        """The layers."""
        return list(self.layers)
