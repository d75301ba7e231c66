"""Inner tasks: many small networks at once learn to classify images, each on mini-batches of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.layout import Conv, Layout
from neural_graphs.networks import Networks
from neural_graphs.networks.execution import run_each

Minibatch = tuple[Tensor, Tensor]  # images (networks, batch, channels, height, width), labels (networks, batch)
TESTED = 1000  # images that networks are tested on at a time


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: pixels, normalised, and classes."""

    pixels: Float[Tensor, "images channels height width"]
    labels: Int[Tensor, " images"]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.labels.max()) + 1

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> "ImageSet":
        """The same images on a device, pixels in a precision."""
        return ImageSet(self.pixels.to(device, dtype), self.labels.to(device))


@dataclass(frozen=True)
class InnerTask:
    """Networks of some layouts, images to learn from, and how many of these a network sees in a step.

    Raises ConfigError where a layout does not read these images, or tells other classes apart.
    """

    layouts: tuple[Layout, ...]
    images: ImageSet
    batch: int = 128

    def __post_init__(self) -> None:
        for layout in self.layouts:
            inputs, outputs = layout.groups[0].size, layout.role_count("output")
            channels, *image = self.images.pixels.shape[1:]
            expected = channels if _is_spatial(layout) else channels * prod(image)
            if inputs != expected or outputs != self.images.classes:
                raise ConfigError(
                    f"{layout} reads {inputs} inputs and answers with {outputs}; these images have {expected} and "
                    f"{self.images.classes} classes"
                )

    def start(self, count: int, generator: torch.Generator) -> Networks:
        """Fresh networks: of the layouts in turn, so that all are there as often, or of random ones where there are
        more layouts than networks."""
        if len(self.layouts) == 1:
            return initial_networks(self.layouts[0], count, generator).to(self.images.pixels.dtype)
        order = torch.randperm(len(self.layouts), generator=generator).tolist()
        chosen = [self.layouts[order[place % len(order)]] for place in range(count)]
        return Networks.cat([initial_networks(layout, 1, generator) for layout in chosen]).to(self.images.pixels.dtype)

    def draw(self, networks: int, generator: torch.Generator) -> Minibatch:
        """A mini-batch of its own for each network, drawn with replacement."""
        chosen = torch.randint(len(self.images.labels), (networks, self.batch), generator=generator)
        chosen = chosen.to(self.images.labels.device)
        return self.images.pixels[chosen], self.images.labels[chosen]


def initial_networks(layout: Layout, count: int, generator: torch.Generator) -> Networks:
    """Fresh networks as PyTorch makes Linear layers and convolutions: all numbers from U(±1/√fan_in).

    Raises LayoutError for a layout with numbers of other kinds, such as norms.
    """
    bounds = torch.tensor(_bounds(layout), dtype=torch.get_default_dtype())
    uniform = torch.rand(count, layout.size, generator=generator, dtype=bounds.dtype)
    return Networks((2 * uniform - 1) * bounds, layout)


def _bounds(layout: Layout) -> list[float]:
    """The bound of every number, `(size,)`."""
    fans: dict[str, int] = {}
    for block in layout.blocks:
        if block.parameter is not None:
            fans[block.parameter] = fan = prod(layout.shapes[block.parameter][1:])
            fans.setdefault(layout.groups[block.target].bias or "", fan)
    if strange := [p.name for p in layout.parameters if p.name not in fans or _is_odd(layout, p.name)]:
        raise LayoutError(f"{strange[0]} of {layout} is no weight or bias of a Linear layer or a convolution")
    return [1 / sqrt(fans[p.name]) for p in layout.parameters for _ in range(p.size)]


def _is_odd(layout: Layout, name: str) -> bool:
    """Whether a tensor is the weight of something else than a Linear layer or a convolution of all its inputs."""
    return any(block.parameter == name and (block.span or block.kind) for block in layout.blocks)


def _is_spatial(layout: Layout) -> bool:
    return any(isinstance(block.operator, Conv) for block in layout.blocks)


def losses(networks: Networks, batch: Minibatch) -> Float[Tensor, " networks"]:
    """The mean cross-entropy of every network on its images, in nats."""
    x, y = batch

    def one(part: Networks, places: Sequence[int]) -> Tensor:
        own, labels = (x, y) if len(part) == len(networks) else (x[places], y[places])
        logits = run_each(part, own if _is_spatial(part.layout) else own.flatten(2))
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(labels.shape).mean(1)

    return one(networks, []) if networks.regular else torch.stack(networks.map_by_layout(one))


def gradients(networks: Networks, batch: Minibatch) -> tuple[Float[Tensor, " networks"], Tensor]:
    """Losses of all networks, and the gradient of each network's own, of the shape of their values; both detached."""
    with torch.enable_grad():
        values = networks.values.detach().requires_grad_()
        found = losses(networks.with_values(values), batch)
        (gradient,) = torch.autograd.grad(found.sum(), values)
    return found.detach(), gradient


@torch.no_grad()
def accuracies(networks: Networks, images: ImageSet) -> Float[Tensor, " networks"]:
    """The share of images that every network takes for what they are."""

    def one(part: Networks) -> Tensor:
        right = torch.zeros(len(part), dtype=torch.float64, device=part.values.device)
        for pixels, labels in zip(images.pixels.split(TESTED), images.labels.split(TESTED), strict=True):
            x = pixels if _is_spatial(part.layout) else pixels.flatten(1)
            right = right + (part.run(x).argmax(-1) == labels).double().sum(1)
        return right / len(images.labels)

    return networks.stack_by_layout(one)
