"""NG-T: relational attention, where edges shape queries, keys and values (paper section 3.2; Diao & Loynd 2023)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.graph import NeuralGraph


class RelationalAttention(nn.Module):
    """Every neuron r attends to the neurons c that its edges (r, c) lead to.

    Per head `logit = ⟨q_r + q_rc, k_c + k_rc⟩ / √attention` and the message is `v_c ⊙ g_rc + v_rc`, or `v_c + v_rc`
    without `modulate`. `attention` is the width of all heads together, also under the root.
    """

    def __init__(self, nodes: int, edges: int, attention: int, heads: int, modulate: bool = True):
        super().__init__()
        if attention % heads:
            raise ValueError(f"attention width {attention} must be a multiple of the number of heads {heads}")
        self.heads, self.scale, self.modulate = heads, attention**-0.5, modulate
        self.node = nn.Linear(nodes, 3 * attention, bias=False)  # per head: query, key, value
        self.edge = nn.Linear(edges, (4 if modulate else 3) * attention, bias=False)  # and gate
        self.out = nn.Linear(attention, nodes)

    def forward(self, graph: NeuralGraph) -> Tensor:
        """`(*batch, neurons, nodes)`."""
        topology = graph.topology
        q, k, v = self.node(graph.nodes).unflatten(-1, (self.heads, 3, -1)).unbind(-2)
        q_e, k_e, v_e, *gate = self.edge(graph.edges).unflatten(-1, (self.heads, -1, q.shape[-1])).unbind(-2)
        nothing = torch.zeros_like(q).flatten(-2)
        query = topology.spread(q.flatten(-2), nothing).unflatten(-1, q.shape[-2:]) + q_e
        key = topology.spread(nothing, k.flatten(-2)).unflatten(-1, q.shape[-2:]) + k_e
        value = topology.spread(nothing, v.flatten(-2)).unflatten(-1, q.shape[-2:])
        value = value * gate[0] + v_e if self.modulate else value + v_e
        share = topology.softmax((query * key).sum(-1) * self.scale)
        return self.out(topology.sum((share[..., None] * value).flatten(-2), "source"))


class RelationalLayer(nn.Module):
    """Attention, node MLP, and, unless `last`, the update of edges from themselves, their counterpart and their ends."""

    def __init__(
        self, nodes: int, edges: int, attention: int, heads: int, node_hidden: int, edge_hidden: int,
        modulate: bool = True, dropout: float = 0.0, last: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.dropout = dropout
        self.attention = RelationalAttention(nodes, edges, attention, heads, modulate)
        self.node_in = nn.Linear(nodes, nodes)
        self.node_norms = nn.ModuleList(nn.LayerNorm(nodes) for _ in range(2))
        self.node_mlp = nn.Sequential(nn.Linear(nodes, node_hidden, False), nn.GELU(), nn.Linear(node_hidden, nodes))
        self.edge_update = None if last else RelationalEdgeUpdate(nodes, edges, edge_hidden, dropout)

    def forward(self, graph: NeuralGraph) -> NeuralGraph:
        """Graph in, graph out."""
        nodes = self.node_norms[0](graph.nodes + self._drop(self.node_in(self.attention(graph))))
        nodes = self.node_norms[1](nodes + self._drop(self.node_mlp(nodes)))
        graph = NeuralGraph(nodes, graph.edges, graph.topology)
        return graph if self.edge_update is None else self.edge_update(graph)  # type: ignore[no-any-return]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.dropout and self.training else x


class RelationalEdgeUpdate(nn.Module):
    """`e ← LN(e + W GELU(W_e [e; e'] + W_r x_r + W_c x_c))` with e' the counterpart of e, then an MLP of its own."""

    def __init__(self, nodes: int, edges: int, hidden: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.own, self.opposite = nn.Linear(edges, hidden), nn.Linear(edges, hidden, bias=False)
        self.source, self.target = nn.Linear(nodes, hidden), nn.Linear(nodes, hidden)
        self.out = nn.Linear(hidden, edges)
        self.norms = nn.ModuleList(nn.LayerNorm(edges) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(edges, hidden, False), nn.GELU(), nn.Linear(hidden, edges))

    def forward(self, graph: NeuralGraph) -> NeuralGraph:
        """Graph in, graph out; nodes stay as they are."""
        edges, topology = graph.edges, graph.topology
        ends = topology.spread(self.source(graph.nodes), self.target(graph.nodes))
        hidden = F.gelu(self.own(edges) + topology.counterpart(self.opposite(edges)) + ends)
        edges = self.norms[0](edges + self._drop(self.out(hidden)))
        edges = self.norms[1](edges + self._drop(self.mlp(edges)))
        return NeuralGraph(graph.nodes, edges, topology)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.dropout and self.training else x


class RelationalTransformer(nn.Module):
    """The NG-T backbone: `depth` relational layers; all Linear layers start Xavier-uniform with zero biases.

    Attention runs over the edges of the wiring: `Looped()` for the weights (linear in their number, ours), `AllPairs()`
    for the paper's model. With `update_edges=False` the last layer leaves edges alone (a readout of neurons).
    """

    def __init__(
        self, nodes: int = 64, edges: int = 32, depth: int = 4, heads: int = 8, attention: int = 128,
        hidden: tuple[int, int] = (128, 64), modulate: bool = True, dropout: float = 0.0, update_edges: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.layers = nn.ModuleList(
            RelationalLayer(
                nodes, edges, attention, heads, *hidden, modulate, dropout, not update_edges and i == depth - 1
            )
            for i in range(depth)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, graph: NeuralGraph) -> NeuralGraph:
        """Graph in, graph out."""
        for layer in self.layers:
            graph = layer(graph)
        return graph
