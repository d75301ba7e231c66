"""Answering in the middle of training."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """A module in evaluation mode, and afterwards in the one it was in."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
