"""Classifying networks: loss, metrics and optimiser around any module that maps `Networks` to class scores."""

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from neural_graphs.networks import Networks
from neural_graphs.nn import Metanetwork
from neural_graphs.nn.microbatch import mean_loss
from neural_graphs.tasks.data import Batch, ZooData


@runtime_checkable
class NeedsStatistics(Protocol):
    """A metanetwork that standardises its inputs by figures of the training networks."""

    def fit_statistics(self, networks: Networks) -> None:
        """Take those figures into buffers."""


class Classification(LightningModule):
    """Train a metanetwork to tell the class of a network, by cross-entropy and AdamW (the paper, appendix on INRs).

    The learning rate rises linearly over `warmup` steps and then stays (the paper), or falls to 0 along a cosine that
    ends after `steps` steps (ours, for short runs). Dropout draws from torch's global generator,
    seeded at the start of every epoch, so that a run resumed between epochs goes on as if it had never stopped.

    Args:
        metanetwork: module from `Networks` to scores `(networks, classes)`.
        classes: how many classes there are.
        lr: learning rate after the warm-up.
        weight_decay: of AdamW.
        warmup: steps of the warm-up.
        steps: at which the learning rate reaches 0; None: never.
        seed: of dropout.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        classes: int = 10,
        lr: float = 1e-3,
        weight_decay: float = 5e-4,
        warmup: int = 1000,
        steps: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.metanetwork = metanetwork
        self.lr, self.weight_decay, self.warmup, self.steps = lr, weight_decay, warmup, steps
        self.seed = seed
        self.train_accuracy = MulticlassAccuracy(classes, average="micro")
        self.val_accuracy = MulticlassAccuracy(classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(classes, average="micro")
        self.confusion = MulticlassConfusionMatrix(classes)

    def forward(self, networks: Networks) -> Float[Tensor, "networks classes"]:
        return self.metanetwork(networks)

    # -- steps -------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Cross-entropy of a batch."""
        networks, labels = batch
        loss, logits = self._loss(networks, labels)
        self.train_accuracy.update(logits, labels)
        self._log("train", loss, self.train_accuracy, labels)
        return loss

    def _loss(self, networks: Networks, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch, for `backward`, and scores without gradients; in small pieces where the module allows it."""
        if isinstance(self.metanetwork, Metanetwork):
            return mean_loss(self.metanetwork, networks, labels, F.cross_entropy)
        scores = self(networks)
        return F.cross_entropy(scores, labels), scores.detach()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Measure a batch of the val split."""
        networks, labels = batch
        logits = self(networks)
        self.val_accuracy.update(logits, labels)
        self._log("val", F.cross_entropy(logits, labels), self.val_accuracy, labels)

    def test_step(self, batch: Batch, index: int) -> None:
        """Measure a batch of the test split."""
        networks, labels = batch
        logits = self(networks)
        self.test_accuracy.update(logits, labels)
        self.confusion.update(logits, labels)
        self._log("test", F.cross_entropy(logits, labels), self.test_accuracy, labels)

    def _log(self, split: str, loss: Tensor, accuracy: MulticlassAccuracy, labels: Tensor) -> None:
        options: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": len(labels)}
        self.log(f"{split}_loss", loss.detach(), sync_dist=split != "train", **options)
        self.log(f"{split}_accuracy", accuracy, prog_bar=split != "test", **options)

    # -- before and between ------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Before training, let the metanetwork see the training networks it standardises by."""
        data = self.trainer.datamodule if stage == "fit" else None  # type: ignore[attr-defined]  # set by Lightning
        if isinstance(data, ZooData) and isinstance(self.metanetwork, NeedsStatistics):
            self.metanetwork.fit_statistics(data.sample())

    def on_train_epoch_start(self) -> None:
        """Seed dropout for this epoch."""
        state = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank)).generate_state(1)
        torch.manual_seed(int(state[0]))

    def configure_optimizers(self) -> Any:
        """AdamW with AMSGrad, its learning rate following `rate`."""
        # A lambda stays out of checkpoints, a method would be pickled into them.
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, amsgrad=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, step: int) -> float:
        """The learning rate of a step, as a part of `lr`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.steps is None:
            return 1.0
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
