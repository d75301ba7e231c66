"""A rule beside optimizers of torch that are tuned for every setting, on the same starts and mini-batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from neural_graphs.errors import ConfigError
from neural_graphs.io.atomic import sha256
from neural_graphs.io.documents import read_json, write_json
from neural_graphs.optim.descent import ByOptimizers, ByRule, Descent, Trained, train
from neural_graphs.optim.inner import ImageSet, InnerTask
from neural_graphs.optim.update_rule import UpdateRule

RATES, DECAYS = (0.05, 0.005, 0.002, 0.001), (0.0, 1e-3, 1e-5)  # the grid (Kofinas et al. 2024, appendix)
TUNING_SEEDS = (11, 12)
SEEDS = (101, 102, 103, 104, 105)
MEASURED = 10  # times on the way
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "Adam": Adam,
    "AdamW": AdamW,
    "SGD": lambda params, **options: SGD(params, momentum=0.9, **options),
}


@dataclass(frozen=True)
class Setting:
    """Networks to train and images: `task` to learn, `val` to tune on, `test` to be measured on."""

    name: str
    task: InnerTask
    val: ImageSet
    test: ImageSet
    images: str

    def describe(self) -> dict[str, Any]:
        """What decides the figures of other optimizers here, as plain values."""
        pixels = self.task.images.pixels
        facts = [
            self.images,
            list(pixels.shape),
            round(float(pixels.double().mean()), 6),
            self.task.batch,
            str(pixels.dtype),
        ]
        return {"layout": self.task.layouts[0].to_json(), "images": facts}


def by_rule(rule: UpdateRule, setting: Setting, steps: int, every: int = 1) -> dict[str, Any]:
    """The figures of a rule, see `figures`; it has nothing to tune."""
    made = train(setting.task, lambda _: ByRule(rule, every), steps, SEEDS, setting.test, measure=MEASURED)
    return figures(made)


def tuned(name: str, setting: Setting, steps: int) -> dict[str, Any]:
    """The figures of one of torch's optimizers, with the values of the grid that are best on the images to choose by.

    All points of the grid are trained at once, from the `TUNING_SEEDS`.
    """
    grid = [{"lr": lr, "weight_decay": decay} for lr, decay in product(RATES, DECAYS)]

    def makes(chosen: Sequence[Mapping[str, float]]) -> Callable[[Any], Descent]:
        each = [lambda params, point=point: OPTIMIZERS[name](params, **point) for point in chosen]
        return lambda networks: ByOptimizers(networks, each)

    tried = train(setting.task, makes(grid), steps, TUNING_SEEDS, setting.val, copies=len(grid))
    scores = tried.accuracies[-1].reshape(len(grid), -1).mean(1)
    best = grid[int(scores.argmax())]
    made = train(setting.task, makes([best]), steps, SEEDS, setting.test, measure=MEASURED)
    return {**best, **figures(made)}


def figures(made: Trained) -> dict[str, Any]:
    """Of a training: accuracies and last losses of every seed, diverged seeds, and curves of mean and deviation.

    The last loss is the mean over the last tenth of the steps.
    """
    last = max(1, len(made.losses) // MEASURED)
    first = len(made.losses) % last
    losses = made.losses.double()[first:].unfold(0, last, last).mean(-1)
    return {
        "accuracy": _plain(made.accuracies[-1]),
        "loss": _plain(losses[-1]),
        "diverged": [seed for seed, gone in zip(SEEDS, made.diverged.tolist(), strict=False) if gone],
        "curves": {
            "loss": {"step": [first + last * (k + 1) for k in range(len(losses))], **_bands(losses)},
            "accuracy": {"step": list(made.measured), **_bands(made.accuracies)},
        },
    }


def _bands(values: Tensor) -> dict[str, list[float]]:
    """Mean and deviation over networks `(points, networks)`."""
    return {"mean": _plain(values.mean(1)), "std": _plain(values.std(1, correction=0))}


def _plain(values: Tensor) -> list[float]:
    return [round(float(value), 6) for value in values.detach().cpu()]


def compare(
    rule: UpdateRule, name: str, setting: Setting, steps: int, kept: Path, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:  # fmt: skip
    """The figures of a rule and of tuned optimizers in one setting.

    Those of the others depend on the setting alone and are `kept` in a folder, so that further rules find them.
    """
    found: dict[str, Any] = {name: by_rule(rule, setting, steps)}
    say(f"{setting.name}: {name} {_mean(found[name]):.1f} %")
    for other in OPTIMIZERS:
        asked = {"optimizer": other, "steps": steps, "grid": [RATES, DECAYS], "seeds": [TUNING_SEEDS, SEEDS]}
        asked |= setting.describe()
        file = kept / f"{other.lower()}-{sha256(repr(asked).encode())[:16]}.json"
        if not file.is_file():
            write_json(file, tuned(other, setting, steps))
        found[other] = read_json(file, ConfigError, "remove it: it is made again")
        say(f"{setting.name}: {other} {_mean(found[other]):.1f} %")
    return found


def _mean(found: Mapping[str, Any]) -> float:
    return 100 * float(torch.tensor(found["accuracy"]).mean())
