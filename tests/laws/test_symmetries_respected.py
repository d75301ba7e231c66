"""Invariance and equivariance of every metanetwork: answers stay, edits move along, weights and biases alike."""

import pytest
import torch
from torch import Tensor, nn

from neural_graphs.networks import Networks
from neural_graphs.nn import MeanNodes, Standardise
from neural_graphs.symmetry import NeuronPermutation, sample_symmetry
from neural_graphs.testing import assert_equivariant, assert_invariant, symmetry_error


def test_answers_do_not_change(case, backbone, generator: torch.Generator) -> None:
    assert_invariant(backbone.reader(case.family), case.networks(), generator)


def test_all_neurons_may_be_pooled(case, backbone, generator: torch.Generator) -> None:
    assert_invariant(backbone.reader(case.family, pool=MeanNodes()), case.networks(), generator)


def test_edits_move_along(case, backbone, generator: torch.Generator) -> None:
    assert_equivariant(backbone.editor(case.family), case.networks(), generator)


def test_probed_networks_too(inr_case, backbone, generator: torch.Generator) -> None:
    assert_invariant(backbone.reader(inr_case.family, probes=5), inr_case.networks(), generator)
    assert_equivariant(backbone.editor(inr_case.family, probes=5), inr_case.networks(), generator)


def test_standardised_networks_too(inr, backbone, generator: torch.Generator) -> None:
    networks = inr.networks()
    family = type(inr.family).of(inr.layouts, Standardise.measure(networks))
    assert_invariant(backbone.reader(family), networks, generator)
    assert_equivariant(backbone.editor(family), networks, generator)
    assert_equivariant(backbone.editor(family, probes=5, standardised=True), networks, generator)


class Joined(nn.Module):
    """The last layer reads both others: its tensor is two blocks, into one group."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.tanh(self.first(x))
        return self.last(torch.cat([first, torch.tanh(self.second(first))], -1))


def test_weights_are_standardised_by_those_into_the_same_group() -> None:
    modules = [Joined().double() for _ in range(3)]
    with torch.no_grad():
        for module in modules:
            module.last.weight += 100
    networks = Networks.from_modules(modules, example_input=torch.randn(3, 2, dtype=torch.float64))
    found = Standardise.measure(networks)
    names = ("first", "second", "last")
    into = [torch.stack([getattr(module, name).weight.detach() for module in modules]) for name in names]
    assert found.weight_mean == pytest.approx([float(weights.mean()) for weights in into], rel=1e-12)
    assert found.weight_std == pytest.approx([float(weights.std()) for weights in into], rel=1e-12)


@pytest.mark.parametrize("probes", [0, 5], ids=["weights only", "probes"])
def test_edited_networks_move_along(inr_case, backbone, generator: torch.Generator, probes: int) -> None:
    """Editing and then moving is moving and then editing: `g · (n + F(n)) = g · n + F(g · n)`."""
    editor = backbone.editor(inr_case.family, probes=probes, initial=1.0)  # an edit as large as the networks

    def edited(networks: Networks) -> Networks:
        return networks + editor(networks)

    symmetry = sample_symmetry(inr_case.networks(), generator)
    assert symmetry_error(edited, inr_case.networks(), symmetry) < 1e-12


def test_one_swap_of_one_layer_is_enough_to_see(regular_case, backbone) -> None:
    """Every free atom by itself, the smallest move there is."""
    networks = regular_case.networks()
    reader, editor = backbone.reader(regular_case.family), backbone.editor(regular_case.family)
    for atom in networks.layout.free_atoms:
        order = torch.arange(atom.size).roll(1).numpy()
        swap = NeuronPermutation(networks.layout, {atom.name: order})
        assert symmetry_error(reader, networks, swap) < 1e-10
        assert symmetry_error(editor, networks, swap) < 1e-10
