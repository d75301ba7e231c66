"""What a metanetwork is told of a network beside its numbers, and what it cannot know when it is not told."""

import pytest
import torch

from neural_graphs.graph import AllPairs
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNN, NGT, Ablation
from neural_graphs.nn.spec import InputSpec

SKIPS = {"channels": (2, 4, 4, 4), "kernels": (3, 3, 3), "classes": 3}
WITH = Layout.cnn(**SKIPS, residual=(-1, -1, 0))
WITHOUT = Layout.cnn(**SKIPS)
TANH = Layout.cnn(**SKIPS, activations="tanh")
READERS = {
    "NG-GNN": lambda sight: NGGNN(InputSpec.of([WITH, TANH]), 1, width=8, depth=3, reverse=False, sight=sight),
    "NG-T": lambda sight: NGT(
        InputSpec.of([WITH, TANH]),
        1,
        widths=(8, 6),
        attention=8,
        heads=2,
        hidden=(8, 6),
        wiring=AllPairs(),
        sight=sight,
    ),
}


@pytest.fixture(params=READERS)
def reader(request):
    def make(**seen):
        torch.manual_seed(0)
        return READERS[request.param](Ablation(**seen)).double()

    return make


def values() -> torch.Tensor:
    return torch.randn(2, WITH.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def apart(reader, first: Networks, second: Networks) -> float:
    with torch.no_grad():
        answers = reader(first), reader(second)
    return float((answers[0] - answers[1]).abs().max() / answers[0].abs().max())


@pytest.mark.parametrize(("what", "other"), [("skips", WITHOUT), ("activations", TANH)], ids=["skips", "activations"])
def test_only_who_sees_it_can_tell_layouts_apart(reader, what, other) -> None:
    base = WITH if what == "skips" else WITHOUT
    first, second = Networks(values(), base), Networks(values(), other)
    assert apart(reader(), first, second) > 1e-6
    assert apart(reader(**{what: False}), first, second) < 1e-12


def test_skips_are_out_of_sight_in_mixed_batches_too(reader) -> None:
    blind = reader(skips=False)
    mixed = Networks.cat([Networks(values(), WITH), Networks(values(), TANH)])
    plain = Networks.cat([Networks(values(), WITHOUT), Networks(values(), TANH)])
    assert apart(blind, mixed, plain) < 1e-12


def test_without_positions_input_channels_have_no_order(reader) -> None:
    networks = Networks(values(), WITHOUT)
    (first, second) = ({**state, "conv0.weight": state["conv0.weight"].flip(1)} for state in networks.state_dicts())
    swapped = Networks.from_state_dicts([first, second], WITHOUT)
    assert apart(reader(), networks, swapped) > 1e-6
    assert apart(reader(position=False), networks, swapped) < 1e-12


def test_scalars_apart_have_an_encoder_of_their_own(reader) -> None:
    apart_, together = reader(scalars_apart=True), reader()
    assert together.encoder.scalars is None
    outputs = apart_(Networks(values(), WITH))
    gradients = torch.autograd.grad(outputs.sum(), list(apart_.encoder.scalars.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_the_default_changes_nothing(reader) -> None:
    networks = Networks(values(), WITH)
    assert Ablation().see(networks) is networks
    assert Ablation(skips=False).see(Networks(values(), TANH)).layout == TANH
