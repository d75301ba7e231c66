"""What all trainings of metanetworks share: the optimiser and its schedule, seeds, and figures that are means."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from neural_graphs.graph.memory import give_back
from neural_graphs.layout.recorded import Recorded
from neural_graphs.nn.spec import InputSpec
from neural_graphs.plots.page import Section
from neural_graphs.tasks.optimizers import AdamW, Training


class TaskData(Protocol):
    """What a data module tells of itself; Lightning asks it for batches."""

    NEEDED: ClassVar[tuple[str, ...]]  # keys under `data` that every configuration has
    family: InputSpec  # of the networks that the metanetwork will read

    @classmethod
    def of(cls, config: Mapping[str, Any], place: str | Path | None) -> "TaskData":
        """The data of a run, from `data` of its configuration, or other ones from a place, to be measured on."""
        ...

    @property
    def place(self) -> str:
        """Where they come from."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """Layouts, number of classes, canvas and recipe, for `run.json`."""
        ...

    def count(self, split: str) -> int:
        """The networks of a split."""
        ...


class BaseTask(Recorded, LightningModule, ABC):
    """Train and measure a metanetwork, by AdamW with AMSGrad (the paper, appendix on INRs) or Muon.

    The learning rate rises linearly over `warmup` steps and then stays (the paper), or falls to 0 along a cosine that
    ends after `steps` steps (ours, for short runs). Dropout draws from torch's global generator,
    seeded at the start of every epoch, so that a run resumed between epochs goes on as if it had never stopped.

    Args:
        metanetwork: module that reads `Networks`.
        lr: learning rate after the warm-up.
        weight_decay: of the optimizer.
        warmup: steps of the warm-up.
        steps: at which the learning rate reaches 0; None: never.
        seed: of all that is random.
        optimizer: `AdamW()` (default) or `Muon()`.
    """

    data_class: ClassVar[type[Any]]  # a `TaskData`
    quantities: ClassVar[tuple[str, ...]]  # measured after every epoch, on train and val
    best: ClassVar[tuple[str, Literal["min", "max"]]]  # the one of them by which the best epoch is chosen
    scale: ClassVar[float] = 1.0  # from it to published figures: accuracies are in %, squared errors in 10⁻²

    def __init__(
        self, metanetwork: nn.Module, lr: float = 1e-3, weight_decay: float = 5e-4, warmup: int = 1000,
        steps: int | None = None, seed: int = 0, optimizer: Training | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.metanetwork = metanetwork
        self.lr, self.weight_decay, self.warmup, self.steps = lr, weight_decay, warmup, steps
        self.seed = seed
        self.optimizer = optimizer or AdamW()
        self.views = 1
        self.means = nn.ModuleDict()

    @abstractmethod
    def figures(self, data: Any, split: str, folder: Path) -> dict[str, Any]:
        """Measure a split, val or test, as plain values; pictures that are worth a look go into a folder."""

    @classmethod
    @abstractmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """A result in words, for the terminal."""

    @classmethod
    def charts(cls, result: Mapping[str, Any]) -> list[Section]:
        """What the figures of a test show on the page of their run, beside what `summary` says; nothing by default."""
        return []

    def examples(self, data: Any) -> list[Section]:
        """Networks of the test split that are worth a look on the page of a run; none by default."""
        return []

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

    def log_metrics(self, split: str, networks: Sized, **quantities: Tensor | Metric) -> None:
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
