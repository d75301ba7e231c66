"""Dropout whose numbers depend on the micro-batch, not on which thread comes first."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neural_graphs.errors import ConfigError

_here = threading.local()


@contextmanager
def dropout_generator(generator: torch.Generator | None) -> Iterator[None]:
    """Within, in this thread, dropout draws from `generator`; None: from torch's global one."""
    before, _here.generator = current_generator(), generator
    try:
        yield
    finally:
        _here.generator = before


def current_generator() -> torch.Generator | None:
    """What dropout in this thread draws from; None: torch's global generator."""
    return getattr(_here, "generator", None)


class Dropout(nn.Module):
    """Set each number to 0 with probability `rate` while training, and scale the others by 1 / (1 − rate).

    At rate 0 nothing is drawn. Raises ConfigError for a rate outside [0, 1).
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        if not 0 <= rate < 1:
            raise ConfigError(f"a dropout rate must be in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same."""
        if not self.training or self.rate == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.rate, generator=current_generator())
        return x * kept.div_(1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
