"""Symmetries: which neurons may move, composition and inverses, exactness, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Activation, Atom, Block, Group, Layout, MaxPool, Parameter, Product, Skip
from neural_graphs.layout.permissions import SCALES, factor_index, reasons
from neural_graphs.layout.strides import Table
from neural_graphs.networks import Networks
from neural_graphs.symmetry import (
    Element,
    Kind,
    NeuronPermutation,
    PerNetwork,
    PositiveScale,
    SignFlip,
    Symmetry,
    sample_symmetry,
    shuffle,
)

INR = Layout.mlp((2, 5, 4, 3), activation="sine", offset=0.5)
MLP = Layout.mlp((2, 5, 4, 3))
PARK = Layout.cnn(
    (3, 4, 6, 5, 6), kernels=(5, 3, 7, 3), classes=4, residual=(-1, -1, 0, 1),
    activations=("relu", "tanh", "leaky_relu", "none"),
)  # fmt: skip
FLAT = Layout.cnn((1, 4, 3), kernels=(3, 5), classes=5, places=(2, 2), pool=MaxPool(4))
POOLED = Layout.cnn((1, 4, 3), (3, 3), 5, activations="tanh", places=(2, 2), pool=MaxPool(2))
LAYOUTS = [INR, MLP, PARK, FLAT]
KINDS: list[Kind] = [NeuronPermutation, SignFlip, PositiveScale]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(layout: Layout, count: int = 3, channels: tuple[int, ...] = ()) -> Networks:
    return Networks(torch.randn(count, layout.size, *channels, generator=seeded(), dtype=torch.float64), layout)


def mixed() -> Networks:
    return Networks.cat([draw(INR, 2), draw(PARK, 1), draw(MLP, 2)])


def test_reordering_two_hidden_neurons_swaps_rows_and_columns() -> None:
    layout = Layout.mlp((2, 3, 1))
    networks = Networks(torch.arange(13.0)[None], layout)
    moved = NeuronPermutation(layout, {"layers.0": np.array([1, 0, 2])}).act(networks).state_dicts()[0]
    assert moved["layers.0.weight"].tolist() == [[2, 3], [0, 1], [4, 5]]
    assert moved["layers.0.bias"].tolist() == [7, 6, 8]
    assert moved["layers.1.weight"].tolist() == [[10, 9, 11]]
    assert moved["layers.1.bias"].tolist() == [12]


def test_scaling_a_hidden_neuron_scales_what_it_reads_and_divides_what_reads_it() -> None:
    layout = Layout.mlp((2, 3, 1))
    networks = Networks(torch.ones(1, 13), layout)
    moved = PositiveScale(layout, None, {"layers.0": np.array([1.0, 4.0, 1.0])}).act(networks).state_dicts()[0]
    assert moved["layers.0.weight"].tolist() == [[1, 1], [4, 4], [1, 1]]
    assert moved["layers.0.bias"].tolist() == [1, 4, 1]
    assert moved["layers.1.weight"].tolist() == [[1, 0.25, 1]]


def test_kernels_are_carried_along_whole() -> None:
    networks = draw(FLAT, 1)
    order = np.array([2, 0, 1])
    moved = NeuronPermutation(FLAT, {FLAT.free_atoms[1].name: order}).act(networks).state_dicts()[0]
    before = networks.state_dicts()[0]
    assert torch.equal(moved["conv1.weight"], before["conv1.weight"][order])
    assert torch.equal(moved["fc.weight"].reshape(5, 3, 4), before["fc.weight"].reshape(5, 3, 4)[:, order])
    assert torch.equal(moved["conv0.weight"], before["conv0.weight"])


def test_tied_neurons_move_together() -> None:
    element = NeuronPermutation.sample(PARK, seeded())
    orders = element.group_orders
    assert np.array_equal(orders[1], orders[3][:4]) and np.array_equal(orders[2], orders[4])
    factors = PositiveScale.sample(PARK, seeded()).group_factors
    assert np.array_equal(factors[1], factors[3][:4])
    assert not (factors[1] == 1).any() and not (factors[3][4:] == 1).any()


def multiplied(layout: Layout, kind: type[SignFlip | PositiveScale]) -> dict[str, int]:
    """The groups with neurons that may be multiplied, and how many."""
    return {layout.groups[layout.neuron_group[each[0]]].name: each.size for each in kind.movable(layout)}


@pytest.mark.parametrize(
    ("layout", "kind", "free"),
    [
        (INR, SignFlip, {"layers.0": 5, "layers.1": 4}),
        (INR, PositiveScale, {}),
        (MLP, SignFlip, {}),
        (MLP, PositiveScale, {"layers.0": 5, "layers.1": 4}),
        (PARK, SignFlip, {"conv1": 6, "conv3": 6}),  # tanh tied to none; relu and leaky_relu stay
        (PARK, PositiveScale, {"conv0": 4, "conv2": 5}),  # relu tied to leaky_relu; tanh binds its partner
        (FLAT, PositiveScale, {"conv0": 4, "conv1": 3}),
        (
            Layout.cnn((1, 4, 3), (3, 3), 5, activations="tanh", places=(2, 2), pool=MaxPool(2)),
            SignFlip,
            {"conv0": 4},
        ),
        (Layout.mlp((2, 5, 3), "gelu"), SignFlip, {}),
        (Layout.mlp((2, 5, 3), "sigmoid"), PositiveScale, {}),
        (Layout.mlp((2, 5, 3), "none"), SignFlip, {"layers.0": 5}),
    ],
)
def test_only_activations_that_allow_it_are_multiplied(
    layout: Layout, kind: type[SignFlip | PositiveScale], free: dict[str, int]
) -> None:
    assert multiplied(layout, kind) == free
    factors = kind.sample(layout, seeded(), missing_ok=True).group_factors
    changed = {group.name for group, each in zip(layout.groups, factors, strict=True) if (each != 1).any()}
    assert changed <= set(free) and bool(changed) == bool(free)


def test_a_constant_after_the_activation_forbids_scaling() -> None:
    shifted = tuple(replace(g, offset=0.5) if g.name == "layers.0" else g for g in MLP.groups)
    layout = replace(MLP, groups=shifted)
    assert multiplied(layout, PositiveScale) == {"layers.1": 4}


def test_depthwise_convolutions_part_the_scales_that_they_permute_together() -> None:
    """A weight between two neurons takes up the ratio of their scales; a skip has no number that could."""
    axis = Atom("channels", 4, free=True)
    groups = (
        Group("input", Atom("input", 3), "input"),
        Group("conv", axis, activation=Activation("relu")),
        Group("depthwise", axis, activation=Activation("relu")),
        Group("output", Atom("output", 2), "output"),
    )
    blocks = (Block(0, 1, "a"), Block(1, 2, "b", joins=Table.one_to_one(4)), Block(2, 3, "c"))
    layout = Layout(groups, blocks, (Parameter("a", (4, 3)), Parameter("b", (4,)), Parameter("c", (2, 4))))
    assert factor_index(layout, SCALES).tolist() == [-1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7, -1, -1]
    skip = Block(1, 2, None, operator=Skip(), span=4)
    joined = replace(layout, blocks=(*blocks[:2], skip, blocks[2]))
    assert factor_index(joined, SCALES).tolist() == [-1, -1, -1, 0, 1, 2, 3, 0, 1, 2, 3, -1, -1]
    barred = tuple(replace(g, activation=Activation("gelu")) if g.name == "depthwise" else g for g in groups)
    assert (factor_index(replace(joined, groups=barred), SCALES) == -1).all()
    (why,) = [each for each in reasons(replace(joined, groups=barred), SCALES) if each.startswith("conv")]
    assert why == "conv is joined to depthwise, which has the activation gelu, which is not positively homogeneous"


def test_a_tensor_that_is_read_twice_is_multiplied_by_nobody() -> None:
    groups = tuple(
        Group(name, Atom(name, 3, free=name not in "io"), role, activation=Activation(kind))
        for name, role, kind in (("i", "input", "none"), ("a", "hidden", "relu"), ("b", "hidden", "relu"),
                                 ("c", "hidden", "relu"), ("o", "output", "none"))
    )  # fmt: skip
    blocks = (Block(0, 1, "w"), Block(1, 2, "v"), Block(2, 3, "v", shared=True), Block(3, 4, "u"))
    layout = Layout(groups, blocks, tuple(Parameter(name, (3, 3)) for name in "wvu"))
    assert (factor_index(layout, SCALES) == -1).all()
    with pytest.raises(LayoutError, match=r"\['v'\] are read more than once, and this symmetry multiplies"):
        _ = PositiveScale(layout, None, {"a": np.array([1.0, 2.0, 3.0])}).place_factors


@settings(deadline=None, max_examples=50)
@given(
    layout=st.sampled_from(range(len(LAYOUTS))), kinds=st.tuples(*[st.sampled_from(range(3))] * 2),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_elements_form_a_group(layout: int, kinds: tuple[int, int], seed: int) -> None:
    networks, generator = draw(LAYOUTS[layout], 2), seeded(seed)
    first, then = (KINDS[kind].sample(LAYOUTS[layout], generator, missing_ok=True) for kind in kinds)
    product = then @ first
    expected = then.act(first.act(networks)).values
    torch.testing.assert_close(product.act(networks).values, expected, rtol=1e-14, atol=0)
    back = product.inverse().act(product.act(networks)).values
    torch.testing.assert_close(back, networks.values, rtol=1e-14, atol=0)
    torch.testing.assert_close((product @ product.inverse()).act(networks).values, networks.values, rtol=1e-14, atol=0)


@pytest.mark.parametrize("kind", [NeuronPermutation, SignFlip])
@pytest.mark.parametrize("networks", [*map(draw, LAYOUTS), mixed()], ids=[*map(str, LAYOUTS), "mixed"])
def test_reordering_and_flipping_are_exact(networks: Networks, kind: Kind) -> None:
    symmetry = sample_symmetry(networks, seeded(), kind, missing_ok=True)
    assert torch.equal(symmetry.inverse().act(symmetry.act(networks)).values, networks.values)
    once, twice = symmetry.act(symmetry.act(networks)), (symmetry @ symmetry).act(networks)
    assert torch.equal(once.values, twice.values)
    for before, after in zip(networks.vectors(), symmetry.act(networks).vectors(), strict=True):
        assert torch.equal(before.abs().sort().values, after.abs().sort().values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("networks", [draw(PARK), draw(PARK, 2, (4,)), mixed()], ids=["regular", "channels", "mixed"])
def test_a_batch_moves_as_its_networks_do_alone(networks: Networks, kind: Kind) -> None:
    symmetry = sample_symmetry(networks, seeded(), kind, missing_ok=True)
    moved = symmetry.act(networks)
    for place, element in enumerate(symmetry.elements):
        alone = element.act(networks[place])
        assert torch.equal(alone.values, moved[place].values)
    assert torch.equal(shuffle(networks, seeded(), kind, missing_ok=True).values, moved.values)


@pytest.mark.parametrize("kind", KINDS)
def test_acting_is_linear(kind: Kind) -> None:
    networks, edit = mixed(), mixed() * 0.1
    symmetry = sample_symmetry(networks, seeded(), kind, missing_ok=True)
    expected = symmetry.act(networks) + symmetry.act(edit)
    torch.testing.assert_close(symmetry.act(networks + edit).values, expected.values, rtol=1e-12, atol=1e-14)


def test_every_network_is_shuffled_in_its_own_way_and_the_seed_repeats_it() -> None:
    twins = Networks(torch.arange(float(MLP.size)).expand(4, -1), MLP)
    moved = shuffle(twins, seeded()).values
    assert len(moved.unique(dim=0)) == 4
    assert torch.equal(moved, shuffle(twins, seeded()).values)
    assert not torch.equal(moved, shuffle(twins, seeded(1)).values)
    assert torch.equal(twins.values[0], torch.arange(float(MLP.size)))  # nothing is written to


def test_one_element_acts_on_every_network_of_its_layout() -> None:
    element = NeuronPermutation.sample(MLP, seeded())
    loose = Networks(draw(MLP).values.flatten(), [MLP] * 3)
    assert torch.equal(element.act(draw(MLP)).values.flatten(), element.act(loose).values)


def test_precision_is_that_of_the_networks() -> None:
    for kind in KINDS:
        assert shuffle(draw(MLP).to(torch.float32), seeded(), kind, missing_ok=True).values.dtype == torch.float32


def test_nested_axes_multiply() -> None:
    heads, features = Atom("heads", 2, free=True), Atom("features", 3, free=True)
    groups = tuple(
        replace(g, axis=Product((heads, features))) if g.size == 6 else g for g in Layout.mlp((2, 6, 1)).groups
    )
    layout = replace(Layout.mlp((2, 6, 1)), groups=groups)
    element = PositiveScale(layout, None, {"heads": np.array([1.0, 2.0]), "features": np.array([1.0, 10.0, 100.0])})
    assert element.group_factors[1].tolist() == [1, 10, 100, 2, 20, 200]
    moved = NeuronPermutation(layout, {"heads": np.array([1, 0]), "features": np.array([1, 2, 0])})
    assert moved.group_orders[1].tolist() == [4, 5, 3, 1, 2, 0]


def test_refusals_say_what_to_do() -> None:
    element = NeuronPermutation.sample(MLP, seeded())
    with pytest.raises(LayoutError, match=r"network 0, 2 → 5 → 4 → 3 · sine; draw one .* sample_symmetry"):
        element.act(draw(INR))
    with pytest.raises(LayoutError, match=r"3 symmetries of .* cannot act on 2 networks"):
        PerNetwork([element] * 3).act(draw(MLP, 2))
    with pytest.raises(LayoutError, match="do not compose"):
        _ = element @ NeuronPermutation.sample(INR, seeded())
    with pytest.raises(LayoutError, match=r"is free to permute \['layers.0', 'layers.1'\], not \['input'\]"):
        NeuronPermutation(MLP, {"input": np.array([1, 0])})
    with pytest.raises(LayoutError, match=r"axis 'layers.0' needs 5 factors, got an array \(4,\)"):
        SignFlip(MLP, None, {"layers.0": np.ones(4)}).act(draw(MLP))
    with pytest.raises(TypeError):
        _ = element @ PerNetwork([element])
    with pytest.raises(TypeError):
        _ = PerNetwork([element]) @ element
    with pytest.raises(TypeError, match="Symmetry is abstract"):
        Symmetry().act(draw(MLP))
    with pytest.raises(TypeError, match="Symmetry is abstract"):
        Symmetry().inverse()
    with pytest.raises(TypeError, match="Symmetry is abstract"):
        _ = Symmetry() @ element


def test_a_skip_between_groups_that_do_not_share_their_neurons_is_noticed() -> None:
    apart = tuple(replace(g, axis=Atom("apart", g.size, free=True)) if i == 4 else g for i, g in enumerate(PARK.groups))
    layout = replace(PARK, groups=apart)
    with pytest.raises(LayoutError, match="one-to-one block joins conv1 to conv3, but this symmetry reorders"):
        shuffle(draw(layout), seeded())
    linear = replace(layout, groups=tuple(replace(g, activation=Activation()) for g in layout.groups))
    with pytest.raises(LayoutError, match="this symmetry scales the neurons it ties differently"):
        PositiveScale(linear, None, {"apart": 1.0 + np.arange(6)}).act(draw(linear))
    networks = draw(linear)
    moved = shuffle(networks, seeded(), PositiveScale)  # it knows what is joined, whatever the axes
    assert not torch.equal(moved.values, networks.values)


def test_products_keep_their_kind_where_they_have_one() -> None:
    first, second = NeuronPermutation.sample(MLP, seeded()), PositiveScale.sample(MLP, seeded())
    assert type(first @ first) is NeuronPermutation
    assert type(first @ second) is Element
