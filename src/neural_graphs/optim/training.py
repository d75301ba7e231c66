"""Training one module on labelled images by any optimizer, and how it goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from neural_graphs.errors import ConfigError, NeuralGraphsError, reason
from neural_graphs.networks.evaluating import evaluating
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
    """Train on mini-batches drawn by the seed, with cross-entropy, and tell `reports` times how it goes.

    Raises ConfigError where the module cannot run on these images, answers with anything but a number for every class
    of theirs, or has no gradient.
    """
    generator, classes = torch.Generator().manual_seed(seed), images.classes
    when = {round(steps * (place + 1) / reports) for place in range(reports)}
    seen: list[float] = []
    for step in range(1, steps + 1):
        chosen = torch.randint(len(images.labels), (batch,), generator=generator)
        optimizer.zero_grad()
        with _explained(module, images.pixels):
            loss = F.cross_entropy(_logits(module, images.pixels[chosen], classes), images.labels[chosen])
            loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
        if step in when:
            yield Progress(step, sum(seen) / len(seen), accuracy(module, tested))
            seen = []


@torch.no_grad()
def accuracy(module: nn.Module, images: ImageSet) -> float:
    """The share of images that a module takes for what they are, in evaluation mode."""
    classes = images.classes
    pairs = zip(images.pixels.split(TESTED), images.labels.split(TESTED), strict=True)
    with evaluating(module), _explained(module, images.pixels):
        right = sum(int((_logits(module, pixels, classes).argmax(1) == labels).sum()) for pixels, labels in pairs)
    return right / len(images.labels)


def _logits(module: nn.Module, pixels: Tensor, classes: int) -> Float[Tensor, "images outputs"]:
    """What a module answers. Raises ConfigError for anything but a number or more for every class."""
    found = module(pixels)
    if (
        isinstance(found, Tensor) and found.is_floating_point() and found.ndim == 2
        and len(found) == len(pixels) and found.shape[1] >= classes
    ):  # fmt: skip
        return found
    got = f"{tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    raise ConfigError(
        f"{type(module).__name__} answers {len(pixels)} images with {got}; expected floats ({len(pixels)}, {classes}), "
        "one for every class: let its last layer give them, and its forward return them alone"
    )


@contextmanager
def _explained(module: nn.Module, pixels: Tensor) -> Iterator[None]:
    """Says in one line, as a ConfigError, what went wrong in the code of a module that runs on such images."""
    try:
        yield
    except NeuralGraphsError:
        raise
    except Exception as error:  # it is the user's code
        low, high = pixels.aminmax()
        shape = " × ".join(map(str, pixels.shape[1:]))
        raise ConfigError(
            f"{type(module).__name__} cannot be trained on images {shape}, {pixels.dtype} from {low:.2f} to {high:.2f} "
            f"({type(error).__name__}: {reason(error)}); it has to take them, and to answer with a gradient"
        ) from error
