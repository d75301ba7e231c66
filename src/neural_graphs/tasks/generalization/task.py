"""Predicting how well networks do on data they were not trained on, from their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from neural_graphs.errors import ConfigError
from neural_graphs.networks import Networks
from neural_graphs.plots import save
from neural_graphs.plots.page import Curve, Lines, Panel, Points, Section
from neural_graphs.plots.scatter import scatter
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.generalization.conformal import Margin
from neural_graphs.tasks.generalization.measures import Numbers, Runs, agreement, kendall
from neural_graphs.tasks.losses import SquaredError
from neural_graphs.tasks.task import Task
from neural_graphs.zoo import Zoo

POINTS = 2000  # networks in the scatter of a page
LEVELS = tuple(level / 100 for level in range(5, 100, 5))  # of the intervals that its calibration tries


class Pairs(Metric):
    """Predictions and true numbers of a whole split, and Kendall's τ-b between them (scipy)."""

    full_state_update = False
    predicted: list[Tensor]
    true: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predicted", [], dist_reduce_fx="cat")
        self.add_state("true", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, true: Tensor) -> None:
        """Add networks."""
        self.predicted.append(predicted.detach().double())
        self.true.append(true.double())

    def both(self) -> tuple[Float[np.ndarray, " networks"], Float[np.ndarray, " networks"]]:
        """Predictions and truth so far, in the order they came."""
        return dim_zero_cat(self.predicted).cpu().numpy(), dim_zero_cat(self.true).cpu().numpy()

    def compute(self) -> Tensor:
        """τ-b."""
        return torch.tensor(kendall(*self.both()), dtype=torch.float32)


