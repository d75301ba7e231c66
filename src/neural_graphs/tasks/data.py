"""Batches of networks from a zoo: gathered from mapped files, shuffled and augmented by explicit seeds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from neural_graphs.errors import ConfigError
from neural_graphs.graph.memory import available
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import Standardise
from neural_graphs.nn.spec import InputSpec
from neural_graphs.tasks.ahead import Ahead
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.transforms import Transform

Batch = tuple[Networks, Tensor]  # with a target per network
ROOM = 4  # a split may take the fourth part of the memory that is free on a device
SAMPLE = 10_000  # networks are enough to know means and spreads


class BatchIndices(NamedTuple):
    """Which networks a batch holds, and the seed of its augmentation."""

    indices: list[int]
    seed: int


class BatchSampler(Sampler[BatchIndices]):
    """The batches of an epoch. Order and seeds depend on (`seed`, epoch) alone, so a resumed run draws the same.

    Lightning tells the epoch through `set_epoch`. Of `ranks` processes each takes every `ranks`-th batch. When training
    all take equally many, and the k-th ones of all together are the k-th batch of one process that takes `ranks` times
    as many networks. With the `work` of every network, `(count,)`, shuffled batches are about as large and as much work
    as each other: networks are dealt from light to heavy, one to every batch.
    """

    def __init__(
        self, count: int, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, ranks: int = 1,
        work: NDArray[np.integer[Any]] | None = None,
    ) -> None:  # fmt: skip
        self.count, self.batch_size, self.shuffle, self.seed = count, batch_size, shuffle, seed
        self.rank, self.ranks, self.work = rank, ranks, work
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches are drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(range(self.rank, self.batches, self.ranks))

    def __iter__(self) -> Iterator[BatchIndices]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(self.count) if self.shuffle else np.arange(self.count)
        seeds = random.integers(2**62, size=self.batches)
        if self.shuffle and self.work is not None:
            dealt = deal(order, self.work, self.batches, random)
        else:
            dealt = self._cut(order)
        for batch in range(self.rank, self.batches, self.ranks):
            yield BatchIndices(dealt[batch].tolist(), int(seeds[batch]))

    @property
    def batches(self) -> int:
        """The batches of all ranks together, equally many for each when training."""
        if not self.shuffle:
            return -(-self.count // self.batch_size)
        whole, rest = divmod(self.count, self.batch_size * self.ranks)
        return self.ranks * (whole + (rest >= self.ranks))

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Networks in batches, one after another; the ranks share the last ones that training has for all of them."""
        starts = range(0, self.count, self.batch_size)
        if not self.shuffle or self.ranks == 1:
            return [order[start : start + self.batch_size] for start in starts]
        shared = max(0, self.batches - self.ranks)
        dealt = [order[start : start + self.batch_size] for start in starts[:shared]]
        return dealt + np.array_split(order[shared * self.batch_size :], self.ranks)


