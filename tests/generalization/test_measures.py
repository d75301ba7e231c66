"""Kendall's τ, its ceiling, R², and bootstrap intervals over runs."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from neural_graphs.tasks.generalization import measures
from neural_graphs.tasks.generalization.measures import agreement, bootstrap, ceiling, explained, kendall

accuracies = st.lists(st.integers(0, 6), min_size=2, max_size=12).map(lambda x: np.array(x) / 6)


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """τ-b from its definition, pair by pair."""
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    agree = sum(x * y for x, y in signs)
    untied = sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs)
    return float(agree / untied**0.5) if untied else 0.0


@given(accuracies, st.integers(0, 99))
def test_tau_is_that_of_its_definition(true, seed) -> None:
    predicted = np.random.default_rng(seed).integers(0, 5, len(true)) / 5
    assert kendall(predicted, true) == pytest.approx(by_hand(predicted, true), abs=1e-12)


@given(accuracies, st.integers(0, 99))
def test_predictions_that_break_no_pair_but_have_no_ties_reach_the_ceiling(true, seed) -> None:
    best = true + 1e-3 * np.random.default_rng(seed).permutation(len(true)) / len(true)
    assert kendall(best, true) == pytest.approx(ceiling(true), abs=1e-12)


def test_what_has_no_order_has_tau_0() -> None:
    assert kendall(np.ones(5), np.arange(5.0)) == kendall(np.arange(5.0), np.ones(5)) == 0
    assert ceiling(np.ones(5)) == ceiling(np.ones(1)) == 0
    assert ceiling(np.arange(5.0)) == 1


def test_r2_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    predicted, true = random.random(50), random.random(50)
    assert explained(predicted, true) == pytest.approx(r2_score(true, predicted), abs=1e-12)
    assert explained(predicted, np.ones(50)) == 0


def test_intervals_hold_the_true_tau_of_a_population(monkeypatch) -> None:
    monkeypatch.setattr(measures, "DRAWS", 200)
    random = np.random.default_rng(1)
    whole = random.standard_normal((2, 4000))
    whole[0] += whole[1]
    tau, held = kendall(*whole), 0
    for _ in range(40):
        places = random.integers(4000, size=80)
        low, high = bootstrap(kendall, whole[0, places], whole[1, places], np.arange(80), seed=int(places[0]))
        held += low <= tau <= high
    assert 34 <= held <= 40


def test_copies_of_a_run_do_not_narrow_an_interval() -> None:
    random = np.random.default_rng(2)
    true = random.random(40)
    predicted = true + 0.3 * random.standard_normal(40)
    fivefold, runs = [np.repeat(x, 5) for x in (predicted, true)], np.repeat(np.arange(40), 5)
    once = np.diff(bootstrap(kendall, predicted, true, np.arange(40)))
    together = np.diff(bootstrap(kendall, *fivefold, runs))
    apart = np.diff(bootstrap(kendall, *fivefold, np.arange(200)))
    assert together == pytest.approx(once, rel=0.15)
    assert apart < 0.7 * together


def test_figures_are_plain_values() -> None:
    found = agreement(np.array([0.1, 0.4, 0.3]), np.array([0.1, 0.2, 0.3]), np.array([0, 0, 1]))
    assert found["runs"] == 2 and found["tau"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["mae"] == pytest.approx(0.2 / 3, abs=1e-6)
    assert {type(value) for value in found.values()} == {float, int, list}
