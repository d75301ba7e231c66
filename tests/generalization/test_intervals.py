"""Conformal margins hold as often as promised; distances tell the known from the unknown."""

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_graphs.networks import Networks
from neural_graphs.symmetry import shuffle
from neural_graphs.tasks.generalization.conformal import Margin, bound
from neural_graphs.tasks.generalization.novelty import TRAITS, Novelty, traits
from tests.generalization.random_zoos import PARK, SMALL


@given(st.integers(9, 60), st.integers(0, 99))
def test_with_a_checkpoint_per_run_it_is_split_conformal_prediction(count, seed) -> None:
    errors = np.random.default_rng(seed).random(count)
    found = Margin.of(errors, np.zeros(count), np.arange(count))
    assert found.width == np.sort(errors)[ceil(0.9 * (count + 1)) - 1]


def test_too_few_runs_promise_nothing_but_the_whole_range() -> None:
    assert Margin.of(np.full(80, 0.5), np.full(80, 0.5), np.repeat(np.arange(8), 10)).width == 1
    assert Margin.of(np.full(90, 0.5), np.full(90, 0.5), np.repeat(np.arange(9), 10)).width == 0


def test_a_run_counts_as_one_however_many_checkpoints_it_has() -> None:
    errors = np.random.default_rng(0).random(30)
    once = Margin.of(errors, np.zeros(30), np.arange(30))
    times = np.random.default_rng(1).integers(1, 9, 30)
    again = Margin.of(np.repeat(errors, times), np.zeros(times.sum()), np.repeat(np.arange(30), times))
    assert again == once


@pytest.mark.parametrize("checkpoints", [1, 4])
def test_nine_in_ten_networks_of_new_runs_lie_inside(checkpoints) -> None:
    random, held = np.random.default_rng(3), []
    for _ in range(300):
        of_run = 0.1 * random.exponential(size=(60, 1)) * random.standard_normal((60, checkpoints))  # alike in a run
        errors, runs = of_run.ravel(), np.repeat(np.arange(60), checkpoints)
        seen = runs < 40
        margin = Margin.of(errors[seen], np.zeros(seen.sum()), runs[seen])
        figures = margin.figures(errors[~seen], np.zeros((~seen).sum()), runs[~seen])
        held.append(figures["coverage"])
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)
    assert np.std(held) == pytest.approx(figures["coverage_spread"], rel=0.15 if checkpoints == 1 else 0.4)


def test_runs_of_many_checkpoints_weigh_as_much_as_others() -> None:
    random, held = np.random.default_rng(5), []
    for _ in range(400):
        times = random.integers(1, 12, 31)
        numbers = np.repeat(times * random.random(31), times)  # long runs err more
        runs = np.repeat(np.arange(31), times)
        new = runs == 30
        held.append((numbers[new] <= bound(numbers[~new], runs[~new], 0.8)).mean())
    assert np.mean(held) == pytest.approx(0.8, abs=0.05)
    assert bound(np.arange(3.0), np.arange(3), 0.8) == np.inf


def test_ends_stay_among_accuracies() -> None:
    assert Margin(0.2, 40).ends(0.1) == pytest.approx((0, 0.3))
    assert Margin(0.2, 40).ends(0.95) == pytest.approx((0.75, 1))


# -- unlike anything seen ----------------------------------------------------------------------------------------------


def normal(count: int, seed: int, features: int = 6) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learned(known: torch.Tensor, held_out: torch.Tensor, level: float = 0.95) -> Novelty:
    return Novelty.of(known, held_out, np.arange(len(held_out)), level)


def test_held_out_networks_are_like_known_ones_and_others_are_not() -> None:
    novelty = learned(normal(400, 0), normal(300, 1))
    assert (novelty.distance(normal(2000, 2)) > 1).mean() == pytest.approx(0.05, abs=0.03)
    assert (novelty.distance(normal(100, 3) + 8) > 1).all()
    assert (novelty.distance(8 * normal(100, 4)) > 1).mean() > 0.8


def test_the_farthest_is_the_limit_where_there_are_too_few_runs() -> None:
    held_out = normal(10, 1)
    assert learned(normal(50, 0), held_out).distance(held_out).max() == pytest.approx(1)


def test_distance_does_not_depend_on_units() -> None:
    units = 10.0 ** torch.arange(-3, 3, dtype=torch.float64)
    plain = learned(normal(50, 0), normal(30, 1))
    scaled = learned(normal(50, 0) * units + 7, normal(30, 1) * units + 7)
    others = normal(20, 2)
    np.testing.assert_allclose(plain.distance(others), scaled.distance(others * units + 7), rtol=1e-6)


def test_features_that_never_vary_do_not_count_and_broken_ones_are_far() -> None:
    known, held = normal(50, 0), normal(30, 1)
    known[:, 0], held[:, 0] = 3.0, 3.0
    novelty = learned(known, held)
    assert np.isfinite(novelty.distance(held)).all()
    held[0, 1] = torch.nan
    assert np.isinf(novelty.distance(held[:1])).all()


# -- size and order of tensors -----------------------------------------------------------------------------------------


def random_networks(layout, count: int = 4, seed: int = 0) -> Networks:
    values = torch.randn(count, layout.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Networks(values, layout)


def test_traits_are_blind_to_permutations_and_see_scale_alone_in_sizes() -> None:
    networks = random_networks(SMALL)
    found = traits(networks, 6)
    torch.testing.assert_close(traits(shuffle(networks, torch.Generator().manual_seed(1)), 6), found)
    sizes, orders = (traits(networks * 30.0, 6) - found).unflatten(1, (6, TRAITS)).split([1, TRAITS - 1], 2)
    torch.testing.assert_close(sizes, torch.full_like(sizes, np.log(30)), atol=1e-2, rtol=0)
    torch.testing.assert_close(orders, torch.zeros_like(orders))


def test_order_is_that_of_rows_and_columns_which_shuffling_destroys() -> None:
    layout = PARK[1]
    networks, name = random_networks(layout), "conv1.weight"
    rows = torch.randn(4, 4, 1, 1, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    place = list(layout.shapes).index(name) * TRAITS
    values = networks.values.clone()
    values[:, layout.slices[name]] = (networks.tensor(name) + 3 * rows).flatten(1)
    ordered = traits(networks.with_values(values), 8)
    mixed = values.clone()
    mixed[:, layout.slices[name]] = mixed[:, layout.slices[name]].flip(1)[:, torch.randperm(144)]
    shuffled = traits(networks.with_values(mixed), 8)
    torch.testing.assert_close(ordered[:, place], shuffled[:, place])  # size
    assert (ordered[:, place + 1 : place + 3] > shuffled[:, place + 1 : place + 3] + 1).all()


def test_lacking_tensors_have_traits_of_0_and_surplus_ones_are_beyond_all() -> None:
    mixed = Networks.cat([random_networks(layout, 1) for layout in PARK])
    found = traits(mixed, 6)
    assert found.shape == (3, 6 * TRAITS)
    assert torch.isfinite(found[[0, 2]]).all() and torch.isinf(found[1]).all()
    assert (traits(mixed, 8)[0, 6 * TRAITS :] == 0).all()
