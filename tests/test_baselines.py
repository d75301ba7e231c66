"""The baselines: what they read, what they are blind to, and what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn.baselines import FlatMLP, Inr2Vec, SetNN, StatNN
from neural_graphs.nn.group_statistics import statistics
from neural_graphs.nn.spec import InputSpec
from neural_graphs.testing import assert_invariant

LAYOUT = Layout.mlp((2, 5, 4, 1), activation="sine")
DEEPER = Layout.mlp((2, 5, 4, 3, 1), activation="sine")
FAMILY = InputSpec.of([LAYOUT])


def random_networks(count: int, layout: Layout = LAYOUT, seed: int = 0) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    return Networks(torch.randn(count, layout.size, generator=generator, dtype=torch.float64), layout)


def shuffled(networks: Networks, order: list[int]) -> Networks:
    """The same functions with the neurons of the first hidden layer in another order."""
    states = networks.state_dicts()
    for state in states:
        state["layers.0.weight"] = state["layers.0.weight"][order]
        state["layers.0.bias"] = state["layers.0.bias"][order]
        state["layers.1.weight"] = state["layers.1.weight"][:, order]
    return Networks.from_state_dicts(states, networks.layout)


@given(st.integers(1, 40), st.integers(0, 99))
def test_statistics_are_those_of_numpy(size, seed) -> None:
    values = torch.randn(3, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = values.numpy()
    quantiles = np.quantile(rows, (0, 0.25, 0.5, 0.75, 1), axis=1).T
    expected = np.concatenate((rows.mean(1)[:, None], rows.var(1)[:, None], quantiles), 1)
    np.testing.assert_allclose(statistics(values).numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("baseline", [FlatMLP(FAMILY, 3), StatNN(FAMILY, 3)], ids=["flat", "statistics"])
def test_outputs_gradients_and_companions(baseline) -> None:
    baseline = baseline.double()
    networks = random_networks(6)
    baseline.fit_statistics(networks)
    outputs = baseline(networks)
    assert outputs.shape == (6, 3)
    torch.testing.assert_close(outputs[2:3], baseline(networks[2]), rtol=1e-12, atol=1e-12)
    outputs.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in baseline.parameters())


@pytest.mark.parametrize("baseline", [FlatMLP(FAMILY, 3), StatNN(FAMILY, 3)], ids=["flat", "statistics"])
def test_the_training_networks_have_mean_0_and_spread_1(baseline) -> None:
    baseline = baseline.double()
    networks = random_networks(50)
    baseline.fit_statistics(networks)
    seen = baseline.standardise(baseline.features(networks))
    varying = baseline.features(networks).std(0) > 0  # the statistics of one number do not all vary
    torch.testing.assert_close(seen.mean(0), torch.zeros_like(seen[0]), rtol=0, atol=1e-12)
    torch.testing.assert_close(seen.std(0, correction=0)[varying], torch.ones_like(seen[0][varying]))
    assert {"standardise.mean", "standardise.spread"} <= set(baseline.state_dict())


def test_only_the_flat_mlp_sees_the_order_of_neurons() -> None:
    networks = random_networks(4)
    other = shuffled(networks, [3, 1, 4, 0, 2])
    flat, statistical = FlatMLP(FAMILY, 3).double(), StatNN(FAMILY, 3).double()
    torch.testing.assert_close(statistical(networks), statistical(other), rtol=1e-12, atol=1e-12)
    assert (flat(networks) - flat(other)).abs().max() > 1e-3


def test_statnn_mixes_depths_without_mixing_networks() -> None:
    mixed = Networks.cat([random_networks(2), random_networks(1, DEEPER), random_networks(1, seed=1)])
    model = StatNN(InputSpec.of([LAYOUT, DEEPER]), 2).double()
    alone = torch.cat([model(mixed[i]) for i in range(4)])
    torch.testing.assert_close(model(mixed), alone, rtol=1e-12, atol=1e-12)
    with pytest.raises(LayoutError, match=r"reads 6 tensors.*has 8"):
        StatNN(FAMILY, 2).double()(mixed)


def test_flat_mlp_names_the_size_it_cannot_read() -> None:
    with pytest.raises(LayoutError, match=rf"reads networks of {LAYOUT.size} parameters.*has {DEEPER.size}"):
        FlatMLP(FAMILY, 3).double()(random_networks(1, DEEPER))


MIXED = [LAYOUT, DEEPER, Layout.cnn((1, 3, 4), (3, 5), 2, residual=(-1, 0))]


def set_nn(layouts: list[Layout]) -> SetNN:
    torch.manual_seed(0)
    return SetNN(InputSpec.of(layouts), 3, width=8).double()


def test_a_set_of_numbers_is_the_same_for_every_permutation_alone_and_in_company() -> None:
    module, parts = set_nn(MIXED), [random_networks(1, layout) for layout in MIXED]
    assert_invariant(module, Networks.cat(parts))
    together = module(Networks.cat(parts))
    for place, part in enumerate(parts):
        torch.testing.assert_close(together[place], module(part)[0], rtol=1e-11, atol=1e-12)
    together.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_a_set_of_numbers_does_not_see_which_weights_a_neuron_has() -> None:
    """Exchanging two weights within a hidden layer is no symmetry of a network, and changes nothing here."""
    module, networks = set_nn([LAYOUT]), random_networks(2)
    state = networks.state_dicts()
    for each in state:
        each["layers.1.weight"][[0, 1], 2] = each["layers.1.weight"][[1, 0], 2]
    moved = Networks.from_state_dicts(state, LAYOUT)
    torch.testing.assert_close(module(moved), module(networks), rtol=1e-11, atol=1e-12)
    for each in state:
        each["layers.0.weight"] = each["layers.0.weight"].flip(1)  # inputs have places
    assert not torch.allclose(module(Networks.from_state_dicts(state, LAYOUT)), module(networks), rtol=1e-6)


def inr2vec(layouts: list[Layout]) -> Inr2Vec:
    torch.manual_seed(0)
    return Inr2Vec(InputSpec.of(layouts), 3, hidden=(12, 8), head=(6,)).double()


def test_rows_are_read_alone_and_in_company_whatever_tensor_they_are_of() -> None:
    module, parts = inr2vec(MIXED), [random_networks(2, layout) for layout in MIXED]
    together = module(Networks.cat(parts))
    torch.testing.assert_close(together, torch.cat([module(part) for part in parts]), rtol=1e-11, atol=1e-12)
    together.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())
    assert module(parts[0][:0]).shape == (0, 3)


def test_rows_have_no_places_but_columns_do() -> None:
    """Rows of one matrix in another order are not seen; a permutation of neurons moves columns, too, and is."""
    module, networks = inr2vec([LAYOUT]), random_networks(2)
    state, order = networks.state_dicts(), [3, 1, 4, 0, 2]
    for each in state:
        each["layers.0.weight"] = each["layers.0.weight"][order]
    moved = Networks.from_state_dicts(state, LAYOUT)
    torch.testing.assert_close(module(moved), module(networks), rtol=1e-11, atol=1e-12)
    assert not torch.allclose(module(shuffled(networks, order)), module(networks), rtol=1e-6)


def test_inr2vec_names_the_rows_it_cannot_read() -> None:
    with pytest.raises(LayoutError, match=r"reads rows of 5 numbers; layers\.0\.bias of .* has 9"):
        inr2vec([LAYOUT])(random_networks(1, Layout.mlp((2, 9, 9, 1))))
