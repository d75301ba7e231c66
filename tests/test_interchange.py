"""Layouts and networks as graphs of networkx and torch_geometric."""

import networkx
import numpy as np
import pytest
import torch
from torch import nn

from neural_graphs.errors import LayoutError
from neural_graphs.io import graphs as interchange
from neural_graphs.io.graphs import framed, largest, to_networkx, to_pyg
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from tests.hand_layouts import decoder, resnet

MLP = Layout.mlp((2, 5, 4, 1))
CNN = Layout.cnn((1, 3, 4), (3, 5), 2)
RESNET = resnet((4, 6), (1, 1), 3, stem=5)
ATTENTION = decoder(1, 8, 2, 4, 7, 5)


def some(layout: Layout, count: int, channels: int = 0) -> Networks:
    shape = (count, layout.size, channels) if channels else (count, layout.size)
    return Networks(torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64), layout)


@pytest.mark.parametrize("layout", [MLP, CNN, RESNET, ATTENTION], ids=["mlp", "cnn", "resnet", "attention"])
def test_networkx_graphs_have_every_group_and_every_weight(layout: Layout) -> None:
    groups, neurons = to_networkx(layout), to_networkx(layout, neurons=True)
    assert (len(groups), groups.number_of_edges()) == (len(layout.groups), len(layout.blocks))
    assert (len(neurons), neurons.number_of_edges()) == (layout.neurons, layout.weights)
    assert sum(numbers for _, _, numbers in groups.edges(data="numbers")) == sum(
        table.size * block.kernel_size for block, table in zip(layout.blocks, layout.tables, strict=True)
        if block.parameter
    )  # fmt: skip
    assert networkx.is_directed_acyclic_graph(groups) and networkx.is_directed_acyclic_graph(neurons)
    sources, targets = layout.ends
    edges = sorted(neurons.edges(keys=True, data="number"), key=lambda edge: edge[2])
    assert [edge[:3] for edge in edges] == list(
        zip(sources.tolist(), targets.tolist(), range(layout.weights), strict=True)
    )
    numbers = [
        layout.numbers(block)[:, 0] if block.parameter else np.full(table.size, -1)
        for block, table in zip(layout.blocks, layout.tables, strict=True)
    ]
    assert [edge[3] for edge in edges] == np.concatenate(numbers).tolist()
    assert [neurons.nodes[n]["group"] for n in range(layout.neurons)] == layout.neuron_group.tolist()


def test_what_groups_and_blocks_say() -> None:
    graph = to_networkx(RESNET)
    names = {data["name"]: node for node, data in graph.nodes(data=True)}
    norm = graph.nodes[names["bn1"]]
    assert norm["kind"] == "norm" and norm["activation"] == "relu" and norm["axes"] == ("stage0",)
    kinds = [data["kind"] for data in graph.get_edge_data(names["conv1"], names["bn1"]).values()]
    assert kinds == ["norm", "mean", "variance"]
    assert {data["joins"] for _, _, data in graph.edges(data=True)} == {"dense", "one-to-one"}
    assert networkx.has_path(graph, names["input"], names["fc"])
    assert to_networkx(ATTENTION).edges[3, 4, 3]["parameter"] == "h.0.attn.q.weight"


@pytest.mark.parametrize("networks", [some(MLP, 3), some(CNN, 2), some(RESNET, 1), some(ATTENTION, 2), some(MLP, 2, 3)],
                         ids=["mlp", "cnn", "resnet", "attention", "channels"])  # fmt: skip
def test_pyg_graphs_hold_every_number_where_it_belongs(networks: Networks) -> None:
    layout, batch = networks.layout, to_pyg(networks)
    assert batch.num_graphs == len(networks) and batch.num_nodes == layout.neurons * len(networks)
    assert batch.num_edges == layout.weights * len(networks)
    for index, vector in enumerate(networks.vectors()):
        graph, values = batch.get_example(index), vector.reshape(layout.size, -1)
        channels = values.shape[1]
        edges = graph.edge_attr.unflatten(1, (-1, channels))
        assert not edges[~graph.edge_mask].any()
        for place, block in enumerate(layout.blocks):
            own = graph.edge_block == place
            assert torch.equal(torch.from_numpy(np.stack(layout.ends))[:, own], graph.edge_index[:, own])
            found = edges[own][graph.edge_mask[own]].reshape(int(own.sum()), -1, channels)
            numbers = values[layout.numbers(block)] if block.parameter else torch.ones_like(found)
            assert torch.equal(found, numbers)
        for place, group in enumerate(layout.groups):
            x = graph.x[graph.group == place]
            bias = values[layout.bias_numbers(group)] if group.bias else torch.zeros(group.size, channels)
            assert torch.equal(x[:, :channels], bias.to(x)) and bool((x[:, channels] == bool(group.bias)).all())
            assert x[:, -3:].argmax(1).eq(("input", "hidden", "output").index(group.role)).all()


