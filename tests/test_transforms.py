"""Augmentations do what they say: same function, moved image, or noise of the size that was asked for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.networks.execution import run_each
from neural_graphs.symmetry import NeuronPermutation, PerNetwork, SignFlip
from neural_graphs.zoo import transforms as tr

SIREN = Layout.mlp((2, 6, 5, 1), activation="sine", names="layers.{}", scale=30.0, offset=0.5)
RELU = Layout.mlp((2, 6, 5, 3), activation="relu")
POINTS = torch.linspace(-1, 1, 22, dtype=torch.float64).reshape(11, 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(layout=SIREN, count=7, dtype=torch.float64):
    return Networks(torch.randn(count, layout.size, generator=generator(5), dtype=dtype) / 30, layout)


EVERY = [
    tr.Permute(),
    tr.FlipSigns(),
    tr.Translate(),
    tr.Rotate(),
    tr.Zoom(),
    tr.TranslateDeep(),
    tr.Noise(),
    tr.Dropout(0.2),
    tr.Sometimes(tr.Noise(), 0.6),
    tr.Compose([tr.Rotate(), tr.Permute()]),
]


@pytest.mark.parametrize("transform", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_given_stay_and_the_seed_decides(transform, dtype):
    networks = batch(dtype=dtype)
    before = networks.values.clone()
    one, same, other = (transform(networks, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(networks.values, before) and one.layout == SIREN and one.values.dtype == dtype
    assert torch.equal(one.values, same.values)
    assert not torch.equal(one.values, other.values)
    assert not torch.equal(one.values, before)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.25, 1.0]))
def test_exact_transforms_keep_every_function(seed, size):
    networks = batch() * size
    exact = [tr.Permute(), tr.FlipSigns(), tr.Sometimes(tr.Permute(), 0.5), tr.Compose([tr.FlipSigns(), tr.Permute()])]
    for transform in exact:
        assert transform.exact
        moved = transform(networks, generator(seed))
        torch.testing.assert_close(moved.run(POINTS), networks.run(POINTS), rtol=1e-11, atol=1e-12)
    relu = batch(RELU)
    rescaled = tr.Rescale()(relu, generator(seed))
    assert not torch.equal(rescaled.values, relu.values) and tr.Rescale.exact
    torch.testing.assert_close(rescaled.run(POINTS), relu.run(POINTS), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("transform", [each for each in EVERY if not each.exact], ids=repr)
def test_the_others_change_functions(transform):
    networks = batch()
    difference = transform(networks, generator()).run(POINTS) - networks.run(POINTS)
    assert difference.abs().max() > 1e-4


def test_exactness_of_a_chain_is_that_of_its_weakest_part():
    assert tr.Compose([]).exact and not tr.Compose([tr.Permute(), tr.Noise()]).exact
    assert not tr.Sometimes(tr.Noise()).exact


@pytest.mark.parametrize("motion", [tr.Translate(0.3), tr.Rotate(40.0), tr.Zoom(0.4)], ids=repr)
@pytest.mark.parametrize("layout", [SIREN, RELU], ids=str)
def test_a_moved_network_at_x_is_the_network_at_the_moved_x(motion, layout):
    networks = batch(layout)
    matrix, shift = motion.draw(networks, generator(3))
    expected = run_each(networks, torch.einsum("nij,pj->npi", matrix, POINTS) + shift[:, None])
    torch.testing.assert_close(motion(networks, generator(3)).run(POINTS), expected, rtol=1e-11, atol=1e-12)
    assert len({*zip(matrix.flatten(1).sum(1).tolist(), shift.sum(1).tolist(), strict=True)}) == 7  # one for each


def test_motions_are_what_their_names_say_within_their_limits():
    networks = batch(count=500)
    matrix, shift = tr.Rotate(30.0).draw(networks, generator())
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(2).double().expand(500, 2, 2), rtol=1e-12, atol=1e-12)
    angles = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert (torch.linalg.det(matrix) > 0).all() and not shift.any()
    assert 25 < angles.max() <= 30 and -30 <= angles.min() < -25
    matrix, shift = tr.Translate(0.2).draw(networks, generator())
    assert torch.equal(matrix[0], torch.eye(2).double()) and 0.18 < shift.abs().max() <= 0.2
    matrix, shift = tr.Zoom(0.1).draw(networks, generator())
    assert 0.9 <= matrix[:, 0, 0].min() < 0.92 and 1.08 < matrix[:, 1, 1].max() <= 1.1 and not matrix[:, 0, 1].any()


def test_a_deep_translation_touches_one_bias_and_is_exact_in_the_first_layer():
    networks = batch(count=60)
    moved = tr.TranslateDeep(0.25)(networks, generator())
    difference = (moved - networks).state_dicts()
    changed = [[name for name, tensor in each.items() if tensor.any()] for each in difference]
    assert {len(each) for each in changed} == {1}
    assert {each[0] for each in changed} == {"layers.0.bias", "layers.1.bias", "layers.2.bias"}
    first = [place for place, each in enumerate(changed) if each == ["layers.0.bias"]]
    shift = 0.25 * (2 * torch.rand(60, 2, generator=generator()).double() - 1)
    expected = run_each(networks[first], POINTS + shift[first][:, None])
    torch.testing.assert_close(moved[first].run(POINTS), expected, rtol=1e-11, atol=1e-12)


def test_noise_is_noise_of_a_tenth_of_each_tensors_deviation():
    networks = batch(count=400)
    for name, tensor in (tr.Noise(0.1)(networks, generator()) - networks).state_dicts()[0].items():
        assert name == "layers.2.bias" or tensor.unique().numel() == tensor.numel()  # not one constant
    noise = (tr.Noise(0.1)(networks, generator()) - networks).values
    for name, where in SIREN.slices.items():
        if SIREN.shapes[name] == (1,):  # a single number has no deviation
            assert not noise[:, where].any()
            continue
        relative = noise[:, where] / networks.values[:, where].std(dim=1, correction=0, keepdim=True)
        assert relative.std().item() == pytest.approx(0.1, rel=0.05)
        assert abs(relative.mean().item()) < 4 * 0.1 / math.sqrt(relative.numel())


def test_dropout_zeroes_its_part_of_the_weights_and_no_bias():
    networks = batch(count=2000)
    dropped = tr.Dropout(0.01)(networks, generator())
    for name in SIREN.slices:
        zero, kept = dropped.tensor(name) == 0, dropped.tensor(name) == networks.tensor(name)
        assert (zero | kept).all()
        assert zero.double().mean().item() == pytest.approx(0.0 if name.endswith("bias") else 0.01, abs=2e-3)
    assert not tr.Dropout(1.0)(networks, generator()).tensor("layers.1.weight").any()
    assert torch.equal(tr.Dropout(0.0)(networks, generator()).values, networks.values)


def test_sometimes_changes_its_share_of_networks():
    networks = batch(count=2000)
    changed = (tr.Sometimes(tr.Noise(), 0.3)(networks, generator()) - networks).values.any(dim=1)
    assert changed.double().mean().item() == pytest.approx(0.3, abs=0.04)
    assert not (tr.Sometimes(tr.Noise(), 0.0)(networks, generator()) - networks).values.any()


@pytest.mark.parametrize(
    "wrong", [lambda: tr.Dropout(1.5), lambda: tr.Noise(-0.1), lambda: tr.Rotate(270.0), lambda: tr.Zoom(math.nan)]
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"expected a number from 0 to"):
        wrong()


def test_networks_that_are_no_implicit_images_are_refused():
    cnn = Layout.cnn((1, 4), kernels=(3,), classes=2)
    with pytest.raises(LayoutError, match="chain of linear layers"):
        tr.Translate()(batch(cnn), generator())
    with pytest.raises(LayoutError, match="reads 3 inputs"):
        tr.Rotate()(batch(Layout.mlp((3, 4, 1), activation="sine")), generator())
    mixed = Networks(torch.zeros(SIREN.size + RELU.size), (SIREN, RELU))
    with pytest.raises(LayoutError, match="mixed"):
        tr.Noise()(mixed, generator())


def former_permute(networks, random):
    orders = [[torch.randperm(size, generator=random).numpy() for size in (6, 5)] for _ in range(7)]
    each = [NeuronPermutation(SIREN, {"layers.0": one, "layers.1": two}) for one, two in orders]
    return PerNetwork(each).act(networks).values


def former_flips(networks, random):
    signs = [[1.0 - 2.0 * torch.randint(0, 2, (size,), generator=random).numpy() for size in (6, 5)] for _ in range(7)]
    return (
        PerNetwork([SignFlip(SIREN, None, {"layers.0": one, "layers.1": two}) for one, two in signs])
        .act(networks)
        .values
    )


def former_noise(networks, random):
    noise = torch.randn(7, SIREN.size, generator=random).double()
    parts = [networks.values[:, where] for where in SIREN.slices.values()]
    return networks.values + 0.1 * noise * torch.cat(
        [part.std(dim=1, correction=0, keepdim=True).expand_as(part) for part in parts], 1
    )


def former_dropout(networks, random):
    kept = torch.rand(7, SIREN.size, generator=random).double() >= 0.2
    biases = torch.cat([torch.full((p.size,), p.name.endswith("bias")) for p in SIREN.parameters])
    return networks.values * (kept | biases)


def former_zoom(networks, random):
    moved = networks.values.clone()
    moved[:, SIREN.slices["layers.0.weight"]] *= 1 + 0.2 * (-1 + 2 * torch.rand(7, 1, generator=random).double())
    return moved


FORMER = {
    tr.Permute(): former_permute,
    tr.FlipSigns(): former_flips,
    tr.Noise(): former_noise,
    tr.Dropout(0.2): former_dropout,
    tr.Zoom(): former_zoom,
}


@pytest.mark.parametrize("transform", FORMER, ids=repr)
def test_a_seed_gives_the_numbers_that_it_always_gave(transform):
    networks = batch()
    expected = FORMER[transform](networks, generator(3))
    assert torch.equal(transform(networks, generator(3)).values, expected)
    assert not torch.equal(transform(networks, generator(4)).values, expected)
