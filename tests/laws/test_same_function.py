"""Same function: a symmetry changes the parameters and not what the networks compute. This proves the layouts right."""

import pytest
import torch

from neural_graphs.networks import Networks
from neural_graphs.symmetry import Kind, NeuronPermutation, PositiveScale, SignFlip, sample_symmetry
from neural_graphs.testing import assert_same_function


@pytest.fixture(params=[NeuronPermutation, SignFlip, PositiveScale], ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def test_moved_networks_compute_the_same(runnable_case, kind: Kind, generator: torch.Generator) -> None:
    networks = runnable_case.networks()
    moved = sample_symmetry(networks, generator, kind, missing_ok=True).act(networks)
    for place in range(len(networks)):
        assert_same_function(moved[place], networks[place], runnable_case.inputs(place), 1e-12)


def test_moved_gradients_are_gradients_of_the_moved(runnable_case, generator: torch.Generator) -> None:
    networks = runnable_case.networks()
    symmetry = sample_symmetry(networks, generator)
    actual, expected = gradient(runnable_case, symmetry.act(networks)), symmetry.act(gradient(runnable_case, networks))
    torch.testing.assert_close(actual.values, expected.values, rtol=1e-10, atol=1e-12)


def gradient(case, networks: Networks) -> Networks:
    values = networks.values.detach().clone().requires_grad_()
    copy = networks.with_values(values)
    losses = [copy[place].run(case.inputs(place)).square().sum() for place in range(len(copy))]
    return networks.with_values(torch.autograd.grad(torch.stack(losses).sum(), values)[0])
