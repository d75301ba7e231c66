"""Classifying networks: loss and metrics around any module that maps `Networks` to class scores."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from neural_graphs.networks import Networks
from neural_graphs.tasks.task import Task
from neural_graphs.zoo import Zoo


class Classification(Task):
    """Train a metanetwork to tell the class of a network, by cross-entropy.

    Args:
        metanetwork: module from `Networks` to scores `(networks, classes)`.
        classes: how many classes there are.
        options: those of every `Task`.
    """

    quantities: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("accuracy", "max")
    scale: ClassVar[float] = 100.0

    def __init__(self, metanetwork: nn.Module, classes: int = 10, **options: Any) -> None:
        super().__init__(metanetwork, **options)
        # Without checks of values, which would wait for the device at every step.
        self.train_accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.val_accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.test_accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.confusion = MulticlassConfusionMatrix(classes)

    def targets(self, zoo: Zoo) -> Int[Tensor, " networks"]:
        """The labels."""
        return zoo.labels

    def answer(self, networks: Networks) -> Float[Tensor, "networks classes"]:
        """Scores."""
        return self(networks)

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(answers, targets)

    def on_test_epoch_start(self) -> None:
        """Count confusions anew."""
        self.confusion.reset()

    def measure(self, split: str, answers: Tensor, targets: Tensor, networks: Networks) -> Tensor:
        """Log loss and accuracy; count confusions in the test split."""
        accuracy = getattr(self, f"{split}_accuracy")
        accuracy.update(answers.detach(), targets)
        if split == "test":
            self.confusion.update(answers, targets)
        loss = self.loss(answers, targets)
        self.log_metrics(split, networks, loss=loss.detach(), accuracy=accuracy)
        return loss

    def result(self, found: Mapping[str, float], split: str) -> dict[str, Any]:
        """Accuracy and loss; of the test split the confusion matrix too (rows: true classes)."""
        figures: dict[str, Any] = {name: round(found[f"{split}_{name}"], 6) for name in ("accuracy", "loss")}
        return figures | ({"confusion": self.confusion.compute().tolist()} if split == "test" else {})

    @classmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """Accuracy and loss, and the published accuracy where there is one."""
        published = [] if result["published"] is None else [f"published: {result['published']:.2f}%"]
        return [f"accuracy {result['accuracy']:.2%}, loss {result['loss']:.4f}", *published]
