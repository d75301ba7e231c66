"""Training one module on labelled images by any optimizer, and how it goes on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

from neural_graphs.nn.run.evaluating import evaluating
from neural_graphs.optim.inner import TESTED, ImageSet


@dataclass(frozen=True)
class Progress:
    """How far a training is: steps done, mean loss since the last report in nats, and test accuracy."""

    step: int
    loss: float
    accuracy: float


def train_module(
    module: nn.Module, optimizer: Optimizer, images: ImageSet, tested: ImageSet, *, steps: int, batch: int = 128,
    seed: int = 0, reports: int = 10,
) -> Iterator[Progress]:  # fmt: skip
    """Train on mini-batches drawn by the seed, with cross-entropy, and tell `reports` times how it goes."""
    generator = torch.Generator().manual_seed(seed)
    when = {round(steps * (place + 1) / reports) for place in range(reports)}
    seen: list[float] = []
    for step in range(1, steps + 1):
        chosen = torch.randint(len(images.labels), (batch,), generator=generator)
        optimizer.zero_grad()
        loss = F.cross_entropy(module(images.pixels[chosen]), images.labels[chosen])
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
        if step in when:
            yield Progress(step, sum(seen) / len(seen), accuracy(module, tested))
            seen = []


@torch.no_grad()
def accuracy(module: nn.Module, images: ImageSet) -> float:
    """The share of images that a module takes for what they are, in evaluation mode."""
    pairs = zip(images.pixels.split(TESTED), images.labels.split(TESTED), strict=True)
    with evaluating(module):
        right = sum(int((module(pixels).argmax(1) == labels).sum()) for pixels, labels in pairs)
    return right / len(images.labels)
