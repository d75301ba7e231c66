"""Residual networks in torchvision's names of modules and tensors; ResNeXt by a number of groups."""

import torch
from torch import Tensor, nn

from tests.tracing.models.example import Example, floats


def convolution(before: int, after: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)


class Residual(nn.Module):
    """What both kinds of blocks share: the other way round."""

    relu: nn.Module
    downsample: nn.Module | None

    def branch(self, x: Tensor) -> Tensor:
        raise TypeError("Residual is abstract")

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        out = self.branch(x)
        out += skip
        return self.relu(out)

    def around(self, before: int, after: int, stride: int) -> None:
        """A projection where stride or width changes."""
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and before == after
        self.downsample = None if same else nn.Sequential(convolution(before, after, 1, stride), nn.BatchNorm2d(after))


class Basic(Residual):
    expansion = 1

    def __init__(self, before: int, width: int, stride: int, groups: int = 1, per_group: int = 64):
        super().__init__()
        self.conv1, self.bn1 = convolution(before, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.around(before, width, stride)

    def branch(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Residual):
    expansion = 4

    def __init__(self, before: int, width: int, stride: int, groups: int = 1, per_group: int = 64):
        super().__init__()
        inner, after = int(width * per_group / 64) * groups, width * self.expansion
        self.conv1, self.bn1 = convolution(before, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = convolution(inner, inner, 3, stride, groups), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = convolution(inner, after, 1), nn.BatchNorm2d(after)
        self.around(before, after, stride)

    def branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(self.relu(self.bn2(self.conv2(x)))))


class ResNet(nn.Module):
    """Stem, four stages of doubling width, mean over places, classifier."""

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        classes: int = 1000,
        stem: int = 64,
        groups: int = 1,
        per_group: int = 64,
    ):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        before = stem
        for stage, depth in enumerate(depths):
            width, blocks = stem * 2**stage, []
            for place in range(depth):
                blocks.append(block(before, width, 2 if stage and not place else 1, groups, per_group))
                before = width * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18() -> ResNet:
    """As published: 11,689,512 parameters."""
    return ResNet(Basic, (2, 2, 2, 2))


EXAMPLES = [
    Example("ResNet-18", lambda: ResNet(Basic, (2, 2, 2, 2), classes=4, stem=4), floats(2, 3, 32, 32)),
    Example("ResNet-50", lambda: ResNet(Bottleneck, (3, 4, 6, 3), classes=4, stem=3), floats(2, 3, 32, 32)),
    Example(
        "ResNeXt",
        lambda: ResNet(Bottleneck, (1, 2, 1, 1), classes=4, stem=4, groups=3, per_group=32),
        floats(2, 3, 32, 32),
    ),
]
