"""Networks that choose by value: experts for every token, the largest tokens, entries of a code book."""

import torch
from torch import Tensor, nn

from tests.tracing.models.example import Example, floats


class TopExperts(nn.Module):
    """Two of three experts for every point, in stacked tensors; the others weigh nothing."""

    def __init__(self, experts: int = 3) -> None:
        super().__init__()
        self.enter, self.router, self.leave = nn.Linear(2, 5), nn.Linear(5, experts), nn.Linear(5, 3)
        self.w1, self.b1 = nn.Parameter(torch.zeros(experts, 5, 6)), nn.Parameter(torch.zeros(experts, 6))
        self.w2 = nn.Parameter(torch.zeros(experts, 6, 5))

    def weigh(self, scores: Tensor) -> Tensor:
        weights, chosen = scores.softmax(-1).topk(2, dim=-1)
        return torch.zeros_like(scores).scatter_(-1, chosen, weights / weights.sum(-1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.enter(x))
        weights = self.weigh(self.router(x))
        hidden = torch.relu(torch.bmm(x.expand(len(self.w1), -1, -1), self.w1) + self.b1[:, None])
        return self.leave(x + (torch.bmm(hidden, self.w2) * weights.t()[:, :, None]).sum(0))


class GroupedExperts(TopExperts):
    """Three groups of two experts: the best two groups first, then the best experts in them, as large models choose."""

    def __init__(self) -> None:
        super().__init__(6)
        self.bias = nn.Parameter(torch.zeros(6))

    def weigh(self, scores: Tensor) -> Tensor:
        share = scores.sigmoid()
        biased = (share + self.bias).view(-1, 3, 2)
        best = biased.topk(2, dim=-1)[0].sum(-1).topk(2, dim=-1)[1]
        kept = torch.zeros(len(scores), 3, dtype=scores.dtype).scatter_(1, best, 1)
        masked = biased.masked_fill(kept[:, :, None] == 0, float("-inf")).flatten(1)
        chosen = masked.topk(3, dim=-1, sorted=False)[1]
        weights = share.gather(1, chosen)
        return torch.zeros_like(share).scatter(1, chosen, weights / weights.sum(-1, keepdim=True))


class ListedExperts(nn.Module):
    """The best of three experts, which are modules in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.router, self.leave = nn.Linear(2, 5), nn.Linear(5, 3), nn.Linear(5, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 5)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.enter(x))
        weight, chosen = self.router(x).max(-1)
        weights = nn.functional.one_hot(chosen, 3) * weight[:, None]
        return self.leave(x + sum(weights[:, i, None] * expert(x) for i, expert in enumerate(self.experts)))


class CodeBook(nn.Module):
    """How far what was coded is from the nearest of seven entries, as in a residual VQ-VAE."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.book, self.leave = nn.Linear(3, 6), nn.Embedding(7, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        code = torch.relu(self.enter(x))
        return self.leave(code - self.book(torch.cdist(code, self.book.weight).argmin(-1)))


class Ranked(nn.Module):
    """The two largest of every feature over tokens, and what is made of them sorted."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.pool, self.leave = nn.Linear(3, 6), nn.Linear(6, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.tanh(self.enter(x)).topk(2, dim=1).values)
        return self.leave(x.sort(-1, descending=True).values.flatten(1))


EXAMPLES = [
    Example("experts for every point", TopExperts, floats(6, 2)),
    Example("experts in groups", GroupedExperts, floats(6, 2)),
    Example("experts in a list", ListedExperts, floats(40, 2)),
    Example("code book", CodeBook, floats(9, 3)),
    Example("ranked", Ranked, floats(4, 5, 3)),
]
