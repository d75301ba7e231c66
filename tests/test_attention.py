"""The fused attention of regular batches equals the one made of the verbs, values and gradients."""

import pytest
import torch

from neural_graphs.graph import AllPairs, Bidirectional, Looped, Topology, Wiring
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks

LAYOUTS = {
    "INR": Layout.mlp((2, 3, 4, 1), "sine"),
    "residual CNN": Layout.cnn((1, 4, 6, 4), (3, 3, 3), 3, residual=(-1, -1, 0)),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("wiring", [Looped(), AllPairs(), Bidirectional()], ids=lambda w: type(w).__name__)
@pytest.mark.parametrize("modulate", [True, False])
@pytest.mark.parametrize("narrow", [True, False])
def test_fused_equals_composed(layout: Layout, wiring: Wiring, modulate: bool, narrow: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    topology = Topology.of(Networks(torch.zeros(2, layout.size), layout), wiring)
    if narrow:
        topology = topology.at_outputs("source").topology
    nodes, edges = draw(2, layout.neurons, 12), draw(2, topology.edge_blocks[-1].edges.stop, 5)
    weight = draw(16 if modulate else 12, 5)
    fused = topology.attend(nodes, edges, weight, 2, modulate)
    composed = Topology.attend(topology, nodes, edges, weight, 2, modulate)
    torch.testing.assert_close(fused, composed, rtol=1e-12, atol=1e-12)
    before = edges.detach().clone()
    with torch.no_grad():  # in fewer tensors
        assert torch.equal(topology.attend(nodes, edges, weight, 2, modulate), fused)
    assert torch.equal(edges, before)
    pull = torch.randn(fused.shape, generator=generator, dtype=torch.float64)
    found = torch.autograd.grad(fused, (nodes, edges, weight), pull)
    expected = torch.autograd.grad(composed, (nodes, edges, weight), pull)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def test_large_logits_do_not_overflow() -> None:
    layout = LAYOUTS["INR"]
    topology = Topology.of(Networks(torch.zeros(1, layout.size), layout), Looped())
    nodes = 1e3 * torch.randn(1, layout.neurons, 12, generator=torch.Generator().manual_seed(0))
    edges = torch.zeros(1, topology.edge_blocks[-1].edges.stop, 5)
    assert torch.isfinite(topology.attend(nodes, edges, torch.zeros(16, 5), 2, True)).all()
