"""SharedUNF: its layers are linear, and what they read of a group and of a network are means."""

import pytest
import torch
from torch import Tensor, nn

from neural_graphs import InputSpec, Layout, Networks, NeuralGraph, SharedUNF, Topology
from neural_graphs.graph import Forward
from neural_graphs.nn.backbones import shared_linear
from neural_graphs.nn.backbones.shared_linear import SharedLinear

DEEP = Layout.mlp((2, 5, 4, 4, 1), "tanh")
CNN = Layout.cnn((1, 3, 4), (3, 5), 2, residual=(-1, 0))
INR = Layout.mlp((2, 3, 1), "sine")


def draw(*layouts: Layout) -> Networks:
    generator = torch.Generator().manual_seed(0)
    each = [(torch.randn(1, layout.size, generator=generator, dtype=torch.float64), layout) for layout in layouts]
    return Networks.cat([Networks(*one) for one in each])


@pytest.mark.parametrize("layouts", [(DEEP, DEEP), (DEEP, CNN, INR, CNN)], ids=["alike", "mixed"])
def test_the_mean_over_a_group_is_that(layouts: tuple[Layout, ...]) -> None:
    networks = draw(*layouts)
    topology = Topology.of(networks, Forward())
    neurons = [layout.neurons for layout in layouts]
    nodes = torch.randn(sum(neurons), 3, dtype=torch.float64)
    shaped = nodes.unflatten(0, (len(layouts), -1)) if networks.regular else nodes
    found = topology.group_mean(shaped).reshape(nodes.shape).split(neurons)
    for layout, own, mean in zip(layouts, nodes.split(neurons), found, strict=True):
        for place in layout.neuron_slices:
            torch.testing.assert_close(mean[place], own[place].mean(0).expand_as(own[place]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layouts", [(DEEP, DEEP), (DEEP, CNN, INR, CNN)], ids=["alike", "mixed"])
def test_without_norm_and_relu_layers_are_affine(layouts: tuple[Layout, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """f(x) + f(y) = f(x + y) + f(0), of several layers, in biases and weights; with ReLU it is not so."""
    topology = Topology.of(draw(*layouts), Forward())
    torch.manual_seed(0)
    backbone = SharedLinear(6, 3).double()
    graph = SharedUNF(InputSpec.of(layouts), 3, width=6).double().encoder(draw(*layouts))

    @torch.no_grad()
    def answer(nodes: Tensor, edges: Tensor) -> list[Tensor]:
        found = backbone(NeuralGraph(nodes, edges, topology))
        return [found.nodes, found.edges]

    def defect() -> float:
        x, y = ([torch.randn_like(graph.nodes), torch.randn_like(graph.edges)] for _ in "xy")
        both, none = [a + b for a, b in zip(x, y, strict=True)], [torch.zeros_like(a) for a in x]
        parts = zip(answer(*x), answer(*y), answer(*both), answer(*none), strict=True)
        return max(float((a + b - c - d).abs().max() / (a.abs().max() + b.abs().max())) for a, b, c, d in parts)

    assert defect() > 1e-3
    for layer in backbone.layers:
        layer.bias_norm = layer.weight_norm = nn.Identity()
    monkeypatch.setattr(shared_linear.F, "relu", lambda x: x)
    assert defect() < 1e-12


def test_a_layer_reads_what_lies_anywhere_in_the_network() -> None:
    """One layer, and the answer about a network depends on every number of it."""
    torch.manual_seed(0)
    reader = SharedUNF(InputSpec.of([DEEP]), 1, width=8, depth=1).double()
    values = draw(DEEP).values.requires_grad_()
    (slope,) = torch.autograd.grad(reader(Networks(values, DEEP)).sum(), values)
    assert slope.abs().min() > 0
