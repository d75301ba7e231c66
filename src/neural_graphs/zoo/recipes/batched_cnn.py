"""Many CNNs of one architecture as one tensor program: forward, loss and gradients written by hand.

Features come first and images last, so a convolution is one batched matrix product whose operands are built from long
contiguous runs. All networks of a stack see the same mini-batch: the first layer, which reads it, is a single product.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout

RELU_GRADIENT = torch.ops.aten.threshold_backward.grad_input
TANH_GRADIENT = torch.ops.aten.tanh_backward.grad_input


class Relu:
    """max(0, x)."""

    def apply(self, x: Tensor) -> None:
        """Overwrite x by its activation."""
        x.relu_()

    def gradient(self, dy: Tensor, y: Tensor) -> None:
        """Overwrite the gradient of the activations `y` by that of their arguments; dropped ones (y = 0) have none."""
        RELU_GRADIENT(dy, y, 0, grad_input=dy)


class Tanh:
    """The hyperbolic tangent."""

    def apply(self, x: Tensor) -> None:
        """Overwrite x by its activation."""
        x.tanh_()

    def gradient(self, dy: Tensor, y: Tensor) -> None:
        """Overwrite the gradient of the activations `y` by that of their arguments; dropped ones (y = 0) have none."""
        TANH_GRADIENT(dy, y, grad_input=dy)
        dy.mul_(torch.ne(y, 0, out=torch.empty_like(y)))  # as numbers: booleans take seven times as long


ACTIVATIONS: dict[str, Relu | Tanh] = {"relu": Relu(), "tanh": Tanh()}


@dataclass(frozen=True)
class Geometry:
    """Convolutions without padding, a global mean and a Linear head: what every network of a stack is built like."""

    channels: tuple[int, ...]  # of the images, then of each convolution
    kernel: int
    stride: int
    classes: int
    image: tuple[int, int]  # height, width

    def __post_init__(self) -> None:
        if min(min(place) for place in self.places) < 1:
            raise ConfigError(
                f"images of {self.image} pixels are too small for {len(self.channels) - 1} convolutions of"
                f" {self.kernel}×{self.kernel} with stride {self.stride}; shrink them less, or give them a border"
            )

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the images, then of each feature map."""
        sizes = [self.image]
        for _ in self.channels[1:]:
            height, width = sizes[-1]
            sizes.append(((height - self.kernel) // self.stride + 1, (width - self.kernel) // self.stride + 1))
        return tuple(sizes)

    def layout(self, activation: str) -> Layout:
        """The layout of networks with this activation."""
        kernels = (self.kernel,) * (len(self.channels) - 1)
        return Layout.cnn(self.channels, kernels, self.classes, activations=activation, stride=self.stride, padding=0)


class Convolution:
    """One convolution of `networks` networks on `batch` images, with the tensors it works in.

    The weights it takes have the bias as their last column, (networks, outputs, inputs · kernel² + 1). There is one
    source for the first layer, the images that all networks read, and one per network for the others.
    """

    def __init__(self, geometry: Geometry, layer: int, networks: int, batch: int) -> None:
        self.stride, kernel = geometry.stride, geometry.kernel
        inputs, outputs = geometry.channels[layer : layer + 2]
        sources = networks if layer else 1
        (height, width), (rows, columns) = geometry.places[layer : layer + 2]
        self.source = (sources, inputs, height, width, batch)
        self.windows = (sources, inputs, kernel, kernel, rows, columns, batch)
        self.taps, points = inputs * kernel**2, rows * columns * batch
        self.columns = torch.ones(sources, self.taps + 1, points)  # the last row stays 1 and meets the bias
        self.output = torch.empty(networks, outputs, points)
        self.fused = (sources, networks * outputs // sources, points)
        self.gradient_columns = torch.empty(networks, self.taps if layer else 0, points)
        self.gradient_source = torch.empty(self.source)
        self.readings = list(self._readings()) if layer else []  # made once: slicing took a tenth of a step

    def _readings(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each tap of the kernel, the gradient of what it reads of the source, and of its own columns."""
        _, _, kernel, _, rows, columns, _ = self.windows
        windows = self.gradient_columns.view(self.windows)
        for i, j in product(range(kernel), repeat=2):
            bottom, right = i + self.stride * (rows - 1) + 1, j + self.stride * (columns - 1) + 1
            yield self.gradient_source[:, :, i : bottom : self.stride, j : right : self.stride], windows[:, :, i, j]

    def forward(
        self, x: Float[Tensor, "sources inputs points"], weight: Float[Tensor, "networks outputs taps"]
    ) -> Float[Tensor, "networks outputs places"]:
        """Return the convolution; its memory is used again by the next call."""
        x = x.view(self.source)
        _, _, along_y, along_x, _ = x.stride()
        strides = (*x.stride()[:2], along_y, along_x, self.stride * along_y, self.stride * along_x, 1)
        self.columns[:, : self.taps].view(self.windows).copy_(x.as_strided(self.windows, strides))
        torch.bmm(weight.view(len(self.columns), -1, self.taps + 1), self.columns, out=self.output.view(self.fused))
        return self.output

    def weight_gradient(self, dy: Float[Tensor, "networks outputs places"]) -> Float[Tensor, "networks outputs taps"]:
        """Return the gradient of the weights, biases included, from that of the last `forward`'s output."""
        gradient = torch.bmm(dy.view(self.fused), self.columns.transpose(1, 2))
        return gradient.view(*self.output.shape[:2], self.taps + 1)

    def source_gradient(
        self, dy: Float[Tensor, "networks outputs places"], weight: Float[Tensor, "networks outputs taps"]
    ) -> Float[Tensor, "networks inputs points"]:
        """Return the gradient of what the last `forward` of a later layer read; the next call uses its memory again."""
        torch.bmm(weight[:, :, :-1].transpose(1, 2), dy, out=self.gradient_columns)
        self.gradient_source.zero_()
        for source, column in self.readings:
            source.add_(column)
        return self.gradient_source.flatten(2)


class BatchedCnn:
    """`networks` CNNs of one geometry and activation, run and differentiated together on `batch` images at a time."""

    def __init__(self, geometry: Geometry, activation: str, networks: int, batch: int) -> None:
        self.activation = ACTIVATIONS[activation]
        self.layout = geometry.layout(activation)
        self.depth, self.batch = len(geometry.channels) - 1, batch
        self.layers = [Convolution(geometry, k, networks, batch) for k in range(self.depth)]
        self.activities: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.pooled = torch.empty(0)
        self.scale = torch.ones(networks, 1, 1)

    def forward(
        self,
        values: Float[Tensor, "networks size"],
        images: Float[Tensor, "pixels images"],
        dropout: "BatchedDropout | None" = None,
    ) -> Float[Tensor, "networks classes images"]:
        """Return the logits; with `dropout` of the training pass, in which every hidden activity may be zeroed."""
        self.scale = torch.ones_like(self.scale) if dropout is None else dropout.scale
        self.activities, self.weights = [], []
        x = images[None]
        for k, layer in enumerate(self.layers):
            weight, bias = self._tensor(values, f"conv{k}.weight").flatten(2), self._tensor(values, f"conv{k}.bias")
            scaled = weight * self.scale if k else weight  # surviving inputs stand for the dropped ones
            self.weights.append(torch.cat((scaled, bias[:, :, None]), 2))
            x = layer.forward(x, self.weights[-1])
            self.activation.apply(x)
            if dropout is not None:
                dropout.apply(x)
            self.activities.append(x)
        self.pooled = x.view(*x.shape[:2], -1, self.batch).mean(2)
        self.weights.append(self._tensor(values, "fc.weight") * self.scale)
        return torch.baddbmm(self._tensor(values, "fc.bias")[:, :, None], self.weights[-1], self.pooled)

    def backward(self, dlogits: Float[Tensor, "networks classes images"]) -> Float[Tensor, "networks size"]:
        """Return the gradient of the parameters from that of the last `forward`'s logits."""
        gradient = torch.empty(len(dlogits), self.layout.size)
        self._tensor(gradient, "fc.weight").copy_(torch.bmm(dlogits, self.pooled.transpose(1, 2)) * self.scale)
        self._tensor(gradient, "fc.bias").copy_(dlogits.sum(2))
        last = self.activities[-1]
        dpooled = torch.bmm(self.weights[-1].transpose(1, 2), dlogits)[:, :, None]
        places = last.shape[2] // self.batch
        dy = (dpooled / places).expand(-1, -1, places, -1).reshape(last.shape)
        for k in reversed(range(self.depth)):
            self.activation.gradient(dy, self.activities[k])
            dweight = self.layers[k].weight_gradient(dy)
            weight, scaled = self._tensor(gradient, f"conv{k}.weight").flatten(2), dweight[:, :, :-1]
            weight.copy_(scaled * self.scale if k else scaled)
            self._tensor(gradient, f"conv{k}.bias").copy_(dweight[:, :, -1])
            if k:
                dy = self.layers[k].source_gradient(dy, self.weights[k])
        return gradient

    def _tensor(self, values: Float[Tensor, "networks size"], name: str) -> Tensor:
        """One parameter of all networks, (networks, *shape): a view."""
        return values[:, self.layout.slices[name]].unflatten(1, self.layout.shapes[name])


class BatchedDropout:
    """Zeroes activities at each network's own rate; the uniform numbers behind it are drawn once for all networks."""

    def __init__(self, rates: Float[Tensor, " networks"], generator: torch.Generator) -> None:
        self.rates = rates[:, None, None]
        self.scale = 1 / (1 - self.rates)
        self.generator = generator
        self.kept: dict[torch.Size, Tensor] = {}  # 0 and 1 as numbers: a product is far faster than a masked fill

    def apply(self, x: Float[Tensor, "networks channels places"]) -> None:
        """Overwrite dropped activities by zero; the rest keep their size, see `scale`."""
        uniform = torch.rand(1, *x.shape[1:], generator=self.generator)
        if x.shape not in self.kept:
            self.kept[x.shape] = torch.empty_like(x)
        x.mul_(torch.ge(uniform, self.rates, out=self.kept[x.shape]))


def cross_entropy(
    logits: Float[Tensor, "networks classes images"], labels: Int[Tensor, " images"]
) -> tuple[Float[Tensor, "networks images"], Float[Tensor, "networks classes images"]]:
    """Return the cross-entropy of each image, and the gradient of its mean over the images."""
    logs = logits.log_softmax(1)
    picked = labels.expand(len(logits), 1, -1)
    gradient = logs.exp()
    gradient.scatter_add_(1, picked, gradient.new_full((1, 1, 1), -1.0).expand(picked.shape))
    return -logs.gather(1, picked)[:, 0], gradient / len(labels)
