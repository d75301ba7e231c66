"""Not more symmetric than it should be, nothing idle, and what a weight needs reaches it."""

import math

import pytest
import torch
from torch import Tensor, nn

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import ConcatOutputs, MeanNodes, MeanOutputs, Pool
from neural_graphs.nn.spec import InputSpec
from neural_graphs.testing import (
    assert_learns,
    assert_learns_identity,
    assert_not_too_symmetric,
    assert_nothing_idle,
)
from tests.laws.conftest import BACKBONES
from tests.laws.intricate import INTRICATE

LAYOUT = Layout.mlp((2, 4, 3), activation="sine")


def test_inputs_and_outputs_have_an_order(case, backbone) -> None:
    assert_not_too_symmetric(backbone.reader(case.family), case.networks())
    assert_not_too_symmetric(backbone.editor(case.family), case.networks())


def test_every_parameter_matters(case, backbone) -> None:
    assert_nothing_idle(backbone.reader(case.family), case.networks())
    assert_nothing_idle(backbone.editor(case.family), case.networks())


def test_every_parameter_matters_with_probes(inr_case, backbone) -> None:
    assert_nothing_idle(backbone.reader(inr_case.family, probes=5), inr_case.networks())
    assert_nothing_idle(backbone.editor(inr_case.family, probes=5), inr_case.networks())


@pytest.mark.parametrize("pool", [ConcatOutputs(3), MeanOutputs(), MeanNodes()], ids=lambda pool: type(pool).__name__)
def test_only_neurons_that_no_readout_looks_at_are_left_out(case, backbone, pool: Pool) -> None:
    reader, networks = backbone.reader(case.family, pool=pool), case.networks()
    answer = reader(networks)
    reader.backbone.outputs_only = not reader.backbone.outputs_only
    same = torch.allclose(reader(networks), answer, rtol=1e-12, atol=1e-13)
    assert same == (pool.outputs_only and not backbone.whole)


# -- what editors can learn --------------------------------------------------------------------------------------------


@pytest.fixture
def sixteen() -> Networks:
    """Sixteen networks, 2 → 4 → 3."""
    generator = torch.Generator().manual_seed(1)
    return Networks(0.3 * torch.randn(16, LAYOUT.size, generator=generator, dtype=torch.float64), LAYOUT)


def neuron_wise(networks: Networks, generator: torch.Generator) -> Networks:
    """The change that gives every neuron's bias and weights a factor `1 + s/2`, `s` a random function of its bias.

    `s` is a wave with mean 0 and variance 1 in every group: no factor that neurons share comes near it. Editors that
    change nothing leave the whole square of this change, and those that cannot tell neurons apart most of it.
    """
    frequency, phase = torch.rand(2, generator=generator, dtype=torch.float64).tolist()

    def amounts(biases: Tensor) -> Tensor:
        wave = torch.sin((1 + frequency) * biases / biases.std() + 2 * math.pi * phase)
        return 0.5 * (wave - wave.mean()) / wave.std()

    change = networks.with_values(networks.values.clone())
    for layer in range(2):
        amount = amounts(networks.tensor(f"layers.{layer}.bias"))
        change.tensor(f"layers.{layer}.bias").mul_(amount)  # views of change
        change.tensor(f"layers.{layer}.weight").mul_(amount[..., None])
    return change


def test_editors_learn_to_return_what_they_read(sixteen: Networks, backbone) -> None:
    assert_learns_identity(backbone.editor(InputSpec.of([LAYOUT]), sigma=0.5), sixteen)


def test_packed_and_nested_networks_too(generator: torch.Generator) -> None:
    """Query, key and value are read and written through windows of one tensor."""
    layout = INTRICATE["attention"]
    networks = Networks(0.3 * torch.randn(3, layout.size, generator=generator, dtype=torch.float64), layout)
    editor = next(b for b in BACKBONES if b.name == "NG-GNN both ways").editor(InputSpec.of([layout]), sigma=0.5)
    assert_learns_identity(editor, networks, steps=100, rate=0.02)


def test_editors_learn_to_rescale_neuron_by_neuron(sixteen: Networks, backbone, generator: torch.Generator) -> None:
    editor = backbone.editor(InputSpec.of([LAYOUT]), sigma=0.5)
    assert_learns(editor, sixteen, neuron_wise(sixteen, generator), tolerance=0.25)


class OneFactor(nn.Module):
    """Multiplies every tensor by a factor of its own, the same for all neurons of a group."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.zeros(len(LAYOUT.parameters), dtype=torch.float64))

    def forward(self, networks: Networks) -> Networks:
        parts = [networks.values[:, place] for place in LAYOUT.slices.values()]
        return networks.with_values(torch.cat([f * part for f, part in zip(self.factors, parts, strict=True)], 1))


@pytest.mark.parametrize("seed", range(4))
def test_rescaling_is_out_of_reach_for_one_factor_per_tensor(sixteen: Networks, seed: int) -> None:
    """Test the tester: the identity is easy, whatever the random function; the rescaling is far away."""
    target = neuron_wise(sixteen, torch.Generator().manual_seed(seed))
    assert_learns_identity(OneFactor(), sixteen, rate=0.1)
    with pytest.raises(AssertionError, match=r"left: layers.0.weight \((0.9|1.0).* layers.1.weight \((0.9|1.0)"):
        assert_learns(OneFactor(), sixteen, target, rate=0.1, tolerance=0.25)
