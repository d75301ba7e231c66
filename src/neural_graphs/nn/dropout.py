"""Dropout whose numbers depend on the micro-batch, not on which thread comes first."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_here = threading.local()


@contextmanager
def dropout_generator(generator: torch.Generator | None) -> Iterator[None]:
    """Within, in this thread, dropout draws from `generator`; None: from torch's global one."""
    before, _here.generator = getattr(_here, "generator", None), generator
    try:
        yield
    finally:
        _here.generator = before


class Dropout(nn.Module):
    """Set each number to 0 with probability `rate` while training, and scale the others by 1 / (1 − rate).

    At rate 0 nothing is drawn.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"a dropout rate must be in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same."""
        if not self.training or self.rate == 0:
            return x
        generator = getattr(_here, "generator", None)
        kept = torch.empty_like(x).bernoulli_(1 - self.rate, generator=generator)
        return x * kept.div_(1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
