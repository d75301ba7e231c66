"""Convolutional networks that concatenate, split, shuffle, gate: DenseNet, GoogLeNet, ShuffleNet, MobileNet, U-Net."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tracing.models.example import Example, floats


def unit(
    before: int, after: int, size: int | tuple[int, int] = 1, act: type[nn.Module] = nn.ReLU, **options: int
) -> nn.Sequential:
    """Convolution, norm, activation."""
    sizes = size if isinstance(size, tuple) else (size, size)
    padding = tuple(n // 2 for n in sizes)
    return nn.Sequential(
        nn.Conv2d(before, after, sizes, padding=padding, bias=False, **options), nn.BatchNorm2d(after, eps=1e-3), act()
    )


class DenseLayer(nn.Module):
    """Reads everything made before it, and adds `growth` channels."""

    def __init__(self, before: int, growth: int, bottleneck: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, bottleneck, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(bottleneck), nn.Conv2d(bottleneck, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(F.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseNet(nn.Module):
    """Two dense blocks with a transition between them."""

    def __init__(self, stem: int = 4, growth: int = 3, depths: tuple[int, int] = (2, 2), classes: int = 4):
        super().__init__()
        self.conv0, self.norm0 = nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem)
        self.block1 = nn.ModuleList(DenseLayer(stem + i * growth, growth, 5) for i in range(depths[0]))
        middle = stem + depths[0] * growth
        self.norm, self.conv = nn.BatchNorm2d(middle), nn.Conv2d(middle, middle // 2, 1, bias=False)
        self.block2 = nn.ModuleList(DenseLayer(middle // 2 + i * growth, growth, 6) for i in range(depths[1]))
        last = middle // 2 + depths[1] * growth
        self.norm5, self.classifier = nn.BatchNorm2d(last), nn.Linear(last, classes)

    @staticmethod
    def grow(block: nn.ModuleList, x: Tensor) -> Tensor:
        features = [x]
        for layer in block:
            features.append(layer(features))
        return torch.cat(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grow(self.block1, F.relu(self.norm0(self.conv0(x))))
        x = F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)
        x = F.relu(self.norm5(self.grow(self.block2, x)))
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Inception(nn.Module):
    """Four branches side by side: 1×1, 3×3, a factorised 1×5 and 5×1, and a pool."""

    def __init__(self, before: int, widths: tuple[int, int, int, int]):
        super().__init__()
        one, three, five, pool = widths
        self.branch1 = unit(before, one)
        self.branch2 = nn.Sequential(unit(before, 4), unit(4, three, 3))
        self.branch3 = nn.Sequential(unit(before, 3), unit(3, five, (1, 5)), unit(five, five, (5, 1)))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), unit(before, pool))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """A stem, two inception modules, local response norm left out as everyone does."""

    def __init__(self, classes: int = 4):
        super().__init__()
        self.stem, self.pool = unit(3, 6, 5, stride=2), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a, self.inception3b = Inception(6, (3, 4, 2, 3)), Inception(12, (4, 3, 3, 2))
        self.dropout, self.fc = nn.Dropout(0.2), nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        channel = [x[:, i].unsqueeze(1) * 0.45 + (0.1 * i - 0.1) for i in range(3)]  # torchvision's transform_input
        x = self.inception3b(self.inception3a(self.pool(self.stem(torch.cat(channel, 1)))))
        return self.fc(self.dropout(x.mean((2, 3))))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, half are transformed; then the halves are interleaved."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        half, self.stride = after // 2, stride
        entering = before if stride > 1 else half
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(*self.depthwise(before, stride), *unit(before, half))
        self.branch2 = nn.Sequential(*unit(entering, half), *self.depthwise(half, stride), *unit(half, half))

    @staticmethod
    def depthwise(channels: int, stride: int) -> tuple[nn.Module, ...]:
        conv = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        return conv, nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            kept, moved = x.chunk(2, dim=1)
            out = torch.cat((kept, self.branch2(moved)), dim=1)
        else:
            out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
        batch, channels, height, width = out.size()
        out = out.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return out.view(batch, channels, height, width)


class ShuffleNet(nn.Module):
    """A stem and one stage of three units."""

    def __init__(self, classes: int = 4):
        super().__init__()
        self.conv1, self.maxpool = unit(3, 6, 3, stride=2), nn.MaxPool2d(3, 2, 1)
        self.stage2 = nn.Sequential(ShuffleUnit(6, 8, 2), ShuffleUnit(8, 8, 1), ShuffleUnit(8, 8, 1))
        self.conv5, self.fc = unit(8, 10), nn.Linear(10, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv5(self.stage2(self.maxpool(self.conv1(x)))).mean([2, 3]))


class SqueezeExcite(nn.Module):
    """Gates every channel by what all channels are on average."""

    def __init__(self, channels: int, squeezed: int, act: type[nn.Module], gate: type[nn.Module]):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation, self.scale_activation = act(), gate()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


class InvertedResidual(nn.Module):
    """Expand, filter each channel alone, gate, project; around it a skip where shapes allow."""

    def __init__(
        self, before: int, inner: int, after: int, act: type[nn.Module], gate: type[nn.Module], stride: int = 1
    ):
        super().__init__()
        self.use_res_connect = stride == 1 and before == after
        expand = [unit(before, inner, act=act)] if inner != before else []
        filters = unit(inner, inner, 3, act=act, stride=stride, groups=inner)
        project = nn.Sequential(nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after))
        squeeze = SqueezeExcite(inner, max(2, inner // 4), nn.ReLU if gate is nn.Hardsigmoid else act, gate)
        self.block = nn.Sequential(*expand, filters, squeeze, project)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.use_res_connect else self.block(x)


class Mobile(nn.Module):
    """A stem, inverted residuals, a last convolution, a classifier: MobileNetV3 or EfficientNet by their functions."""

    def __init__(self, act: type[nn.Module], gate: type[nn.Module], hidden: bool, classes: int = 4):
        super().__init__()
        blocks = [(4, 4, 4, 1), (4, 10, 6, 2), (6, 14, 6, 1)]
        stem, last = unit(3, 4, 3, act=act, stride=2), unit(6, 12, act=act)
        self.features = nn.Sequential(
            stem, *(InvertedResidual(*sizes[:3], act, gate, sizes[3]) for sizes in blocks), last
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        plain, deep = [nn.Dropout(0.2), nn.Linear(12, classes)], [nn.Linear(12, 9), act(), nn.Dropout(0.2)]
        self.classifier = nn.Sequential(*([*deep, nn.Linear(9, classes)] if hidden else plain))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class UNet(nn.Module):
    """Down, across and up again: skips are concatenated; `up` is a transposed convolution or an interpolation."""

    def __init__(self, transposed: bool):
        super().__init__()
        self.down1, self.down2, self.middle = self.pair(1, 3), self.pair(3, 5), self.pair(5, 7)
        self.up2 = self.wider(7, 4, transposed)
        self.side2, self.up1, self.side1 = self.pair(4 + 5, 5), self.wider(5, 3, transposed), self.pair(3 + 3, 4)
        self.final = nn.Conv2d(4, 4, 1)

    @staticmethod
    def pair(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(*unit(before, after, 3), *unit(after, after, 3))

    @staticmethod
    def wider(before: int, after: int, transposed: bool) -> nn.Module:
        if transposed:
            return nn.ConvTranspose2d(before, after, 2, stride=2)
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(before, after, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        up = self.side2(torch.cat([two, self.up2(self.middle(F.max_pool2d(two, 2)))], 1))
        return self.final(self.side1(torch.cat([one, self.up1(up)], 1)))


class Grouped(nn.Module):
    """A convolution in four groups between two that mix them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(12, 5, 1)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.last(torch.tanh(self.grouped(torch.tanh(self.first(x)))))).mean((2, 3)))


EXAMPLES = [
    Example("grouped convolution", Grouped, floats(2, 3, 5, 5)),
    Example("DenseNet", DenseNet, floats(2, 3, 8, 8)),
    Example("GoogLeNet", GoogLeNet, floats(2, 3, 16, 16)),
    Example("ShuffleNet", ShuffleNet, floats(2, 3, 16, 16)),
    Example("MobileNet", lambda: Mobile(nn.Hardswish, nn.Hardsigmoid, hidden=True), floats(2, 3, 16, 16)),
    Example("EfficientNet", lambda: Mobile(nn.SiLU, nn.Sigmoid, hidden=False), floats(2, 3, 16, 16)),
    Example("U-Net", lambda: UNet(transposed=True), floats(2, 1, 8, 8)),
    Example("U-Net that interpolates", lambda: UNet(transposed=False), floats(2, 1, 8, 8)),
]
