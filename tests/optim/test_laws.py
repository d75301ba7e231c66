"""A step of a learned optimizer commutes with every relabelling of neurons, whatever batch a network is in."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neural_graphs import Layout, Networks, assert_equivariant
from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.graph import NeuralGraph
from neural_graphs.optim import FeedForwardRule, LSTMRule, NGGNNRule, Refinements, UpdateRule
from neural_graphs.optim.graph_rules import ParameterReadout
from neural_graphs.optim.inner import ImageSet, InnerTask, gradients
from neural_graphs.optim.memory import Memory
from neural_graphs.optim.signals import DECAYS, accumulate, log_and_sign, tensor_rms
from neural_graphs.symmetry import sample_symmetry
from neural_graphs.testing import assert_batch_independent, relative_error
from tests.optim.rules import LAYOUTS, MIXED, OPTIONS, PAPER, RULES, SCALED, built, family_of, signals

GRAPH_RULES = [name for name in RULES if name not in ("FF", "LSTM")]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("layouts", LAYOUTS)
@pytest.mark.parametrize("name", RULES)
def test_a_change_moves_along_with_the_neurons(name: str, layouts: str, options: str) -> None:
    given = LAYOUTS[layouts]()
    rule = built(RULES[name], given, **OPTIONS[options])
    assert_equivariant(lambda networks: rule(networks, step=3), signals(given))


@pytest.mark.parametrize("name", [name for name in RULES if name != "NFN"])
def test_the_batch_does_not_matter(name: str) -> None:
    rule = built(RULES[name], MIXED, refinements=SCALED)
    assert_batch_independent(rule, signals(MIXED))
    assert_equivariant(rule, signals(MIXED))


@pytest.mark.parametrize("layout", [PAPER, *LAYOUTS["MLP"](), *LAYOUTS["residual"]()], ids=["CNN", "MLP", "residual"])
@pytest.mark.parametrize("name", RULES)
def test_three_steps_of_training_commute_with_relabelling(name: str, layout: Layout) -> None:
    """Gradients and momenta move along with the neurons, so whole trainings do."""
    rule = built(RULES[name], [layout])
    shape = (4, 1, 2, 2) if layout.groups[0].size == 4 else (4, 1, 9, 9)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    task = InnerTask((layout,), ImageSet(images, torch.arange(4) % layout.role_count("output")), batch=3)
    start = task.start(2, torch.Generator().manual_seed(0))
    moving = sample_symmetry(start, torch.Generator().manual_seed(1))

    def trained(networks: Networks) -> Networks:
        memory, generator = Memory(), torch.Generator().manual_seed(2)
        for _ in range(3):
            _, gradient = gradients(networks, task.draw(2, generator))
            networks = networks + memory.change(rule, networks, gradient) * 10.0
        return networks

    with torch.no_grad():
        actual, expected = trained(moving.act(start)), moving.act(trained(start))
    assert relative_error(actual.values, expected.values) < 1e-10
    assert relative_error(expected.values, moving.act(start).values) > 1e-3  # it did move


@torch.no_grad()
@pytest.mark.parametrize("name", ["NG-GNN of any size", "NG-T over weights", "Propagator", "SharedUNF", "NG-GNN"])
def test_without_a_table_of_places_inputs_and_outputs_have_no_order_either(name: str) -> None:
    (layout,) = LAYOUTS["MLP"]()
    rule, networks = built(RULES[name], [layout]), signals([layout])
    first, last = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])

    def moved(given: Networks) -> Networks:
        found = given.map(torch.clone)
        found.tensor("layers.0.weight").copy_(given.tensor("layers.0.weight")[:, :, first])
        for part in ("weight", "bias"):
            found.tensor(f"layers.2.{part}").copy_(given.tensor(f"layers.2.{part}")[:, last])
        return found

    error = relative_error(rule(moved(networks)).values, moved(rule(networks)).values)
    assert error < 1e-10 if name != "NG-GNN" else error > 1e-3


class Misread(ParameterReadout):
    """Reads every neuron in place of the one before it: as wrong as an off-by-one in an index."""

    def forward(self, graph: NeuralGraph, networks: Networks) -> Networks:
        return super().forward(replace(graph, nodes=graph.nodes.roll(1, -2)), networks)


class Numbered(FeedForwardRule):
    """Knows where a number lies in its tensor."""

    def _direction(self, x: Tensor, u: Tensor | None) -> Tensor:
        return super()._direction(x, u) * torch.linspace(1, 2, x.shape[1], dtype=x.dtype)


def test_broken_rules_are_found() -> None:
    rule = built(RULES["NG-GNN"], [PAPER])
    assert isinstance(rule, NGGNNRule)
    readout: Any = rule.metanetwork.readout
    rule.metanetwork.readout = Misread(readout.node, readout.edge, readout.width)
    with pytest.raises(AssertionError, match=r"conv0\.bias .*← off"):
        assert_equivariant(rule, signals([PAPER]))
    with pytest.raises(AssertionError, match="do not move along"):
        assert_equivariant(built(lambda f: Numbered(f, width=4), [PAPER]), signals([PAPER]))


@pytest.mark.parametrize("name", RULES)
def test_a_parameter_hears_of_its_neighbours_only_through_a_context(name: str) -> None:
    rule, networks = built(RULES[name], [PAPER]), signals([PAPER])
    other = networks.values.clone()
    other[:, PAPER.slices["conv0.weight"].start] += 1.0
    same = (
        rule(networks).tensor("conv0.weight")[:, 1:] == rule(networks.with_values(other)).tensor("conv0.weight")[:, 1:]
    )
    assert bool(same.all()) == (name == "FF")


@torch.no_grad()
def test_the_lstm_commutes_with_all_that_stays_within_tensors() -> None:
    """More than the symmetries of the network: it tells tensors apart, and not the neurons they join."""
    rule, networks = built(RULES["LSTM"], [PAPER]), signals([PAPER])
    places = torch.cat(
        [
            s.start + torch.randperm(s.stop - s.start, generator=torch.Generator().manual_seed(1))
            for s in PAPER.slices.values()
        ]
    )
    moved = rule(networks.with_values(networks.values[:, places])).values
    assert relative_error(moved, rule(networks).values[:, places]) < 1e-10
    graph = built(RULES["NG-GNN"], [PAPER])
    assert (
        relative_error(
            graph(networks.with_values(networks.values[:, places])).values, graph(networks).values[:, places]
        )
        > 1e-6
    )


@torch.no_grad()
def test_taps_of_a_kernel_share_a_context_and_differ_by_their_own_channels() -> None:
    rule, networks = built(RULES["NG-GNN"], [PAPER]), signals([PAPER])
    context = rule.context(networks)
    assert context is not None
    kernels = context.values[:, PAPER.slices["conv1.weight"]].reshape(3, 18, 9, -1)
    assert torch.equal(kernels, kernels[:, :, :1].expand_as(kernels))
    assert relative_error(kernels[:, :-1], kernels[:, 1:]) > 1e-3
    change = rule(networks).values[:, PAPER.slices["conv1.weight"]].reshape(3, 18, 9)
    assert bool((change.std(-1) > 0).all())


@torch.no_grad()
@pytest.mark.parametrize("name", RULES)
def test_scaled_rules_do_not_see_the_unit_of_a_tensor(name: str) -> None:
    """Steps are as many times larger as parameters; gradients may be counted in any unit."""
    rule, networks = built(RULES[name], [PAPER], refinements=SCALED), signals([PAPER])
    factors = torch.ones_like(networks.values)
    factors[:, PAPER.slices["conv1.weight"], 0] = 7.0
    factors[:, PAPER.slices["fc.weight"], 1:] = 0.03
    actual = rule(networks.with_values(networks.values * factors)).values
    assert relative_error(actual, rule(networks).values * factors[..., 0]) < 1e-10
    plain = built(RULES[name], [PAPER])
    assert relative_error(plain(networks.with_values(networks.values * factors)).values, plain(networks).values) > 1e-6


@given(st.lists(st.floats(-1e30, 1e30), min_size=1))
@settings(max_examples=50, deadline=None)
def test_logarithms_and_signs_are_those_of_the_paper(numbers: list[float]) -> None:
    found = log_and_sign(torch.tensor(numbers, dtype=torch.float64))
    expected = []
    for s in numbers:
        large = abs(s) >= math.exp(-10)
        expected += [math.log(abs(s)) / 10, math.copysign(1, s)] if large else [-1.0, math.exp(10) * s]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
@settings(max_examples=25, deadline=None)
def test_momenta_are_sums_of_past_gradients(gradients: list[float]) -> None:
    momenta = torch.zeros(1, len(DECAYS), dtype=torch.float64)
    for gradient in gradients:
        momenta = accumulate(momenta, torch.tensor([gradient], dtype=torch.float64))
    past = list(enumerate(reversed(gradients)))
    expected = torch.tensor([[sum(decay**age * g for age, g in past) for decay in DECAYS]], dtype=torch.float64)
    torch.testing.assert_close(momenta, expected, rtol=1e-10, atol=1e-12)


def test_root_mean_squares_are_those_of_each_tensor() -> None:
    networks = signals([PAPER])
    found = networks.with_values(tensor_rms(networks.values, networks))
    for name in PAPER.shapes:
        each = networks.values[:, PAPER.slices[name]]
        torch.testing.assert_close(
            found.values[:, PAPER.slices[name]], each.square().mean(1, keepdim=True).sqrt().expand_as(each)
        )
    assert not torch.equal(found.values[:, 0], found.values[:, -1])


def test_many_numbers_are_changed_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, networks = built(RULES["LSTM"], [PAPER]), signals([PAPER])
    expected = rule(networks).values.detach()
    monkeypatch.setattr("neural_graphs.optim.update_rule.PIECE", 100)
    with torch.no_grad():
        torch.testing.assert_close(rule(networks).values, expected, rtol=1e-12, atol=0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reads 14 channels .* the family has 1"):
        FeedForwardRule(replace(family_of([PAPER]), channels=1))
    rule = built(RULES["FF"], [PAPER])
    with pytest.raises(LayoutError, match="14 channels per number"):
        rule(signals([PAPER]).with_values(torch.zeros(3, PAPER.size, 14, dtype=torch.float64)))
    narrow = built(lambda f: NGGNNRule(f, width=8, depth=2, rows=5), [PAPER])
    with pytest.raises(LayoutError, match=r"8 places .* rows for 5; take one without places"):
        narrow(signals([PAPER]))
    assert issubclass(LSTMRule, UpdateRule)


@torch.no_grad()
@pytest.mark.parametrize("saturation", [0.0, 3.0])
@pytest.mark.parametrize("name", RULES)
def test_an_untrained_rule_with_a_nominal_step_descends_along_past_gradients(name: str, saturation: float) -> None:
    rule = built(RULES[name], [PAPER], refinements=Refinements(nominal=0.02, saturation=saturation))
    networks = signals([PAPER])
    change, step = rule(networks), rule.log_nominal.exp()  # type: ignore[union-attr]  # 0.02, rounded
    for tensor, where in PAPER.slices.items():
        gradient, mean = networks.values[:, where, 1], 0.1 * networks.values[:, where, 3]  # β = 0.9
        size = torch.maximum(*(x.square().mean(1, keepdim=True).sqrt() for x in (gradient, mean)))
        along = mean / size
        if saturation:
            along = torch.sin(torch.atan(3 * along))  # u / √(1 + u²)
            assert along.abs().max() < 1
        torch.testing.assert_close(change.values[:, where], -step * along, rtol=1e-12, atol=1e-18, msg=tensor)
