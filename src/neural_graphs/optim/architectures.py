"""Architectures of inner networks, sized by the images they are to tell apart."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod

from neural_graphs.layout import Layout


class Architecture(ABC):
    """What inner networks are built like; `layout` makes one for images of a shape."""

    @abstractmethod
    def layout(self, image: tuple[int, int, int], classes: int) -> Layout:
        """The layout for images of (channels, height, width) and so many classes."""


@dataclass(frozen=True)
class ConvNet(Architecture):
    """3×3 convolutions, the first with stride 2, without padding and `width` wide, the others twice as wide.

    A global mean and a Linear head follow. With three layers it is the network of the paper (section 4.4). With
    `residual` each layer from the third on has the output of the one before it added ahead of its activation.
    """

    width: int = 16
    layers: int = 3
    activation: str = "relu"
    residual: bool = False

    def layout(self, image: tuple[int, int, int], classes: int) -> Layout:
        channels = (image[0], self.width, *(2 * self.width,) * (self.layers - 1))
        skips = [layer - 1 if self.residual and layer > 1 else -1 for layer in range(self.layers)]
        return Layout.cnn(
            channels, (3,) * self.layers, classes, activations=self.activation, residual=skips,
            stride=(2, *(1,) * (self.layers - 1)), padding=(0, *(None,) * (self.layers - 1)),
        )  # fmt: skip


@dataclass(frozen=True)
class Perceptron(Architecture):
    """Linear layers on all pixels at once, with these hidden widths."""

    hidden: tuple[int, ...] = (32,)
    activation: str = "relu"

    def layout(self, image: tuple[int, int, int], classes: int) -> Layout:
        return Layout.mlp((prod(image), *self.hidden, classes), self.activation)
