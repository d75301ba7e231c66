"""Networks that do by hand what layers do elsewhere: recurrences by step, copies, padded channels, one key for all."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tracing.models.example import Example, floats


class Steps(nn.Module):
    """A recurrent cell, called once for every step."""

    def __init__(self, kind: type[nn.LSTMCell] | type[nn.GRUCell] | type[nn.RNNCell]) -> None:
        super().__init__()
        self.cell, self.head = kind(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 5)
        memory = torch.zeros_like(state)
        for step in range(x.shape[1]):
            if isinstance(self.cell, nn.LSTMCell):
                state, memory = self.cell(x[:, step], (state, memory))
            else:
                state = self.cell(x[:, step], state)
        return self.head(state)


class Begun(nn.Module):
    """Layers of an LSTM that begin in learned states."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = nn.LSTM(3, 4, 2, batch_first=True), nn.Linear(4, 2)
        self.first, self.memory = (nn.Parameter(torch.zeros(2, 1, 4)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first, memory = (p.expand(-1, x.shape[0], -1).contiguous() for p in (self.first, self.memory))
        return self.head(self.core(x, (first, memory))[1][0][-1])


class Copied(nn.Module):
    """Neurons that are read as copies, one after another and side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 4), nn.Linear(8, 5), nn.Linear(10, 2)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).tanh().repeat(1, 2) * self.scale.repeat(2)
        return self.third(self.second(x).relu().repeat_interleave(2, 1))


class Widened(nn.Module):
    """A skip around a wider layer, padded with zeros in front and behind (ResNet, He et al. 2016, option A)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.head((self.second(x) + F.pad(x, (0, 0, 0, 0, 2, 2))).relu().mean((2, 3)))


class OneKey(nn.Module):
    """Causal attention whose heads share one key and one value (Shazeer 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.query, self.key = nn.Linear(3, 6), nn.Linear(6, 12), nn.Linear(6, 4)
        self.value, self.out, self.leave = nn.Linear(6, 4), nn.Linear(12, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        query = self.query(x).unflatten(-1, (3, 4)).transpose(1, 2)
        key, value = self.key(x)[:, None], self.value(x)[:, None]
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.leave(x + self.out(found.transpose(1, 2).flatten(2)))


EXAMPLES = [
    Example("LSTM cell by cell", lambda: Steps(nn.LSTMCell), floats(2, 3, 3)),
    Example("GRU cell by cell", lambda: Steps(nn.GRUCell), floats(2, 3, 3)),
    Example("RNN cell by cell", lambda: Steps(nn.RNNCell), floats(2, 3, 3)),
    Example("LSTM with learned first states", Begun, floats(2, 5, 3)),
    Example("copied neurons", Copied, floats(2, 3)),
    Example("padded channels", Widened, floats(2, 3, 5, 5)),
    Example("one key for all heads", OneKey, floats(2, 4, 3)),
]
