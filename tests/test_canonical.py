"""Canonical representatives: one of all networks that differ by signs, scales and order, and edits that come back."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neural_graphs import InputSpec, Layout, Networks, assert_equivariant, assert_invariant
from neural_graphs.errors import LayoutError
from neural_graphs.layout import Activation
from neural_graphs.layout.permissions import SCALES, factor_index
from neural_graphs.nn import (
    NGGNN,
    NGT,
    Canonical,
    CanonicalScales,
    CanonicalSigns,
    CompleteSigns,
    Metanetwork,
    NGGNNEditor,
    NGTEditor,
)
from neural_graphs.nn.canonical import representatives
from neural_graphs.symmetry import Kind, NeuronPermutation, PositiveScale, SignFlip, Symmetry, sample_symmetry, shuffle
from neural_graphs.testing import relative_error, symmetry_error

KINDS = ("sine", "tanh", "relu", "leaky_relu", "none", "gelu")
BOTH = (CanonicalScales(missing_ok=True), CompleteSigns(missing_ok=True))
SMALL = {"widths": (8, 6), "attention": 8, "heads": 2, "hidden": (8, 6), "depth": 2}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def activated(layout: Layout, kinds: Sequence[str]) -> Layout:
    """An MLP whose hidden groups have activations of their own."""
    inner = [replace(g, activation=Activation(k)) for g, k in zip(layout.groups[1:-1], kinds, strict=True)]
    return replace(layout, groups=(layout.groups[0], *inner, layout.groups[-1]))


INR = Layout.mlp((2, 6, 5, 3), "sine", offset=0.5)
MLP = activated(Layout.mlp((2, 6, 5, 4, 3)), ("relu", "none", "tanh"))
CNN = Layout.cnn((1, 4, 5), (3, 3), 3, activations=("leaky_relu", "tanh"))
PARK = Layout.cnn(
    (3, 4, 6, 5, 6), (5, 3, 3, 3), 3, residual=(-1, -1, 0, 1), activations=("relu", "tanh", "leaky_relu", "none")
)
STREAM = Layout.cnn((1, 4, 3, 4, 3, 4), (3,) * 5, 3, residual=(-1, -1, 0, -1, 2), activations=("none",) * 5)
LAYOUTS = {"INR": INR, "mixed MLP": MLP, "CNN": CNN, "residual": PARK, "stream": STREAM}


def draw(layout: Layout, seed: int = 0, count: int = 3) -> Networks:
    return Networks(0.4 * torch.randn(count, layout.size, generator=seeded(seed), dtype=torch.float64), layout)


def mixed() -> Networks:
    return Networks.cat([draw(layout, count=1) for layout in LAYOUTS.values()])


BATCHES = {**{name: draw(layout) for name, layout in LAYOUTS.items()}, "mixed batch": mixed()}


def inputs(layout: Layout) -> Tensor:
    size, image = layout.role_count("input"), bool(layout.blocks[0].kernel)
    shape = (3, size, 6, 6) if image else (3, size)
    return torch.randn(*shape, generator=seeded(1), dtype=torch.float64)


@st.composite
def described(draw: st.DrawFn) -> tuple[bool, list[int], list[str], list[int]]:
    """Whether it is an MLP, sizes, activations and skips of a small network."""
    depth = draw(st.integers(1, 4))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=depth, max_size=depth))
    sizes = draw(st.lists(st.integers(1, 4), min_size=depth, max_size=depth))
    skips = [draw(st.integers(-1, layer - 2)) if layer > 1 else -1 for layer in range(depth)]
    return draw(st.booleans()), sizes, kinds, skips


def moved_by(networks: Networks, seed: int, kinds: Sequence[Kind] = (SignFlip, PositiveScale)) -> Networks:
    for kind in kinds:
        networks = shuffle(networks, seeded(seed), kind, missing_ok=True)
    return networks


def canonical(networks: Networks) -> Networks:
    return representatives(networks, BOTH)[0]


@settings(deadline=None, max_examples=60)
@given(network=described(), seed=st.integers(0, 2**32), biases=st.booleans())
def test_networks_that_differ_by_signs_and_scales_have_one_representative(
    network: tuple[bool, list[int], list[str], list[int]], seed: int, biases: bool
) -> None:
    plain, sizes, kinds, skips = network
    if plain:
        layout = activated(Layout.mlp((2, *sizes, 2)), kinds)
    else:
        layout = Layout.cnn((2, *sizes), (3,) * len(sizes), 2, activations=kinds, residual=skips)
    networks = draw(layout, seed, 2)
    if not biases:
        for group in layout.groups[1:]:
            networks.tensor(str(group.bias)).zero_()  # a view
    expected = canonical(networks)
    torch.testing.assert_close(expected.run(inputs(layout)), networks.run(inputs(layout)), rtol=1e-10, atol=1e-10)
    actual = canonical(moved_by(networks, seed))
    torch.testing.assert_close(actual.values, expected.values, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(canonical(expected).values, expected.values, rtol=1e-10, atol=1e-10)
    order = sample_symmetry(networks, seeded(seed), NeuronPermutation, missing_ok=True)
    permuted = canonical(moved_by(order.act(networks), seed))
    torch.testing.assert_close(permuted.values, order.act(expected).values, rtol=1e-10, atol=1e-10)


def test_what_leads_into_a_neuron_has_norm_one() -> None:
    found = CanonicalScales()(draw(MLP))
    for layer, known in enumerate((True, True, False)):
        weight, bias = found.tensor(f"layers.{layer}.weight"), found.tensor(f"layers.{layer}.bias")
        norms = (weight.square().sum(-1) + bias.square()).sqrt()
        assert torch.allclose(norms, torch.ones_like(norms), rtol=1e-12) == known


def test_neurons_of_a_stream_have_one_factor_and_the_first_of_them_tells_it() -> None:
    found = CanonicalScales()(draw(STREAM))
    index = factor_index(STREAM, SCALES)
    assert index.tolist() == [-1, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 7, 8, 9, 0, 1, 2, 3, -1, -1, -1]
    norms = (found.tensor("conv0.weight").square().sum((2, 3, 4)) + found.tensor("conv0.bias").square()).sqrt()
    assert torch.allclose(norms, torch.ones_like(norms), rtol=1e-12)
    later = found.tensor("conv2.bias") / draw(STREAM).tensor("conv2.bias")
    assert torch.allclose(later, found.tensor("conv0.bias") / draw(STREAM).tensor("conv0.bias"), rtol=1e-12)


def test_neurons_with_zeros_stay_and_gradients_are_finite() -> None:
    networks = draw(MLP)
    networks.tensor("layers.0.weight")[:, 0] = 0  # views
    networks.tensor("layers.0.bias")[:, 0] = 0
    values = networks.values.clone().requires_grad_()
    found = canonical(networks.with_values(values))
    assert torch.isfinite(found.values).all() and (found.tensor("layers.0.weight")[:, 0] == 0).all()
    (gradient,) = torch.autograd.grad(found.values.pow(3).sum(), values)
    assert torch.isfinite(gradient).all()


def test_factors_have_gradients() -> None:
    values = draw(MLP, count=1).values.requires_grad_()
    assert torch.autograd.gradcheck(lambda each: CanonicalScales()(Networks(each, MLP)).values, values)


@pytest.mark.parametrize("name", BATCHES)
def test_mixed_batches_and_channels_like_networks_alone(name: str) -> None:
    networks = BATCHES[name]
    for place, vector in enumerate(canonical(networks).vectors()):
        torch.testing.assert_close(vector, canonical(networks[place]).vectors()[0], rtol=1e-12, atol=1e-14)
    two = networks.with_values(torch.stack([networks.values, 2 * networks.values], -1))
    expected = canonical(networks).values
    torch.testing.assert_close(canonical(two).values, torch.stack([expected, 2 * expected], -1), rtol=1e-14, atol=0)


def test_biases_tell_signs_as_canonical_signs_do_where_there_are_some() -> None:
    networks = draw(INR)
    assert torch.equal(CompleteSigns()(networks).values, CanonicalSigns()(networks).values)
    assert torch.equal(
        CanonicalSigns(missing_ok=True)(draw(STREAM)).tensor("conv0.bias"), draw(STREAM).tensor("conv0.bias")
    )
    assert (CompleteSigns()(draw(STREAM)).tensor("conv0.bias") > 0).all()


def test_nothing_to_multiply_is_an_error() -> None:
    gelu = draw(Layout.mlp((2, 4, 1), "gelu"))
    for make, kind in ((CanonicalScales, "PositiveScale"), (CompleteSigns, "SignFlip"), (CanonicalSigns, "SignFlip")):
        with pytest.raises(LayoutError, match=f"no canonical {make.name}: no {kind} moves .* gelu, which is not"):
            make()(gelu)
        assert torch.equal(make(missing_ok=True)(gelu).values, gelu.values)


def test_tables_are_uploaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = canonical(draw(PARK)).values
    monkeypatch.setattr(torch, "from_numpy", None)
    monkeypatch.setattr(np, "unique", None)
    assert torch.equal(canonical(draw(PARK)).values, before)


# -- readers and editors ----------------------------------------------------------------------------------------------


def build(name: str, family: InputSpec, each: Sequence[Canonical] = BOTH) -> Metanetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        match name:
            case "NG-GNN":
                return NGGNN(family, 3, width=8, depth=2, canonical=each).double()
            case "NG-T":
                return NGT(family, 3, **SMALL, canonical=each).double()  # type: ignore[arg-type]
            case "NG-GNN editor":
                return NGGNNEditor(family, width=8, depth=2, initial=1.0, canonical=each).double()
            case _:
                return NGTEditor(family, **SMALL, initial=1.0, canonical=each).double()  # type: ignore[arg-type]


CASES = [
    (name, kind)
    for name, networks in BATCHES.items()
    for kind in (NeuronPermutation, SignFlip, PositiveScale)
    if any(kind.movable(layout) for layout in networks.layouts)
]


@pytest.mark.parametrize(("batch", "kind"), CASES)
@pytest.mark.parametrize("name", ["NG-GNN", "NG-T"])
def test_any_reader_is_invariant(name: str, batch: str, kind: Kind) -> None:
    networks = BATCHES[batch]
    reader = build(name, InputSpec.of(networks.layouts))
    assert_invariant(reader, networks, seeded(), kind=kind)
    assert torch.allclose(
        reader.embed(networks), reader.embed(shuffle(networks, seeded(), kind)), rtol=1e-9, atol=1e-11
    )
    if kind is not NeuronPermutation:
        with pytest.raises(AssertionError, match=f"moved by a {kind.__name__}"):
            assert_invariant(build(name, InputSpec.of(networks.layouts), ()), networks, seeded(), kind=kind)


@pytest.mark.parametrize(("batch", "kind"), CASES)
@pytest.mark.parametrize("name", ["NG-GNN editor", "NG-T editor"])
def test_edits_of_any_editor_move_along(name: str, batch: str, kind: Kind) -> None:
    networks = BATCHES[batch]
    assert_equivariant(build(name, InputSpec.of(networks.layouts)), networks, seeded(), kind=kind)
    if kind is not NeuronPermutation:
        with pytest.raises(AssertionError, match="edits do not move along"):
            assert_equivariant(build(name, InputSpec.of(networks.layouts), ()), networks, seeded(), kind=kind)


def test_editing_and_moving_commute_for_what_is_drawn() -> None:
    """The edited networks draw the same, whichever of all representatives was edited."""
    editor, networks = build("NG-GNN editor", InputSpec.of([MLP])), draw(MLP)
    for kind in (SignFlip, PositiveScale):
        symmetry = sample_symmetry(networks, seeded(), kind)
        assert symmetry_error(lambda each: each + editor(each), networks, symmetry) < 1e-10
        with torch.no_grad():
            drawn = [(each + editor(each)).run(inputs(MLP)) for each in (networks, symmetry.act(networks))]
        assert relative_error(drawn[1], drawn[0]) < 1e-10


def test_edits_with_several_channels_come_back_too() -> None:
    editor = NGGNNEditor(InputSpec.of([INR]), width=8, depth=2, channels=2, initial=1.0, canonical=BOTH).double()
    assert_equivariant(editor, draw(INR), seeded(), kind=SignFlip)


class Composite(Symmetry):
    """A scale of every neuron and then a sign."""

    def __init__(self, networks: Networks) -> None:
        self.each = [sample_symmetry(networks, seeded(), kind) for kind in (PositiveScale, SignFlip)]

    def act(self, networks: Networks) -> Networks:
        return self.each[1].act(self.each[0].act(networks))


def test_signs_before_scales_are_not_enough() -> None:
    """Test the test: without biases a sign hangs on the scales of what is summed up, which have to be known."""
    linear = activated(Layout.mlp((2, 8, 8, 8, 1)), ("none",) * 3)
    networks = draw(linear)
    for layer in range(4):
        networks.tensor(f"layers.{layer}.bias").zero_()  # a view
    symmetry = Composite(networks)
    reader = build("NG-GNN", InputSpec.of([linear]))
    assert symmetry_error(reader, networks, symmetry) < 1e-10
    reader.canonical = torch.nn.ModuleList(reversed(BOTH))
    assert symmetry_error(reader, networks, symmetry) > 1e-3


def test_edits_that_are_not_carried_back_do_not_move_along() -> None:
    """Test the test: the edit of the representative alone is not the edit of the network."""
    editor = build("NG-GNN editor", InputSpec.of([MLP]))
    alone = build("NG-GNN editor", InputSpec.of([MLP]), ())
    with pytest.raises(AssertionError, match="edits do not move along"):
        assert_equivariant(lambda each: alone(canonical(each)), draw(MLP), seeded(), kind=PositiveScale)
    assert_equivariant(editor, draw(MLP), seeded(), kind=PositiveScale)
