"""Canonical signs: the same function, one representative, nothing flipped that must not be."""

import pytest
import torch

from neural_graphs.layout import Layout, MaxPool
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNN, CanonicalSigns
from neural_graphs.nn.spec import InputSpec
from neural_graphs.symmetry import SignFlip, sample_symmetry

INR = Layout.mlp((2, 6, 5, 3), "sine", offset=0.5)
LAYOUTS = {
    "INR": INR,
    "tanh CNN": Layout.cnn((1, 4, 5), (3, 3), 3, activations="tanh"),
    "residual": Layout.cnn((1, 4, 4, 4), (3, 3, 3), 3, activations="tanh", residual=(-1, -1, 0)),
    "flattened": Layout.cnn((1, 4, 5), (3, 3), 3, activations="tanh", places=(2, 2), pool=MaxPool(4)),
    "ReLU": Layout.mlp((2, 6, 3), "relu"),
}


def draw(layout: Layout) -> Networks:
    return Networks(torch.randn(4, layout.size, generator=torch.Generator().manual_seed(0)).double(), layout)


def inputs(layout: Layout) -> torch.Tensor:
    shape = (3, 1, 8, 8) if layout.blocks[0].kernel else (3, 2)
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_function_stays(layout: Layout) -> None:
    networks = draw(layout)
    found = CanonicalSigns(missing_ok=True)(networks)
    torch.testing.assert_close(found.run(inputs(layout)), networks.run(inputs(layout)), rtol=1e-12, atol=1e-12)


def test_flipped_networks_have_one_representative() -> None:
    networks = draw(INR)
    flipped = sample_symmetry(networks, torch.Generator().manual_seed(2), SignFlip).act(networks)
    assert not torch.equal(flipped.values, networks.values)
    assert torch.equal(CanonicalSigns()(flipped).values, CanonicalSigns()(networks).values)
    assert (CanonicalSigns()(networks).tensor("layers.0.bias") > 0).all()


@pytest.mark.parametrize("name", ["residual", "ReLU"])
def test_what_may_not_be_flipped_stays(name: str) -> None:
    layout = LAYOUTS[name]
    found = CanonicalSigns(missing_ok=True)(draw(layout))
    for bias in [group.bias for group in layout.groups if group.bias and name == "ReLU"] or [
        "conv0.bias",
        "conv2.bias",
    ]:
        assert torch.equal(found.tensor(bias), draw(layout).tensor(bias))


def test_mixed_batches_and_channels_like_regular_ones() -> None:
    layouts = [INR, LAYOUTS["tanh CNN"], INR]
    parts = [draw(layout)[0] for layout in layouts]
    found = CanonicalSigns()(Networks.cat(parts))
    for vector, part in zip(found.vectors(), parts, strict=True):
        assert torch.equal(vector, CanonicalSigns()(part).values[0])
    two = Networks(torch.stack([draw(INR).values, 2 * draw(INR).values], -1), INR)
    assert torch.equal(CanonicalSigns()(two).values[..., 1], 2 * CanonicalSigns()(draw(INR)).values)


def test_a_reader_with_signs_is_invariant_to_flips_and_without_is_not() -> None:
    networks = draw(INR)
    flipped = sample_symmetry(networks, torch.Generator().manual_seed(2), SignFlip).act(networks)
    blind = NGGNN(InputSpec.of([INR]), 3, width=8, depth=3, signs=True).double()
    seeing = NGGNN(InputSpec.of([INR]), 3, width=8, depth=3).double()
    assert torch.equal(blind(flipped), blind(networks))
    assert not torch.allclose(seeing(flipped), seeing(networks), rtol=1e-3)
