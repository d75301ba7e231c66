"""Recurrent networks with a head."""

import torch
from torch import Tensor, nn

from tests.tracing.models.example import Example, floats, tokens


class Tagger(nn.Module):
    """Embedded tokens through a recurrent network, and a head on the states of all times."""

    def __init__(self, core: type[nn.LSTM] | type[nn.GRU], layers: int, both_ways: bool):
        super().__init__()
        self.embedding = nn.Embedding(13, 4)
        self.core = core(4, 6, layers, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(12 if both_ways else 6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.core(self.embedding(ids))[0])


class Forecast(nn.Module):
    """The last hidden state of an LSTM, its cell, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = nn.LSTM(3, 5, bias=False), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        _, (hidden, cell) = self.core(x)
        return self.head(torch.relu(torch.cat([hidden[-1], cell[-1]], -1)))


EXAMPLES = [
    Example("LSTM", lambda: Tagger(nn.LSTM, 2, both_ways=False), tokens(13, 2, 5)),
    Example("LSTM both ways", lambda: Tagger(nn.LSTM, 2, both_ways=True), tokens(13, 2, 5)),
    Example("LSTM, last state", Forecast, floats(5, 2, 3)),
    Example("GRU", lambda: Tagger(nn.GRU, 2, both_ways=False), tokens(13, 2, 5)),
    Example("GRU both ways", lambda: Tagger(nn.GRU, 1, both_ways=True), tokens(13, 2, 5)),
]
