"""Networks that only tracing can read; built here, so that tests can trace them again."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Convolutions with a batch norm and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.body, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        seen = torch.relu(self.norm(self.stem(images)))
        return self.head((seen + torch.relu(self.body(seen))).mean((2, 3)))


class Recurrent(nn.Module):
    """An LSTM, and a Linear layer on its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.lstm(series)[0][:, -1])


def transformer() -> nn.Module:
    """A layer of attention between Linear ones."""
    layer = nn.TransformerEncoderLayer(d_model=8, nhead=2, dim_feedforward=12, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2))


TRACED = {"residual": (Residual, (2, 1, 8, 8)), "transformer": (transformer, (2, 4, 3)), "lstm": (Recurrent, (2, 4, 3))}


def filled(make, seed: int) -> nn.Module:
    """A module in evaluation mode whose parameters are drawn from a seed, the same on every machine."""
    module, generator = make().eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
    return module


def inputs(shape: tuple[int, ...]) -> Tensor:
    """What a module is run on, and traced with: numbers from 0 to 1, float64."""
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float64) * 7 % count / count).reshape(shape)
