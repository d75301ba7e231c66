"""Small networks: multilayer perceptrons, plain convolutional networks of any dimension, and weights used twice."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tracing.models.example import Example, floats


class Siren(nn.Module):
    """Coordinates in, colours out; sines with a frequency."""

    def __init__(self, sizes: tuple[int, ...] = (2, 9, 8, 3), frequency: float = 5.0):
        super().__init__()
        self.frequency = frequency
        self.net = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net[:-1]:
            x = torch.sin(self.frequency * layer(x))
        return 0.5 + 0.5 * self.net[-1](x)


class VGG(nn.Module):
    """Convolutions, pools, a flatten and a classifier, in torchvision's names."""

    def __init__(self, channels: tuple[int, ...] = (5, 7), classes: int = 4):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((3, *channels)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(True), nn.MaxPool2d(2, 2)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((2, 3))
        hidden = [nn.Linear(channels[-1] * 6, 10), nn.ReLU(True), nn.Dropout(), nn.Linear(10, 9), nn.ReLU(True)]
        self.classifier = nn.Sequential(*hidden, nn.Dropout(), nn.Linear(9, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Autoencoder(nn.Module):
    """The decoder multiplies by the transposed weights of the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 6), nn.Linear(6, 3)
        self.inner, self.outer = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.second(torch.tanh(self.first(x))))
        return F.linear(
            torch.tanh(F.linear(code, self.second.weight.t(), self.inner)), self.first.weight.t(), self.outer
        )


class Recursion(nn.Module):
    """One layer, used three times, between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.again, self.leave = nn.Linear(3, 7), nn.Linear(7, 7), nn.Linear(7, 2)
        self.norm = nn.LayerNorm(7)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.enter(x))
        for _ in range(3):
            x = x + F.gelu(self.again(self.norm(x)))
        return self.leave(x)


class TwoHeads(nn.Module):
    """Two inputs, two outputs: what is shared between them permutes once."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 6), nn.Linear(2, 6)
        self.mix, self.bilinear = nn.Linear(12, 5), nn.Linear(6, 6, bias=False)
        self.value, self.policy = nn.Linear(5, 1), nn.Linear(5, 4)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        a, b = torch.tanh(self.left(x)), torch.tanh(self.right(y))
        agree = (self.bilinear(a) * b).sum(-1, keepdim=True)
        hidden = F.silu(self.mix(torch.cat([a, b], -1)))
        return {"value": self.value(hidden).squeeze(-1), "policy": self.policy(hidden).softmax(-1), "agree": agree}


class Waves(nn.Module):
    """One-dimensional convolutions with strides, dilation and gates, as audio networks have."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(2, 6, 5, stride=2, padding=2)
        self.filters = nn.ModuleList(nn.Conv1d(6, 2 * 5, 3, padding=2**i, dilation=2**i) for i in range(2))
        self.back = nn.ModuleList(nn.Conv1d(5, 6, 1) for _ in range(2))
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        for filters, back in zip(self.filters, self.back, strict=True):
            wave, gate = filters(x).chunk(2, dim=1)
            x = x + back(torch.tanh(wave) * torch.sigmoid(gate))
        x = F.max_pool1d(F.elu(self.norm(x)), 2)
        return self.head(x.mean(-1))


class Volumes(nn.Module):
    """Three-dimensional convolutions and a classifier after a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 5, (3, 1, 2))
        self.norm = nn.BatchNorm3d(4)
        self.fc = nn.Linear(5 * 2 * 2 * 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool3d(F.relu(self.norm(self.conv1(x))), (1, 2, 2))
        return self.fc(F.leaky_relu(self.conv2(x), 0.1).flatten(1))


class Normed(nn.Module):
    """Convolutions around a norm without running statistics."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.conv1, self.norm, self.conv2 = nn.Conv2d(3, 12, 3, padding=1), norm, nn.Conv2d(12, 6, 3, stride=2)
        self.act, self.fc = nn.PReLU(12), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.softplus(self.conv2(self.act(self.norm(self.conv1(x))))).mean((-2, -1)))


class SkipNormed(nn.Module):
    """What a U-Net of a diffusion model joins: 12 and 8 channels, normed in groups that end inside them."""

    def __init__(self, groups: int = 2):
        super().__init__()
        self.down, self.up, self.norm = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3, padding=1), nn.GroupNorm(groups, 20)
        self.out, self.fc = nn.Conv2d(20, 5, 3), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.silu(self.down(x))
        both = torch.cat([F.silu(self.up(skip)), skip], 1)
        return self.fc(F.silu(self.out(F.silu(self.norm(both)))).mean((-2, -1)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 4))


EXAMPLES = [
    Example("MLP", mlp, floats(4, 3)),
    Example("SIREN", Siren, floats(6, 2)),
    Example("VGG with flatten", VGG, floats(2, 3, 8, 12)),
    Example("tied autoencoder", Autoencoder, floats(4, 8)),
    Example("a layer used thrice", Recursion, floats(4, 3)),
    Example("two inputs, three outputs", TwoHeads, lambda: (floats(4, 3)(), floats(4, 2)())),
    Example("1-D convolutions", Waves, floats(2, 2, 32)),
    Example("3-D convolutions", Volumes, floats(2, 1, 4, 4, 4)),
    Example("GroupNorm", lambda: Normed(nn.GroupNorm(4, 12)), floats(2, 3, 7, 7)),
    Example("GroupNorm across a concatenation", SkipNormed, floats(2, 3, 7, 7)),
    Example("GroupNorm in fives across a concatenation", lambda: SkipNormed(4), floats(2, 3, 7, 7)),
    Example("InstanceNorm", lambda: Normed(nn.InstanceNorm2d(12, affine=True)), floats(2, 3, 7, 7)),
    Example(
        "InstanceNorm with statistics",
        lambda: Normed(nn.InstanceNorm2d(12, affine=True, track_running_stats=True)),
        floats(2, 3, 7, 7),
    ),
]
