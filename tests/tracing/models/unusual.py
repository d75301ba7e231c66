"""Networks that are not in every textbook: experts, learned queries, sets, modulation, selective recurrences."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tests.tracing.models.example import Example, floats, tokens


class Experts(nn.Module):
    """A soft mixture of experts whose weights lie in stacked tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gate = nn.Linear(2, 5), nn.Linear(5, 3)
        self.w1, self.b1 = nn.Parameter(torch.zeros(3, 5, 7)), nn.Parameter(torch.zeros(3, 7))
        self.w2 = nn.Parameter(torch.zeros(3, 7, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.enter(x))
        hidden = torch.relu(torch.einsum("bi,eih->beh", x, self.w1) + self.b1)
        return torch.einsum("be,beo->bo", self.gate(x).softmax(-1), torch.einsum("beh,eho->beo", hidden, self.w2))


class Queries(nn.Module):
    """Learned queries look at a set, and are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.enter = nn.Parameter(torch.zeros(5, 12)), nn.Linear(3, 10)
        self.attention = nn.MultiheadAttention(12, 3, kdim=10, vdim=10, batch_first=True)
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        memory, queries = torch.tanh(self.enter(x)), self.queries.expand(x.shape[0], -1, -1)
        queries = queries + self.attention(self.norm(queries), memory, memory, need_weights=False)[0]
        return self.head(F.gelu(queries).mean(1))


class Sets(nn.Module):
    """Sum, largest and spread over a set."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5))
        self.all = nn.Linear(15, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.each(x)
        return self.all(torch.cat([y.sum(1), y.amax(1), y.std(1)], -1))


class Modulated(nn.Module):
    """A second input scales and shifts the hidden neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner, self.film, self.head = (
            nn.Linear(*sizes) for sizes in ((3, 6), (6, 6), (2, 12), (6, 4))
        )
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.enter(x) * self.scale
        gain, shift = self.film(style).chunk(2, -1)
        return self.head(x + torch.relu(self.inner(x)) * (1 + gain) + shift)


class Generator(nn.Module):
    """A code becomes a picture by transposed convolutions, one of them in groups, and a pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.norm = nn.ConvTranspose2d(5, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.wider, self.up = nn.ConvTranspose2d(6, 4, 4, 2, 1, groups=2), nn.Conv2d(4, 3 * 4, 1)
        self.last = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        x = torch.tanh(self.wider(F.relu(self.norm(self.start(code[:, :, None, None])))))
        return self.last(torch.tanh(F.pixel_shuffle(self.up(x), 2)))


class Gram(nn.Module):
    """Products of all pairs of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 5, 3), nn.Linear(25, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.features(x)).flatten(2)
        return self.head((x @ x.transpose(1, 2) / x.shape[-1]).flatten(1))


class Selective(nn.Module):
    """A state of three numbers for each channel, whose memory depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.filter = nn.Linear(3, 8), nn.Conv1d(8, 8, 3, padding=2, groups=8)
        self.decay, self.skip = nn.Parameter(torch.zeros(8, 3)), nn.Parameter(torch.zeros(8))
        self.write, self.read, self.step = nn.Linear(8, 3), nn.Linear(8, 3), nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[1]
        x = F.silu(self.filter(self.enter(x).transpose(1, 2))[..., :count].transpose(1, 2))
        step, write, read = F.softplus(self.step(x)), self.write(x), self.read(x)
        state = torch.zeros(x.shape[0], 8, 3, dtype=x.dtype)
        outputs = []
        for time in range(count):
            now = step[:, time, :, None]
            state = torch.exp(-now * self.decay.exp()) * state + now * write[:, time, None] * x[:, time, :, None]
            outputs.append((state * read[:, time, None]).sum(-1))
        return self.head(torch.stack(outputs, 1) + x * self.skip)


class Bags(nn.Module):
    """Words of a bag, averaged or the largest of them."""

    def __init__(self, mode: str):
        super().__init__()
        self.words, self.hidden, self.out = nn.EmbeddingBag(11, 6, mode=mode), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(self.words(x))))


class Pairs(nn.Module):
    """Two inputs, multiplied by a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.both = nn.Linear(3, 6), nn.Linear(4, 5), nn.Bilinear(6, 5, 7)
        self.out = nn.Linear(7, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.out(torch.relu(self.both(torch.relu(self.left(x)), torch.tanh(self.right(y)))))


def spectral() -> nn.Module:
    layers = [nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)]
    return nn.Sequential(*(spectral_norm(each) if isinstance(each, nn.Linear) else each for each in layers))


EXAMPLES = [
    Example("EmbeddingBag", lambda: Bags("mean"), tokens(11, 4, 3)),
    Example("EmbeddingBag of maxima", lambda: Bags("max"), tokens(11, 4, 3)),
    Example("bilinear", Pairs, lambda: (floats(4, 3)(), floats(4, 4)())),
    Example("spectral norm", spectral, floats(4, 3)),
    Example("mixture of experts", Experts, floats(4, 2)),
    Example("learned queries", Queries, floats(2, 6, 3)),
    Example("sets", Sets, floats(2, 6, 3)),
    Example("modulation", Modulated, lambda: (floats(4, 3)(), floats(4, 2)())),
    Example("generator", Generator, floats(2, 5)),
    Example("products of channels", Gram, floats(2, 3, 6, 6)),
    Example("selective recurrence", Selective, floats(2, 4, 3)),
]
