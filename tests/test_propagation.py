"""Propagator: what reaches the outputs, at which initial values, and what its encoder sees."""

import pytest
import torch
from torch import Tensor

from neural_graphs import NGT, InputSpec, Layout, Networks, Propagator
from neural_graphs.errors import ConfigError
from neural_graphs.nn import MultiscaleEncoder, Propagation
from neural_graphs.nn.group_statistics import SHARP, group_statistics, statistics

DEEP = Layout.mlp((2, *[4] * 8, 3), "relu")
INR = Layout.mlp((2, 32, 32, 1), "sine")
CNN = Layout.cnn((1, 3, 4), (3, 5), 2, residual=(-1, 0))


def draw(layout: Layout, count: int = 2, scale: float = 0.3) -> Networks:
    generator = torch.Generator().manual_seed(0)
    return Networks(scale * torch.randn(count, layout.size, generator=generator, dtype=torch.float64), layout)


def made(kind: type, layout: Layout, classes: int = 3, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return kind(InputSpec.of([layout]), classes, **options).double()


def first_layer(module: torch.nn.Module, layout: Layout) -> Tensor:
    """How answers change with the weights of the first layer."""
    values = draw(layout).values.requires_grad_()
    (slope,) = torch.autograd.grad(module(Networks(values, layout)).sum(), values)
    name = next(block.parameter for block in layout.blocks if block.parameter)
    return slope[:, layout.slices[name]]


def test_a_network_four_times_as_deep_is_read_in_two_rounds() -> None:
    assert first_layer(made(Propagator, DEEP, depth=2, statistics=False), DEEP).abs().min() > 0
    assert not first_layer(made(NGT, DEEP, depth=2), DEEP).any()  # the law can fail


def test_a_fresh_metanetwork_tells_networks_apart() -> None:
    with torch.no_grad():
        answers = made(Propagator, INR, classes=10)(draw(INR, 16))
    assert answers.std(0).mean() > 0.1 * answers.std()


@pytest.mark.parametrize("layout", [INR, CNN], ids=["INR", "CNN"])
@pytest.mark.parametrize("scale", [0.003, 30.0])
def test_networks_a_hundred_times_larger_or_smaller_are_read(layout: Layout, scale: float) -> None:
    module = made(Propagator, layout, depth=6)
    with torch.no_grad():
        usual, answers = module(draw(layout, 8)), module(draw(layout, 8, scale))
    assert answers.isfinite().all() and answers.std() < 10 * usual.std()
    assert answers.std(0).mean() > 1e-3 * usual.std()


@pytest.mark.parametrize("together", [[INR, INR, INR, INR], [INR, CNN, CNN, INR]], ids=["alike", "mixed"])
def test_a_skipped_round_is_skipped_for_a_network_as_a_whole(together: list[Layout]) -> None:
    """Of one round, skipped for every other network, the answer is with it, twice as strong, or without it."""
    torch.manual_seed(0)
    backbone = Propagation(8, 1, 4, skipped=0.5).double()
    networks = Networks.cat([draw(layout, 1) for layout in together])
    graph = Propagator(InputSpec.of(together), 3, 8, 1, 4).double().encoder(networks)
    topology, change = graph.topology, backbone.rounds[0].eval().nodes(graph) - graph.nodes
    factors = set()
    for _ in range(8):
        moved = backbone.rounds[0].train().nodes(graph) - graph.nodes
        factor = topology.mean(moved * change) / topology.mean(
            change * change
        )  # per network, and alike for all features
        torch.testing.assert_close(moved, topology.repeat(factor) * change, rtol=1e-9, atol=1e-12)
        factors |= set(factor.round(decimals=6).flatten().tolist())
    assert factors == {0.0, 2.0}


def test_rates_of_skipping_grow_with_depth_and_nothing_is_skipped_by_default() -> None:
    assert [each.skip.rate for each in Propagation(8, 4, 4, skipped=0.4).rounds] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert not any(each.skip.rate for each in Propagation(8, 4, 4).rounds)
    with pytest.raises(ConfigError, match="must be in"):
        Propagation(8, 4, 4, skipped=1.0)


def test_statistics_of_a_group_are_those_of_statnn() -> None:
    networks = draw(CNN, 3)
    found = group_statistics(networks)
    assert found.shape == (3, len(CNN.groups), 16)
    kernel, bias = (networks.tensor(name).flatten(1) for name in (CNN.blocks[0].parameter, CNN.groups[1].bias))
    expected = [(SHARP * statistics(each)).asinh() for each in (kernel, bias)]
    assert torch.equal(found[:, 1, :7], expected[0]) and torch.equal(found[:, 1, 8:15], expected[1])
    assert not found[:, 0].any()  # inputs have neither


def test_a_kernel_smaller_than_the_frame_is_padded_with_zeros() -> None:
    torch.manual_seed(0)
    encoder, values, columns = MultiscaleEncoder(5, 4).double(), torch.randn(3, 2).double(), torch.tensor([1, 3])
    padded = torch.zeros(3, 5, dtype=torch.float64).index_copy(1, columns, values)
    torch.testing.assert_close(encoder(values, columns), encoder(padded), rtol=1e-12, atol=1e-14)


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="20 is not a multiple of 8 heads"):
        Propagation(20, heads=8)
