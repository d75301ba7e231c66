"""Batches ahead of time: the loader's, in its order, ready when they are asked for, and the same training."""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neural_graphs import InputSpec, Layout, Networks
from neural_graphs.errors import LayoutError
from neural_graphs.nn import NGGNN
from neural_graphs.tasks import ZooData, fit
from neural_graphs.tasks.ahead import Ahead
from tests.test_constants import Operators

CPU = torch.device("cpu")
LAYOUTS = [Layout.mlp((2, width, 2), "tanh") for width in (3, 4, 5, 6)]
GNN = {"class_path": "neural_graphs.nn.NGGNN", "init_args": {"classes": 1, "width": 4, "depth": 2, "dropout": 0.3}}


def batches(count: int) -> Iterator[tuple[Networks, Tensor]]:
    for place in range(count):
        layouts = [LAYOUTS[(place + each) % 4] for each in range(3)]
        yield (
            Networks(torch.full((sum(layout.size for layout in layouts),), float(place)), layouts),
            torch.tensor(place),
        )


def test_batches_are_the_loaders_in_its_order() -> None:
    found, expected = list(Ahead(batches(5), None, CPU)), list(batches(5))
    assert len(found) == 5
    for (networks, targets), (own, wanted) in zip(found, expected, strict=True):
        assert torch.equal(networks.values, own.values) and networks.layouts == own.layouts
        assert torch.equal(targets, wanted)


def test_batches_are_ready_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no pretended device
    meta = torch.device("meta")
    module = NGGNN(InputSpec.of(LAYOUTS), 3, width=4, depth=2).to(meta)
    copies: dict[bool, list[int]] = {}
    for ready in (True, False):
        copies[ready] = []
        shuffled = list(batches(4)) if ready else [(each[[2, 0, 1]], targets) for each, targets in batches(4)]
        for networks, _ in Ahead(shuffled, module if ready else None, meta):
            with Operators() as operators:
                module.read(networks)
            copies[ready].append(operators.seen["_to_copy(device)"])
    assert copies[True][1:] == [0, 0, 0]  # the first makes what depends on the metanetwork alone
    assert all(copies[False])  # the test of the test: not ready


def test_one_batch_is_held_and_no_more() -> None:
    drawn: list[int] = []

    def counted() -> Iterator[tuple[Networks, Tensor]]:
        for place, batch in enumerate(batches(6)):
            drawn.append(place)
            yield batch

    for used, _ in enumerate(Ahead(counted(), None, CPU)):
        assert len(drawn) <= used + 2
    assert drawn == list(range(6))


def test_the_thread_ends_with_the_loop() -> None:
    before = threading.active_count()
    for _ in Ahead(batches(6), None, CPU):
        break
    assert threading.active_count() == before


def test_what_goes_wrong_is_raised_where_the_batch_is_asked_for() -> None:
    module = NGGNN(InputSpec.of([Layout.mlp((2, 3, 1)), Layout.mlp((2, 4, 1))]), 3, width=4)  # one output
    with pytest.raises(LayoutError, match="positions for"):
        next(iter(Ahead(batches(2), module, CPU)))


def test_training_is_the_same_bit_for_bit(
    park: Path, configure: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(folder: str) -> dict[str, Tensor]:
        run = fit(configure(park, GNN, 3), tmp_path / folder)
        state: dict[str, Tensor] = run.checkpoint(run.last)["state_dict"]
        return state

    plain, loader = trained("plain"), ZooData._loader
    epochs: list[int] = []

    class Watched(Ahead):
        def __iter__(self) -> Iterator[tuple[Networks, Tensor]]:
            epochs.append(self.sampler.epoch)
            return super().__iter__()

    def ahead(data: ZooData, split: str, shuffle: bool) -> Watched:
        assert data.trainer is not None
        device = data.trainer.strategy.root_device
        return Watched(loader(data, split, shuffle), data.trainer.lightning_module.reader, device)

    monkeypatch.setattr(ZooData, "train_dataloader", lambda data: ahead(data, "train", True))
    monkeypatch.setattr(ZooData, "val_dataloader", lambda data: ahead(data, "val", False))
    found = trained("ahead")
    assert found.keys() == plain.keys() and all(torch.equal(found[name], plain[name]) for name in plain)
    assert set(epochs) == {0, 1, 2}
