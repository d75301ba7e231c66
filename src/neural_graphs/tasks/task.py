"""What all tasks share: the optimiser and its schedule, seeds, averaging over views, and what is measured."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from neural_graphs.errors import ConfigError
from neural_graphs.graph.memory import give_back
from neural_graphs.networks import Networks
from neural_graphs.nn.run.capture import CapturedAnswers, CapturedLoss
from neural_graphs.nn.run.microbatch import Reader
from neural_graphs.tasks.data import Batch, ZooData
from neural_graphs.tasks.optimizers import AdamW, Training
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.transforms import FlipSigns

CLASSIFICATION = "neural_graphs.tasks.Classification"  # the task of a configuration that names none


@runtime_checkable
class NeedsStatistics(Protocol):
    """A metanetwork that standardises its inputs by figures of the training networks."""

    def fit_statistics(self, networks: Networks) -> None:
        """Take those figures into buffers."""


class Task(LightningModule, ABC):
    """Train and measure a metanetwork, by AdamW with AMSGrad (the paper, appendix on INRs) or Muon.

    The learning rate rises linearly over `warmup` steps and then stays (the paper), or falls to 0 along a cosine that
    ends after `steps` steps (ours, for short runs). Dropout draws from torch's global generator,
    seeded at the start of every epoch, so that a run resumed between epochs goes on as if it had never stopped.

    A task says what the right answers are (`targets`), how answers come about (`answer`), and what is measured of them.

    Args:
        metanetwork: module that reads `Networks`.
        lr: learning rate after the warm-up.
        weight_decay: of the optimizer.
        warmup: steps of the warm-up.
        steps: at which the learning rate reaches 0; None: never.
        seed: of dropout, and of the views.
        compile_steps: fuse the steps that are captured on a card by `torch.compile`.
        optimizer: `AdamW()` (default) or `Muon()`.
    """

    quantities: ClassVar[tuple[str, ...]]  # measured after every epoch, on train and val
    best: ClassVar[tuple[str, Literal["min", "max"]]]  # the one of them by which the best epoch is chosen
    scale: ClassVar[float] = 1.0  # from it to published figures: accuracies are in %, squared errors in 10⁻²

    def __init__(
        self,
        metanetwork: nn.Module,
        lr: float = 1e-3,
        weight_decay: float = 5e-4,
        warmup: int = 1000,
        steps: int | None = None,
        seed: int = 0,
        compile_steps: bool = False,
        optimizer: Training | None = None,
    ) -> None:
        super().__init__()
        self.metanetwork = metanetwork
        self.lr, self.weight_decay, self.warmup, self.steps = lr, weight_decay, warmup, steps
        self.seed, self.compile_steps = seed, compile_steps
        self.optimizer = optimizer or AdamW()
        self.views = 1
        self.means = nn.ModuleDict()
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

    @abstractmethod
    def result(self, found: Mapping[str, float], split: str) -> dict[str, Any]:
        """The figures of a split, as plain values, from what was logged."""

    @classmethod
    @abstractmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """A result in words, for the terminal."""

    def keep_pictures(self, data: ZooData, folder: Path) -> None:
        """Write pictures of the test split that are worth a look into a folder; none by default."""

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
            answers = answers + self._answers(FlipSigns(missing_ok=True)(networks, generator))
        return answers / self.views

    # -- before and between ------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Tell the data what the right answers are; let the metanetwork see the networks it standardises by."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
        if not isinstance(data, ZooData):
            return
        data.targets = self.targets
        if stage == "fit" and isinstance(self.metanetwork, NeedsStatistics):
            self.metanetwork.fit_statistics(data.sample())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the precision of a checkpoint: Lightning loads before it converts, and its numbers would be rounded."""
        held = next(tensor.dtype for tensor in checkpoint["state_dict"].values() if tensor.is_floating_point())
        if held != next(self.parameters()).dtype:
            self.to(held)

    def on_train_epoch_start(self) -> None:
        """Seed dropout for this epoch, and start it without the holes that the last one left in memory."""
        give_back()
        torch.manual_seed(self._seed(self.current_epoch, self.global_rank))

    def _seed(self, *place: int) -> int:
        """A seed of its own for every place, from that of the task."""
        return int(np.random.SeedSequence((self.seed, *place)).generate_state(1)[0])

    def configure_optimizers(self) -> Any:
        """The optimizer, its learning rates following `rate`."""
        # A lambda stays out of checkpoints, a method would be pickled into them.
        # One kernel for all parameters, but where Lightning scales gradients, and refuses to clip them for it.
        fused = self.on_card and not str(self.trainer.precision).endswith("mixed")
        optimizer = self.optimizer.optimizer(self, self.lr, self.weight_decay, fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def on_card(self) -> bool:
        """Whether it trains on a CUDA card."""
        return bool(self.device.type == "cuda")

    def rate(self, step: int) -> float:
        """The learning rate of a step, as a part of `lr`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.steps is None:
            return 1.0
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def log_metrics(self, split: str, networks: Networks, **quantities: Tensor | Metric) -> None:
        """Count quantities of a batch, means over its networks or metrics that know it already; those of `best` are
        shown on the progress bar.

        They are logged with the first batch of an epoch and asked for at its end: no step waits for a number.
        """
        for name, value in quantities.items():
            place = f"{split}_{name}"
            metric = value if isinstance(value, Metric) else self._mean(place, value, len(networks))
            if metric.update_count == 1:
                attribute = None if metric is value else f"means.{place}"
                shown = name == self.best[0] and split != "test"
                self.log(place, metric, on_epoch=True, on_step=False, prog_bar=shown, metric_attribute=attribute)

    def _mean(self, place: str, value: Tensor, networks: int) -> Metric:
        """The mean of this epoch that is kept at a place, one batch further."""
        if place not in self.means:
            self.means[place] = MeanOverNetworks().to(self.device)
        mean = self.means[place]
        assert isinstance(mean, MeanOverNetworks)
        mean.update(value, networks)
        return mean


class MeanOverNetworks(Metric):
    """The mean of numbers that are means over some networks each."""

    full_state_update = False
    total: Tensor
    networks: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("networks", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value: Tensor, networks: int) -> None:
        """Add the mean over so many networks."""
        self.total = self.total + value * networks
        self.networks = self.networks + networks

    def compute(self) -> Tensor:
        """The mean over all."""
        return self.total / self.networks


def find_task(path: str) -> type[Task]:
    """The task of that name, such as `neural_graphs.tasks.Editing`. Raises ConfigError where there is none."""
    module, _, name = path.rpartition(".")
    try:
        task = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        task = None
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise ConfigError(
            f"task: {path} is no task; try neural_graphs.tasks.Classification, Editing or Generalization there"
        )
    return task
