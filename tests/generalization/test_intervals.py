"""Conformal margins hold as often as promised; distances tell the known from the unknown."""

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_graphs.tasks.conformal import Margin
from neural_graphs.tasks.novelty import Novelty


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
        of_run = random.exponential(size=(60, 1)) * random.standard_normal(
            (60, checkpoints)
        )  # errors of a run are alike
        errors, runs = of_run.ravel(), np.repeat(np.arange(60), checkpoints)
        seen = runs < 40
        margin = Margin.of(errors[seen], np.zeros(seen.sum()), runs[seen])
        held.append(margin.holds(errors[~seen], np.zeros((~seen).sum())).mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_ends_stay_among_accuracies() -> None:
    assert Margin(0.2).ends(0.1) == pytest.approx((0, 0.3))
    assert Margin(0.2).ends(0.95) == pytest.approx((0.75, 1))


# -- unlike anything seen ----------------------------------------------------------------------------------------------


def normal(count: int, seed: int, features: int = 6) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_held_out_networks_are_like_known_ones_and_others_are_not() -> None:
    novelty = Novelty.of(normal(400, 0), normal(300, 1))
    assert (novelty.distance(normal(1000, 2)) > 1).mean() < 0.03
    assert (novelty.distance(normal(100, 3) + 8) > 1).all()
    assert (novelty.distance(8 * normal(100, 4)) > 1).mean() > 0.8


def test_distance_does_not_depend_on_units() -> None:
    units = 10.0 ** torch.arange(-3, 3, dtype=torch.float64)
    plain = Novelty.of(normal(50, 0), normal(30, 1))
    scaled = Novelty.of(normal(50, 0) * units + 7, normal(30, 1) * units + 7)
    others = normal(20, 2)
    np.testing.assert_allclose(plain.distance(others), scaled.distance(others * units + 7), rtol=1e-6)


def test_features_that_never_vary_do_not_count_and_broken_ones_are_far() -> None:
    known, held = normal(50, 0), normal(30, 1)
    known[:, 0], held[:, 0] = 3.0, 3.0
    novelty = Novelty.of(known, held)
    assert np.isfinite(novelty.distance(held)).all()
    held[0, 1] = torch.nan
    assert np.isinf(novelty.distance(held[:1])).all()