def deal(
    order: NDArray[np.int64], work: NDArray[np.integer[Any]], batches: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Shuffled networks in batches of even work.

    Networks of about the same weight form handfuls, one network for every batch. Handfuls are dealt in random order,
    the heaviest network of each to the batch that has least.
    """
    ranked = order[np.argsort(-work[order], kind="stable")]
    handfuls = [ranked[start : start + batches] for start in range(0, len(ranked), batches)]
    dealt: list[list[int]] = [[] for _ in range(batches)]
    total = np.zeros(batches)
    for number in random.permutation(len(handfuls)):
        turns = random.permutation(batches)
        turns = turns[np.argsort(total[turns], kind="stable")][: len(handfuls[number])]
        total[turns] += work[handfuls[number]]
        for batch, place in zip(turns, handfuls[number], strict=True):
            dealt[batch].append(place)
    return [random.permutation(np.array(batch)) for batch in dealt]


class Batches(Dataset[Batch]):
    """Networks and targets of a zoo, a whole batch per item: one gather, no work per network."""

    def __init__(self, zoo: Zoo, targets: Tensor, augmentation: Transform | None = None) -> None:
        self.zoo = zoo
        self.targets = targets
        self.augmentation = augmentation

    def __getitem__(self, draw: BatchIndices) -> Batch:
        networks = self.zoo.networks(draw.indices)
        if self.augmentation is not None:
            networks = self.augmentation(networks, torch.Generator().manual_seed(draw.seed))
        return networks, self.targets[draw.indices]


class DeviceBatches:
    """The batches that a `DataLoader` of `Batches` yields, of a zoo that lies on a device whole: nothing is uploaded
    but the order of an epoch, and augmentations are drawn there.

    All networks share one layout. On the CPU the numbers are those of the loader, bit for bit; a card draws others.
    """

    batch_sampler = None  # Lightning asks for it where there is a sampler, which it tells the epoch

    def __init__(self, batches: Batches, sampler: BatchSampler, device: torch.device) -> None:
        self.networks = batches.zoo.networks().to(device)
        self.targets = batches.targets.to(device)
        self.augmentation, self.sampler = batches.augmentation, sampler
        self._generator = torch.Generator(device)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        draws = list(self.sampler)
        order = torch.tensor([place for draw in draws for place in draw.indices]).to(self.targets.device)
        for draw, chosen in zip(draws, order.split([len(draw.indices) for draw in draws]), strict=True):
            networks = self.networks.with_values(self.networks.values.index_select(0, chosen))
            if self.augmentation is not None:
                networks = self.augmentation(networks, self._generator.manual_seed(draw.seed))
            yield networks, self.targets.index_select(0, chosen)


class ZooData(LightningDataModule):
    """The splits train, val and test of a zoo, as batches `(Networks, targets)`; a task says what the targets are.

    Args:
        zoo: folder of the zoo.
        batch_size: networks in a batch.
        augmentation: a transform of `neural_graphs.zoo.transforms`, applied to training batches only.
        seed: of the order of the training networks and of their augmentation.
        only: a question to the table that networks must answer, such as `epoch == 86 and ok == True`; default: all.
        on_device: keep the networks on the device that trains, where all share a layout; default: on an accelerator
            with room for them.
    """

    NEEDED = ("zoo", "batch_size")

    def __init__(
        self, zoo: Path, batch_size: int = 128, augmentation: Transform | None = None, seed: int = 0,
        only: str | None = None, on_device: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"data.batch_size is {batch_size}; it must be at least 1")
        self.zoo = Zoo(zoo) if only is None else Zoo(zoo).subset(only)
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.seed = seed
        self.on_device = on_device
        self.targets: Callable[[Zoo], Tensor] = _labels

    @classmethod
    def of(cls, config: Mapping[str, Any], place: str | Path | None) -> "ZooData":
        """The zoo of a configuration, or another one, to be measured on: without augmentation."""
        return cls(Path(config["zoo"] if place is None else place), config["batch_size"], only=config.get("only"))

    @property
    def place(self) -> str:
        """The folder of the zoo."""
        return str(self.zoo.path)

    @property
    def facts(self) -> dict[str, Any]:
        """What a run keeps of its networks."""
        manifest = self.zoo.manifest
        return {
            "layouts": [layout.to_json() for layout in self.zoo.layouts],
            "classes": self.classes,
            "canvas": manifest.canvas,
            "recipe": manifest.recipe,
        }

    def count(self, split: str) -> int:
        """The networks of a split."""
        return len(self.zoo.split(split))

    @cached_property
    def family(self) -> InputSpec:
        """What a metanetwork must know of these networks; with statistics where all share a layout of weights only."""
        alike = len(self.zoo.layouts) == 1 and is_plain(self.zoo.layout)
        return InputSpec.of(self.zoo.layouts, Standardise.measure(self.sample()) if alike else None)

    @property
    def classes(self) -> int | None:
        """How many classes the labels tell apart; None for networks without labels."""
        return int(self.zoo.labels.max()) + 1 if "label" in self.zoo.table.column_names else None

    def sample(self) -> Networks:
        """Training networks, evenly spaced and at most `SAMPLE`, that statistics are taken over."""
        return self.zoo.split("train").spaced(SAMPLE).networks()

    def train_dataloader(self) -> Iterable[Batch]:
        """Shuffled and augmented batches of the train split."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> Iterable[Batch]:
        """Batches of the val split, in order."""
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> Iterable[Batch]:
        """Batches of the test split, in order."""
        return self._loader("test", shuffle=False)

    def _loader(self, split: str, shuffle: bool) -> Iterable[Batch]:
        zoo = self.zoo.split(split)
        work = None if len(zoo.layouts) == 1 else zoo.weights
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batches = Batches(zoo, self.targets(zoo), self.augmentation if shuffle else None)
        sampler = BatchSampler(
            len(zoo), self.batch_size, shuffle=shuffle, seed=self.seed, rank=rank, ranks=ranks, work=work
        )
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if self._lies_on(device, zoo):
            return DeviceBatches(batches, sampler, device)
        loader = DataLoader(
            batches,
            sampler=sampler,
            batch_size=None,  # an item is a batch already,
            collate_fn=_as_it_is,  # which the default would turn into a list
            generator=torch.Generator(),  # or the loader would draw from the global one
        )
        if self.trainer is None or device.type == "cpu" or len(zoo.layouts) == 1:
            return loader
        return Ahead(loader, getattr(self.trainer.lightning_module, "reader", None), device)

    def _lies_on(self, device: torch.device, zoo: Zoo) -> bool:
        """Whether a split is kept on a device."""
        if len(zoo.layouts) > 1:
            return False
        if self.on_device is not None:
            return self.on_device
        free = available(device)
        return device.type != "cpu" and free is not None and 4 * len(zoo) * zoo.layout.size * ROOM <= free


def is_plain(layout: Layout) -> bool:
    """Whether all blocks hold weights and all groups after the inputs biases, as figures per layer need it."""
    return all(block.parameter for block in layout.blocks) and all(group.bias for group in layout.groups[1:])


def _labels(zoo: Zoo) -> Tensor:
    return zoo.labels


def _as_it_is(batch: Any) -> Any:
    return batch
