"""Classifying networks: loss and metrics around any module that maps `Networks` to class scores."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from neural_graphs.networks import Networks
from neural_graphs.plots.page import Matrix, Note, Section, Tile, Tiles
from neural_graphs.tasks.data import Batch, ZooData
from neural_graphs.tasks.mixing import mix
from neural_graphs.tasks.task import Task
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.portraits import portrait

ASKED = 2000  # networks, evenly spaced, for a page
WORST = 24  # shown there


class Classification(Task):
    """Train a metanetwork to tell the class of a network, by cross-entropy.

    Args:
        metanetwork: module from `Networks` to scores `(networks, classes)`.
        classes: how many classes there are.
        mixing: train on mixtures of two networks and of their classes, in shares from Beta(mixing, mixing); 0: none.
        options: those of every `Task`.
    """

    quantities: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("accuracy", "max")
    scale: ClassVar[float] = 100.0

    def __init__(self, metanetwork: nn.Module, classes: int = 10, mixing: float = 0.0, **options: Any) -> None:
        super().__init__(metanetwork, **options)
        self.classes, self.mixing = classes, mixing
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

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """As of every `Task`, on mixtures of networks where `mixing` says so."""
        if self.mixing:
            networks, targets = batch
            share = float(torch.distributions.Beta(self.mixing, self.mixing).sample())
            batch = mix(networks, F.one_hot(targets, self.classes).to(networks.values.dtype), share)
        return super().training_step(batch, index)

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with classes `(networks,)`, or with shares of classes `(networks, classes)`."""
        return F.cross_entropy(answers, targets)

    def on_test_epoch_start(self) -> None:
        """Count confusions anew."""
        self.confusion.reset()

    def measure(self, split: str, answers: Tensor, targets: Tensor, networks: Networks) -> Tensor:
        """Log loss and accuracy; count confusions in the test split."""
        accuracy = getattr(self, f"{split}_accuracy")
        accuracy.update(answers.detach(), targets if targets.ndim == 1 else targets.argmax(1))
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
    def charts(cls, result: Mapping[str, Any]) -> list[Section]:
        """The confusion matrix."""
        counts = np.array(result.get("confusion", []), dtype=np.int64)
        return [Section("Which classes are confused", [Matrix(counts)])] if len(counts) else []

    def examples(self, data: ZooData) -> list[Section]:
        """The networks that it got most wrong: those whose true class it held for least likely."""
        zoo = data.zoo.split("test").spaced(ASKED)
        likely, labels = self.answers(zoo, data.batch_size).cpu().double().softmax(1), zoo.labels
        sure, said = likely.max(1)
        of_truth = likely.gather(1, labels[:, None])[:, 0]
        wrong = (said != labels).nonzero()[:, 0]
        worst = wrong[of_truth[wrong].argsort(stable=True)[:WORST]].tolist()
        tiles = [
            Tile(portrait(zoo, place), [f"said {said[place]} ({sure[place]:.0%})", f"is {labels[place]}"], {}, bad=True)
            for place in worst
        ]
        lead = f"Of {len(zoo):,} networks of the test split asked, {len(wrong):,} were told wrong; the surest first."
        return [Section("Which networks it got most wrong", [Tiles(tiles)] if tiles else [Note("None.")], lead)]

    @classmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """Accuracy and loss, and the published accuracy where there is one."""
        published = [] if result["published"] is None else [f"published: {result['published']:.2f}%"]
        return [f"accuracy {result['accuracy']:.2%}, loss {result['loss']:.4f}", *published]
