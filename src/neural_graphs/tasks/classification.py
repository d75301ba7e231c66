"""Classifying networks: loss, metrics and optimiser around any module that maps `Networks` to class scores."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from neural_graphs.networks import Networks
from neural_graphs.tasks.data import Batch, ZooData


@runtime_checkable
class NeedsStatistics(Protocol):
    """A metanetwork that standardises its inputs by figures of the training networks."""

    def fit_statistics(self, networks: Networks) -> None:
        """Take those figures into buffers."""


class Classification(LightningModule):
    """Train a metanetwork to tell the class of a network, by cross-entropy and AdamW (the paper, appendix on INRs).

    The learning rate rises linearly over `warmup` steps and then stays. Dropout draws from torch's global generator,
    seeded at the start of every epoch, so that a run resumed between epochs goes on as if it had never stopped.

    Args:
        metanetwork: module from `Networks` to scores `(networks, classes)`.
        classes: how many classes there are.
        lr: learning rate after the warm-up.
        weight_decay: of AdamW.
        warmup: steps of the warm-up.
        micro_batch: networks in one forward and backward pass; gradients are those of the whole batch. 0: all at once.
        seed: of dropout.
    """

    def __init__(
        self,
        metanetwork: nn.Module,
        classes: int = 10,
        lr: float = 1e-3,
        weight_decay: float = 5e-4,
        warmup: int = 1000,
        micro_batch: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.metanetwork = metanetwork
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.micro_batch = micro_batch
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
        logits = self(networks)
        loss = F.cross_entropy(logits, labels)
        self.train_accuracy.update(logits.detach(), labels)
        self._log("train", loss, self.train_accuracy, labels)
        return loss

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
        """AdamW with AMSGrad and a linear warm-up."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, amsgrad=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, self.warmup)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
