"""Batches of mixed layouts: all networks once, even work, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_graphs.nn.run.microbatch import _even
from neural_graphs.tasks import ZooData
from neural_graphs.tasks.data import BatchSampler
from neural_graphs.zoo import Zoo


def heavy_tailed(count: int, seed: int = 0) -> np.ndarray:
    return (100 * np.random.default_rng(seed).pareto(1.5, count) + 50).astype(np.int64)


@given(st.integers(1, 300), st.integers(1, 70), st.integers(0, 9))
def test_every_network_is_drawn_once_in_batches_of_almost_one_size(count, batch_size, epoch) -> None:
    draws = BatchSampler(count, batch_size, shuffle=True, work=heavy_tailed(count))
    draws.set_epoch(epoch)
    sizes = [len(draw.indices) for draw in draws]
    assert sorted(place for draw in draws for place in draw.indices) == list(range(count))
    assert len(sizes) == len(draws) and max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1


def test_work_is_more_even_than_by_chance() -> None:
    work = heavy_tailed(2000).clip(max=3000)
    even, chance = (
        np.array([work[draw.indices].sum() for draw in BatchSampler(2000, 64, shuffle=True, work=told)])[:-1]
        for told in (work, None)
    )
    assert even.std() / even.mean() < 0.05 < 0.08 < chance.std() / chance.mean()


def test_order_and_company_change_from_epoch_to_epoch_and_repeat_with_the_seed() -> None:
    def drawn(epoch: int, seed: int = 0) -> list[list[int]]:
        draws = BatchSampler(100, 16, shuffle=True, seed=seed, work=heavy_tailed(100))
        draws.set_epoch(epoch)
        return [draw.indices for draw in draws]

    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(0) != drawn(0, seed=1)
    assert {frozenset(batch) for batch in drawn(0)}.isdisjoint(frozenset(batch) for batch in drawn(1))
    light = int(heavy_tailed(100).argmin())
    assert len({next(batch.index(light) for batch in drawn(epoch) if light in batch) for epoch in range(12)}) > 3


def test_ranks_share_an_epoch_without_overlap() -> None:
    work = heavy_tailed(70)
    parts = [list(BatchSampler(70, 8, shuffle=True, rank=rank, ranks=2, work=work)) for rank in range(2)]
    places = [place for part in parts for draw in part for place in draw.indices]
    assert [len(part) for part in parts] == [5, 5] and sorted(places) == list(range(70))


def data(zoo: Path) -> ZooData:
    """Batches of 16 with accuracies as targets."""
    found = ZooData(zoo, 16)
    found.targets = lambda split: torch.from_numpy(split.column("test_accuracy").copy())
    return found


def test_mixed_zoos_are_drawn_by_their_weights(park, small) -> None:
    zoo = Zoo(park).split("train")
    expected = [zoo[place].layout.weights for place in range(len(zoo))]
    assert zoo.weights.tolist() == expected
    sampler = data(park).train_dataloader().sampler
    assert isinstance(sampler, BatchSampler) and sampler.work is not None and sampler.work.tolist() == expected
    assert data(small).train_dataloader().sampler.work is None
    mixed = {len(set(networks.layouts)) for networks, _ in data(park).train_dataloader()}
    assert max(mixed) == 3


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.sampled_from([1, 100, 1000]))
def test_pieces_hold_all_networks_and_no_more_than_the_budget(numbers, budget) -> None:
    cuts = _even(numbers, budget)
    assert [place for cut in cuts for place in range(len(numbers))[cut]] == list(range(len(numbers)))
    assert all(sum(numbers[cut]) <= budget or cut.stop - cut.start == 1 for cut in cuts)


def test_pieces_are_even() -> None:
    assert [cut.stop - cut.start for cut in _even([10] * 12, 50)] == [4, 4, 4]
    assert _even([90, 5, 5, 5], 100) == pytest.approx([slice(0, 1), slice(1, 4)])
