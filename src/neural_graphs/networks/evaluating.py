"""Answering in the middle of training."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(function: object) -> Iterator[None]:
    """Modules in evaluation mode for the time being, dropout off; every submodule gets its own mode back."""
    modules = [m for m in function.modules() if m.training] if isinstance(function, nn.Module) else []
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True
