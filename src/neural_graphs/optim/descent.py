"""Training many networks of one layout at once, by an update rule or by any optimizer of torch, and what came of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.optim import Optimizer

from neural_graphs.networks import Networks
from neural_graphs.optim.inner import ImageSet, InnerTask, accuracies, gradients
from neural_graphs.optim.memory import Memory
from neural_graphs.optim.meta_gradients import LIMIT
from neural_graphs.optim.update_rule import UpdateRule


class Descent(ABC):
    """What moves networks along their gradients; made anew for every training."""

    @abstractmethod
    def step(self, networks: Networks, gradient: Tensor) -> Networks:
        """The networks after one step along a gradient of the shape of their values."""


class ByRule(Descent):
    """Steps of an update rule, which reads the networks each `every`-th time."""

    def __init__(self, rule: UpdateRule, every: int = 1):
        self.rule, self.every, self.memory = rule, every, Memory()

    def step(self, networks: Networks, gradient: Tensor) -> Networks:
        with torch.no_grad():
            return networks + self.memory.change(self.rule, networks, gradient, self.every)


class ByOptimizers(Descent):
    """Steps of torch's own optimizers: `makes` one for each of as many equal parts of the networks."""

    def __init__(self, networks: Networks, makes: Sequence[Callable[[list[Tensor]], Optimizer]]):
        self.parts = [part.clone() for part in networks.values.chunk(len(makes))]
        self.optimizers = [make([part]) for make, part in zip(makes, self.parts, strict=True)]

    def step(self, networks: Networks, gradient: Tensor) -> Networks:
        for part, own, optimizer in zip(self.parts, gradient.chunk(len(self.parts)), self.optimizers, strict=True):
            part.grad = own
            optimizer.step()
        return networks.with_values(torch.cat(self.parts).detach())


@dataclass(frozen=True)
class Trained:
    """What came of a training: losses before every step, accuracies at some of them, and which runs diverged.

    A diverged run keeps its losses and its accuracy, whatever they are.
    """

    losses: Float[Tensor, "steps networks"]
    measured: tuple[int, ...]  # after so many steps
    accuracies: Float[Tensor, "measured networks"]
    diverged: Bool[Tensor, " networks"]


def train(
    task: InnerTask, makes: Callable[[Networks], Descent], steps: int, seeds: Sequence[int], tested: ImageSet, *,
    copies: int = 1, measure: int = 1,
) -> Trained:  # fmt: skip
    """Train `copies` networks from every seed, with the same start and the same mini-batches: `copies` by `seeds`.

    Whatever moves them, networks of a seed see the same. Accuracies on the images `tested` are taken `measure` times,
    evenly spaced, the last one at the end.
    """
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    networks = Networks.cat([task.start(1, stream) for stream in streams] * copies).to(task.images.pixels.device)
    descent = makes(networks)
    when = tuple(sorted({max(1, round(steps * (k + 1) / measure)) for k in range(measure)}))
    found, measured = [], []
    for step in range(steps):
        drawn = [task.draw(1, stream) for stream in streams]
        x, y = (torch.cat([each[part] for each in drawn] * copies) for part in (0, 1))
        loss, gradient = gradients(networks, (x, y))
        found.append(loss)
        networks = descent.step(networks, gradient)
        if step + 1 in when:
            measured.append(accuracies(networks, tested))
    losses = torch.stack(found)
    sound = (losses.isfinite() & (losses < LIMIT)).all(0) & networks.values.isfinite().all(1)
    return Trained(losses, when, torch.stack(measured), ~sound)


def joined(made: Sequence[Trained]) -> Trained:
    """Trainings of as many steps as one, all their networks beside each other."""
    first = made[0]
    return Trained(
        torch.cat([each.losses for each in made], 1),
        first.measured,
        torch.cat([each.accuracies for each in made], 1),
        torch.cat([each.diverged for each in made]),
    )
