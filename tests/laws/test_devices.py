"""One answer on every device: what lies on the processor and what lies on the accelerator never meet by mistake."""

import pytest
import torch

from neural_graphs.networks import Networks
from neural_graphs.symmetry import sample_symmetry
from neural_graphs.testing import assert_equivariant, assert_invariant, relative_error

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)
DEVICE = torch.device("cuda")


def test_answers_and_gradients_agree(case, backbone) -> None:
    for make in (backbone.reader, backbone.editor):
        expected = answer_and_gradient(make(case.family), case.networks())
        actual = answer_and_gradient(make(case.family).to(DEVICE), case.networks().to(DEVICE))
        for one, other in zip(actual, expected, strict=True):
            assert one.device.type == DEVICE.type
            assert relative_error(one.cpu(), other) < 1e-10


def test_probed_networks_agree_too(inr_case, backbone) -> None:
    reader = backbone.reader(inr_case.family, probes=5)
    expected = answer_and_gradient(reader, inr_case.networks())[0]
    actual = answer_and_gradient(reader.to(DEVICE), inr_case.networks().to(DEVICE))[0]
    assert relative_error(actual.cpu(), expected) < 1e-9


def test_symmetries_act_there(case, backbone, generator: torch.Generator) -> None:
    networks = case.networks().to(DEVICE)
    symmetry = sample_symmetry(networks, generator)
    assert torch.equal(symmetry.act(networks).values.cpu(), symmetry.act(case.networks()).values)
    assert_invariant(backbone.reader(case.family).to(DEVICE), networks, generator)
    assert_equivariant(backbone.editor(case.family).to(DEVICE), networks, generator)


def test_networks_run_there(runnable_case) -> None:
    networks = runnable_case.networks()
    for place in range(len(networks)):
        expected = networks[place].run(runnable_case.inputs(place))
        assert (
            relative_error(networks[place].to(DEVICE).run(runnable_case.inputs(place).to(DEVICE)).cpu(), expected)
            < 1e-10
        )


def answer_and_gradient(metanetwork: torch.nn.Module, networks: Networks) -> list[torch.Tensor]:
    """The answer, and the gradient of its sum of squares in every parameter."""
    output = metanetwork(networks)
    answer = output.values if isinstance(output, Networks) else output
    return [answer.detach(), *torch.autograd.grad(answer.square().sum(), list(metanetwork.parameters()))]