class Generalization(Task):
    """Train a metanetwork to predict the test accuracy of networks (Unterthiner et al. 2020; the paper, section 4.3).

    Of a split the order of networks is measured by Kendall's τ-b, beside R² and the mean absolute error. The interval
    of τ comes from drawing runs, all their checkpoints together. Networks of the val split give the margin within which
    90 % of true accuracies are to lie, and the test split says how many do.

    Args:
        metanetwork: module from `Networks` to one logit each, `(networks, 1)`.
        criterion: loss of logits `(networks,)` and targets; default: `SquaredError()`.
        column: of the zoo's table, the accuracy to predict, in [0, 1].
        shuffled: a control that must find nothing: networks are trained and chosen by accuracies of others.
        options: those of every `Task`.
    """

    quantities: ClassVar[tuple[str, ...]] = ("mae", "tau")
    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("tau", "max")

    def __init__(
        self, metanetwork: nn.Module, criterion: nn.Module | None = None, column: str = "test_accuracy",
        shuffled: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(metanetwork, **options)
        self.criterion = criterion or SquaredError()
        self.column, self.shuffled = column, shuffled
        self.train_tau, self.val_tau, self.tested = Pairs(), Pairs(), Pairs()
        self.data: ZooData | None = None
        self.margin: Margin | None = None

    def setup(self, stage: str) -> None:
        """Remember the data, which intervals are calibrated on."""
        super().setup(stage)
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
        self.data = data if isinstance(data, ZooData) else None

    def targets(self, zoo: Zoo) -> Float[Tensor, " networks"]:
        """The accuracies. Raises ConfigError where they are no shares in [0, 1]."""
        accuracy = zoo.column(self.column).astype(np.float32)
        bad = np.flatnonzero(~((accuracy >= 0) & (accuracy <= 1)))
        if len(bad):
            raise ConfigError(
                f"{zoo.path}: {self.column} must be shares in [0, 1], network {bad[0]} has {accuracy[bad[0]]};"
                " divide percentages by 100, or leave networks out with data.only"
            )
        if self.shuffled and set(zoo.column("split")) != {"test"}:
            accuracy = np.random.default_rng(self.seed).permutation(accuracy)
        return torch.from_numpy(accuracy)

    def answer(self, networks: Networks) -> Float[Tensor, "networks 1"]:
        """Logits."""
        return self(networks)

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """The criterion."""
        return self.criterion(answers[:, 0], targets)

    def on_test_epoch_start(self) -> None:
        """Collect anew."""
        self.tested.reset()

    def on_test_epoch_end(self) -> None:
        """Calibrate the margin on the val split of the same zoo, if it has one."""
        self.margin = None if self.data is None else self.calibrate(self.data)

    def measure(self, split: str, answers: Tensor, targets: Tensor, networks: Networks) -> Tensor:
        """Log error and order; keep the pairs of the test split."""
        predicted = answers.detach()[:, 0].sigmoid()
        error = (predicted - targets).abs().mean()
        if split == "test":
            self.tested.update(predicted, targets)
            self.log_metrics(split, networks, mae=error)
        else:
            pairs = getattr(self, f"{split}_tau")
            pairs.update(predicted, targets)
            self.log_metrics(split, networks, mae=error, tau=pairs)
        return self.loss(answers, targets)

    def result(self, found: Mapping[str, float], split: str) -> dict[str, Any]:
        """τ and error; of the test split all figures of `measures.agreement`, and how often 90 % intervals hold."""
        if split != "test" or self.data is None:
            return {name: round(found[f"{split}_{name}"], 6) for name in ("tau", "mae")}
        zoo = self.data.zoo.split("test")
        predicted, true = self.tested.both()
        pairs = predicted, true, runs_of(zoo)
        return agreement(*pairs) | ({} if self.margin is None else self.margin.figures(*pairs))

    def calibrate(self, data: ZooData) -> Margin | None:
        """The margin of predictions, from the networks of the val split; None where there is no such split."""
        known = self.held_out(data)
        return None if known is None else Margin.of(*known)

    def held_out(self, data: ZooData) -> tuple[Numbers, Numbers, Runs] | None:
        """Predictions, truth and runs of the val split; None where there is no such split."""
        if "val" not in set(data.zoo.column("split")):
            return None
        zoo = data.zoo.split("val")
        return self.predict(zoo, data.batch_size), self.truth(zoo), runs_of(zoo)

    def predict(self, zoo: Zoo, batch_size: int = 128) -> Float[np.ndarray, " networks"]:
        """The predicted accuracies of all networks of a zoo, in its order."""
        return self.answers(zoo, batch_size)[:, 0].sigmoid().cpu().double().numpy()

    def truth(self, zoo: Zoo) -> Float[np.ndarray, " networks"]:
        """The accuracies of all networks of a zoo, never shuffled."""
        return zoo.column(self.column).astype(np.float32).astype(np.float64)

    def keep_pictures(self, data: ZooData, folder: Path) -> None:
        """Write `scatter-ZOO.png`: predicted against true accuracy of the test split."""
        predicted, true = self.tested.both()
        name = data.zoo.path.resolve().name
        title = f"{type(self.metanetwork).__name__}, {name}: τ = {kendall(predicted, true):.3f}"
        width = None if self.margin is None else self.margin.width
        save(scatter(predicted, true, margin=width, title=title), folder / f"scatter-{name}.png")

    def examples(self, data: ZooData) -> list[Section]:
        """Predicted against true accuracy of the test split, and how often intervals of other levels hold there."""
        zoo, known = data.zoo.split("test"), self.held_out(data)
        predicted, true = self.predict(zoo, data.batch_size), self.truth(zoo)
        margin = None if known is None else Margin.of(*known)
        shown = np.linspace(0, len(zoo) - 1, min(len(zoo), POINTS)).astype(np.int64)
        points = Points(
            "predicted against true accuracy, a point for each network",
            "true accuracy, %", "predicted accuracy, %", 100 * true[shown], 100 * predicted[shown],
            _named(zoo.at(shown)), None if margin is None else 100 * margin.width,
        )  # fmt: skip
        band = "" if margin is None else f" The band is to hold {margin.level:.0%} of them, by the val split."
        lead = f"{len(shown):,} of {len(zoo):,} networks of the test split.{band}"
        found = [Section("Predicted and true accuracy", [points], lead)]
        return found if known is None else [*found, _calibration(known, (predicted, true, runs_of(zoo)))]

    @classmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """The figures, and the published τ where there is one."""
        order, error = f"Kendall's τ {result['tau']:.3f}", f"mean absolute error {100 * result['mae']:.2f} points"
        if result["split"] != "test":
            return [f"{order}, {error}"]
        low, high = result["tau_interval"]
        told = [
            f"{order} (95 % interval {low:.3f} to {high:.3f} over {result['runs']:,} runs; ties allow at most"
            f" {result['ceiling']:.3f})",
            f"R² {result['r2']:.3f}, {error}",
        ]
        if "coverage" in result:
            width, spread = 100 * result["margin"], 100 * result["coverage_spread"]
            told.append(
                f"{result['coverage']:.1%} lie within ± {width:.1f} points of the prediction, promised: 90 %,"
                f" give or take {spread:.1f} by chance of the runs"
            )
        return told if result["published"] is None else [*told, f"published: τ {result['published']:.3f}"]


def _calibration(known: tuple[Numbers, Numbers, Runs], tested: tuple[Numbers, Numbers, Runs]) -> Section:
    """The share of tested networks within intervals of all levels, learned from known ones, over what they promise."""
    margins = [Margin.of(*known, level=level) for level in LEVELS]
    figures = [margin.figures(*tested) for margin in margins]
    promised, held, spread = ([100 * value for value in values] for values in (
        LEVELS, [each["coverage"] for each in figures], [each["coverage_spread"] for each in figures],
    ))  # fmt: skip
    panel = Panel("truths within the interval, %", [Curve("held", promised, held, spread)], {}, [0, 100])
    lead = "Intervals learned on the val split, tried on the test split; the band is what chance of the runs may do."
    told = "the share of true accuracies that lie within intervals, over the share promised"
    return Section("Calibration", [Lines(told, "promised, %", [panel], diagonal=True)], lead)


def _named(zoo: Zoo) -> list[str]:
    """Networks by run and epoch where the table tells them, else by their index."""
    named = [name for name in ("network", "epoch") if name in zoo.table.column_names] or ["index"]
    return [", ".join(f"{name} {row[name]}" for name in named) for row in zoo.table.select(named).to_pylist()]


def runs_of(zoo: Zoo) -> np.ndarray:
    """The run of every network, by which zoos of checkpoints are split; every network its own where that is not said.

    Shape `(networks,)`.
    """
    return zoo.column("network") if "network" in zoo.table.column_names else np.arange(len(zoo))