def test_kinds_have_one_numbering_in_a_mixed_batch() -> None:
    batch = to_pyg(Networks.cat([some(MLP, 1), some(RESNET, 1), some(ATTENTION, 1)]))
    names = batch.edge_kind_names[0]
    assert all(each == names for each in batch.edge_kind_names)
    found = [{names[kind] for kind in graph.edge_kind.tolist()} for graph in batch.to_data_list()]
    assert found[0] == {"linear"} and {"conv", "norm", "mean", "variance", "structural"} < found[1]
    nodes = batch.kind_names[0]
    assert {nodes[kind] for kind in batch.get_example(2).kind.tolist()} >= {"product", "heads", "embedding"}
    assert {graph.edge_attr.shape[1] for graph in batch.to_data_list()} == {25}


class Reader(nn.Module):
    """A GNN of torch_geometric that reads networks: biases, kernels, and what they are."""

    def __init__(self, numbers: int, kinds: int) -> None:
        from torch_geometric.nn import GCNConv, GINEConv, global_mean_pool

        super().__init__()
        self.enter, self.kinds = nn.Linear(5, 16), nn.Embedding(kinds, 16)
        self.first = GINEConv(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)), edge_dim=numbers)
        self.second, self.out, self.pool = GCNConv(16, 16), nn.Linear(16, 2), global_mean_pool

    def forward(self, batch) -> torch.Tensor:
        x = self.enter(batch.x) + self.kinds(batch.kind)
        x = self.first(x, batch.edge_index, batch.edge_attr).relu()
        x = self.second(x, batch.edge_index).relu()
        return self.out(self.pool(x, batch.batch))


def test_a_pyg_model_runs_forward_and_backward_on_a_mixed_batch() -> None:
    parts = [some(MLP, 2), some(RESNET, 1), some(CNN, 1), some(ATTENTION, 1)]
    values = [part.values.clone().requires_grad_() for part in parts]
    networks = Networks.cat([Networks(v, part.layout) for v, part in zip(values, parts, strict=True)])
    batch = to_pyg(networks)
    torch.manual_seed(0)
    model = Reader(batch.edge_attr.shape[1], len(batch.kind_names[0])).double()
    answers = model(batch)
    assert answers.shape == (5, 2)
    answers.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(v.grad is not None and bool(v.grad.any()) for v in values)
    alone = model(to_pyg(Networks.cat([networks[3], networks[0]]), networks.layouts))  # companions change nothing
    torch.testing.assert_close(alone, answers[[3, 0]], rtol=1e-12, atol=1e-12)


def test_frames_and_names_can_be_those_of_other_layouts() -> None:
    batch = to_pyg(some(MLP, 1), [RESNET, MLP, CNN])
    assert batch.edge_attr.shape[1] == 25 and batch.edge_mask.sum(1).eq(1).all()
    assert {batch.edge_kind_names[0][kind] for kind in batch.edge_kind.tolist()} == {"linear"}
    with pytest.raises(LayoutError, match="1 layouts"):
        to_pyg(some(MLP, 1), [RESNET, CNN])


def test_kernels_are_centred_in_the_frame() -> None:
    assert largest([(), (3, 3), (7,), (1, 5)]) == (3, 7)
    assert largest([(), ()]) == () and framed((), ()).tolist() == [0]
    assert framed((), (3, 5)).tolist() == [7] and framed((3,), (3, 5)).tolist() == [6, 7, 8]
    assert framed((2, 5), (3, 5)).tolist() == list(range(10))
    assert largest([(2, 3, 3), (5, 5)]) == (2, 5, 5) and framed((1, 1), (2, 5, 5)).tolist() == [12]


def test_what_is_missing_or_too_large_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interchange, "available", lambda device: 100)
    with pytest.raises(LayoutError, match=r"31 weights.*GB"):
        to_networkx(Layout.mlp((2, 5, 3, 2)), neurons=True)
    with pytest.raises(LayoutError, match="frame"):
        to_pyg(some(CNN, 1))

    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(interchange, "import_module", missing)
    with pytest.raises(LayoutError, match=r"networkx is not installed.*neural-graphs\[graph\]"):
        to_networkx(MLP)
    with pytest.raises(LayoutError, match="torch_geometric is not installed"):
        to_pyg(some(MLP, 1))
