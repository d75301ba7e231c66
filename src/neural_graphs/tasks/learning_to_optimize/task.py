"""`LearningToOptimize`: train an update rule by meta-gradients, and compare it with tuned optimizers."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.nn.run.microbatch import known_gradients
from neural_graphs.optim.descent import ByRule, Trained, joined, train
from neural_graphs.optim.inner import ImageSet, InnerTask
from neural_graphs.optim.meta_gradients import MetaGradient, Stepwise
from neural_graphs.plots import save
from neural_graphs.plots.bands import curves_with_bands
from neural_graphs.plots.charts import factor
from neural_graphs.plots.page import Curve, Lines, Panel, Section
from neural_graphs.tasks.base import BaseTask
from neural_graphs.tasks.learning_to_optimize.compare import Setting, compare
from neural_graphs.tasks.learning_to_optimize.data import InnerTasks, Splits
from neural_graphs.tasks.optimizers import Adam

KEPT = "baselines"  # beside the runs: figures of tuned optimizers


class LearningToOptimize(BaseTask):
    """Train an update rule by Adam on meta-gradients, a step for each (Kofinas et al. 2024, section 4.4).

    After every epoch fresh networks of each architecture are trained by it, always the same ones, and measured on
    images held out; the mean over architectures is what checkpoints are chosen by.

    Args:
        metanetwork: the update rule.
        estimator: of the meta-gradient; default: the paper's.
        inner_steps: of the trainings that it is measured by.
        val_networks: of each architecture that are trained after every epoch.
        options: those of every `BaseTask`; the decay of weights is that of Adam.

    Raises ConfigError for trainings of no steps, or none to be measured by.
    """

    data_class = InnerTasks
    quantities: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "diverged")
    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("accuracy", "max")

    def __init__(
        self, metanetwork: nn.Module, estimator: MetaGradient | None = None, inner_steps: int = 500,
        val_networks: int = 2, lr: float = 3e-4, weight_decay: float = 1e-4, warmup: int = 0,
        steps: int | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(metanetwork, lr, weight_decay, warmup, steps, seed, Adam())
        if min(inner_steps, val_networks) < 1:
            raise ConfigError(f"expected inner_steps and val_networks of at least 1, got {inner_steps}, {val_networks}")
        self.estimator = estimator or Stepwise()
        self.inner_steps, self.val_networks = inner_steps, val_networks
        self._splits: Splits | None = None
        self._task: InnerTask | None = None

    @property
    def rule(self) -> Any:
        """The update rule."""
        return self.metanetwork

    def setup(self, stage: str) -> None:
        """Take the images to the device of the rule, in its precision."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
        if isinstance(data, InnerTasks):
            self._splits = self._here(data.splits)
            self._task = data.inner_task(self._splits)

    def _here(self, splits: Splits) -> Splits:
        like = next(self.rule.parameters())
        device = self.trainer.strategy.root_device if self._trainer is not None else like.device
        return splits.to(device, like.dtype)

    # -- steps -------------------------------------------------------------------------------------------------------

    def training_step(self, number: Tensor, index: int) -> Tensor:
        """The meta-loss of fresh inner tasks, with its meta-gradient."""
        assert self._task is not None
        seed = self._seed(self.current_epoch, index, self.global_rank)
        found = self.estimator(self.rule, self._task, torch.Generator().manual_seed(seed))
        loss = torch.tensor(found.loss, device=self.device)
        if math.isfinite(found.loss):  # not all of them diverged
            self.log_metrics("train", range(found.runs - found.diverged or 1), loss=loss)
        self.log_metrics("train", range(found.runs), diverged=torch.tensor(found.diverged / found.runs))
        return known_gradients(loss, found.gradient, list(self.rule.parameters()))

    def validation_step(self, number: Tensor, index: int) -> None:
        """Train the networks of validation, and measure them on the images to choose by."""
        assert self._task is not None and self._splits is not None
        made = self._validated(self._task, self._splits.val)
        loss = made.losses[-max(1, self.inner_steps // 10) :][:, ~made.diverged]
        if loss.numel():
            self.log_metrics("val", range(loss.shape[1]), loss=loss.mean())
        self.log_metrics(
            "val", range(len(made.diverged)), accuracy=made.accuracies[-1].mean(), diverged=made.diverged.float().mean()
        )

    def _validated(self, task: InnerTask, images: ImageSet) -> Trained:
        """The networks of validation, as many of every layout, trained by the rule and measured on images."""
        return joined([
            train(
                InnerTask((layout,), task.images, task.batch), lambda _: ByRule(self.rule), self.inner_steps,
                range(self.val_networks), images,
            )
            for layout in task.layouts
        ])  # fmt: skip

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the estimator keeps."""
        checkpoint["estimator"] = self.estimator.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        super().on_load_checkpoint(checkpoint)
        self.estimator.load_state_dict(checkpoint["estimator"])

    # -- figures -----------------------------------------------------------------------------------------------------

    def figures(self, data: InnerTasks, split: str, folder: Path) -> dict[str, Any]:
        """Beside tuned optimizers in every setting of the data (test), or alone on the images to choose by (val)."""
        self.eval()
        if split != "test":
            splits = self._here(data.splits)
            made = self._validated(data.inner_task(splits), splits.val)
            return {"accuracy": float(made.accuracies[-1].mean()), "diverged": int(made.diverged.sum())}
        name = type(self.rule).__name__.removesuffix("Rule")
        found = {
            setting.name: compare(self.rule, name, setting, self.inner_steps, folder.parent / KEPT, _say)
            for setting in self.settings(data)
        }
        save(curves_with_bands(found), folder / "curves.png")
        return {"settings": found, "steps": self.inner_steps}

    def settings(self, data: InnerTasks) -> list[Setting]:
        """That of the training, then the unseen ones."""
        known = {data.images: self._here(data.splits)}
        found = []
        asked = [("as in training", data.architectures[0], data.images)]
        asked += [
            (each.name, each.architecture or data.architectures[0], each.images or data.images) for each in data.unseen
        ]
        for name, architecture, images in asked:
            if images not in known:
                known[images] = self._here(data.prepared(images))
            splits = known[images]
            task = InnerTask((data.layout(architecture, splits.train),), splits.train, data.batch_size)
            found.append(Setting(name, task, splits.val, splits.test, images))
        return found

    @classmethod
    def charts(cls, result: Mapping[str, Any]) -> list[Section]:
        """Training loss and test accuracy over steps by each optimizer, mean ± deviation over seeds, per setting."""
        return [
            Section(f"Training by each optimizer: {setting}", [Lines(
                f"loss and accuracy over steps, {setting}", "step",
                [_panel(found, "loss", "training loss"), _panel(found, "accuracy", "test accuracy, %")],
            )], "Mean over seeds; bands are a deviation high and low.")
            for setting, found in result.get("settings", {}).items()
        ]  # fmt: skip

    @classmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """Accuracies of all optimizers, a line per setting, mean ± deviation over seeds in %."""
        if result["split"] != "test":
            return [f"accuracy {100 * result['accuracy']:.2f} %, {result['diverged']} runs diverged"]
        told = [
            f"{setting}: " + ", ".join(_told(name, each) for name, each in found.items())
            for setting, found in result["settings"].items()
        ]
        return told if result["published"] is None else [*told, f"published: {result['published']:g} %"]


def _panel(found: Mapping[str, Any], quantity: str, title: str) -> Panel:
    """The curves of one quantity by every optimizer."""
    by = factor(quantity)
    curves = []
    for name, each in found.items():
        step, mean, spread = (each["curves"][quantity][key] for key in ("step", "mean", "std"))
        curves.append(Curve(name, step, [by * value for value in mean], [by * value for value in spread]))
    return Panel(title, curves, {})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # it takes minutes


def _told(name: str, found: Mapping[str, Any]) -> str:
    each = [100 * accuracy for accuracy in found["accuracy"]]
    gone = f", {len(found['diverged'])} of {len(each)} diverged" if found["diverged"] else ""
    return f"{name} {fmean(each):.2f} ± {pstdev(each):.2f} %{gone}"
