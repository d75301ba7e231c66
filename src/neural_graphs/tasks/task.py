"""What tasks on zoos share: right answers, averaging over views, and what is measured."""

import sys
from abc import abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning import Trainer
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.networks import Networks
from neural_graphs.networks.evaluating import evaluating
from neural_graphs.nn.run.capture import CapturedAnswers, CapturedLoss
from neural_graphs.nn.run.microbatch import Reader
from neural_graphs.symmetry import SignFlip
from neural_graphs.symmetry.elements import nothing_moves
from neural_graphs.tasks.base import BaseTask
from neural_graphs.tasks.data import Batch, ZooData
from neural_graphs.tasks.optimizers import Training
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.transforms import FlipSigns

CLASSIFICATION = "neural_graphs.tasks.Classification"  # the task of a configuration that names none


@runtime_checkable
class NeedsStatistics(Protocol):
    """A metanetwork that standardises its inputs by figures of the training networks."""

    def fit_statistics(self, networks: Networks) -> None:
        """Take those figures into buffers."""


class Task(BaseTask):
    """Train and measure a metanetwork on the networks of a zoo.

    A task says what the right answers are (`targets`), how answers come about (`answer`), and what is measured of them.

    Args:
        metanetwork: module that reads `Networks`.
        lr, weight_decay, warmup, steps, seed, optimizer: see `BaseTask`.
        compile_steps: fuse the steps that are captured on a card by `torch.compile`.
    """

    data_class = ZooData

    def __init__(
        self, metanetwork: nn.Module, lr: float = 1e-3, weight_decay: float = 5e-4, warmup: int = 1000,
        steps: int | None = None, seed: int = 0, compile_steps: bool = False, optimizer: Training | None = None,
    ) -> None:  # fmt: skip
        super().__init__(metanetwork, lr, weight_decay, warmup, steps, seed, optimizer)
        self.compile_steps = compile_steps
        self._step: CapturedLoss | None = None
        self._answers = CapturedAnswers(metanetwork, self.answer)

    # -- what a task says --------------------------------------------------------------------------------------------

    @abstractmethod
    def targets(self, zoo: Zoo) -> Tensor:
        """The right answers for all networks of a zoo, `(networks, …)`."""

    @abstractmethod
    def answer(self, networks: Networks) -> Tensor:
        """What the metanetwork makes of networks, to be compared with targets, `(networks, …)`."""

    @abstractmethod
    def measure(self, split: str, answers: Tensor, targets: Tensor, networks: Networks) -> Tensor:
        """Log the quantities of a batch of the split train, val or test; returns the mean loss."""

    def keep_pictures(self, data: ZooData, folder: Path) -> None:
        """Write pictures of the test split that are worth a look into a folder; none by default."""

    @abstractmethod
    def result(self, found: Mapping[str, float], split: str) -> dict[str, Any]:
        """The figures of a split, as plain values, from what was logged."""

    @abstractmethod
    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """What training makes small, a mean over networks."""

    # -- steps -------------------------------------------------------------------------------------------------------

    def forward(self, networks: Networks) -> Any:
        return self.metanetwork(networks)

    @property
    def reader(self) -> Reader | None:
        """What answers piece by piece; None where the metanetwork reads in one go."""
        return self.metanetwork if isinstance(self.metanetwork, Reader) else None

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of a batch; where the metanetwork allows it, from a capture on a card, in small pieces elsewhere."""
        networks, targets = batch
        if self._step is None and self.reader is not None:
            self._step = CapturedLoss(self.reader, self.loss, compile=self.compile_steps)
        if self._step is None:
            return self.measure("train", self.answer(networks), targets, networks)
        loss, answers = self._step(networks, targets)
        self.measure("train", answers, targets, networks)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Measure a batch of the val split."""
        networks, targets = batch
        self.measure("val", self.mean_answer(networks, index), targets, networks)

    def test_step(self, batch: Batch, index: int) -> None:
        """Measure a batch of the test split."""
        networks, targets = batch
        self.measure("test", self.mean_answer(networks, index), targets, networks)

    def mean_answer(self, networks: Networks, index: int = 0) -> Tensor:
        """The mean answer for `views` networks of the same function: the first as it is, others with signs flipped.

        Which signs is drawn for the `index`-th batch, so the answer depends on how networks are batched.
        """
        answers = self._answers(networks)
        for view in range(1, self.views):
            generator = torch.Generator().manual_seed(self._seed(view, index))
            answers = answers + self.answer_again(networks, view, generator)
        return answers / self.views

    def answer_again(self, networks: Networks, view: int, generator: torch.Generator) -> Tensor:
        """The answer for other networks of the same functions, the `view`-th ones."""
        return self._answers(FlipSigns(missing_ok=True)(networks, generator))

    @torch.no_grad()
    def answers(self, zoo: Zoo, batch_size: int) -> Tensor:
        """The mean answers for all networks of a zoo, in its order and in evaluation mode, `(networks, …)`."""
        with evaluating(self):
            batches = enumerate(zoo.batches(batch_size))
            return torch.cat([self.mean_answer(batch.to(self.device), index) for index, batch in batches])

    def figures(self, data: ZooData, split: str, folder: Path) -> dict[str, Any]:
        """Measure a split of a zoo. Raises ConfigError for views of networks that have none."""
        if self.views > 1 and not any(map(SignFlip.movable, data.zoo.layouts)):
            raise ConfigError(f"views of networks of {data.place}: {nothing_moves(SignFlip, data.zoo.layouts[0])}")
        bar = sys.stderr.isatty()  # for people who watch
        trainer = Trainer(logger=False, enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=bar)
        evaluate = trainer.test if split == "test" else trainer.validate
        (found,) = evaluate(self, data, verbose=False)
        if split == "test":
            self.keep_pictures(data, folder)
        return self.result(found, split)

    # -- before and between ------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Tell the data what the right answers are; let the metanetwork see the networks it standardises by."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
        if not isinstance(data, ZooData):
            return
        data.targets = self.targets
        if stage == "fit" and isinstance(self.metanetwork, NeedsStatistics):
            self.metanetwork.fit_statistics(data.sample())


def data_of(path: str) -> str:
    """The class of the data that the task of that name is configured with."""
    found = find_task(path).data_class
    return f"{found.__module__}.{found.__qualname__}"


def find_task(path: str) -> type[BaseTask]:
    """The task of that name, such as `neural_graphs.tasks.Editing`. Raises ConfigError where there is none."""
    task = find_class(path)
    if task is None or not issubclass(task, BaseTask):
        raise ConfigError(
            f"task: {path} is no task; try neural_graphs.tasks.Classification, Editing, Generalization or "
            "LearningToOptimize there"
        )
    return task


def find_class(path: str) -> type | None:
    """The class of that name, such as `neural_graphs.nn.NGGNN`; None where there is none."""
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None
    return kind if isinstance(kind, type) else None
