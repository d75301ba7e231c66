"""Large graphs: what a layer makes on the way is thrown away, and made again in the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neural_graphs.nn.run.dropout import current_generator, dropout_generator

T = TypeVar("T", bound="Tensor | list[Tensor] | None")
LARGE = {"cpu": 1 << 26}  # numbers of the widest edge tensor; what is smaller is kept, which is a third faster
LARGE_ELSEWHERE = 1 << 29  # on an accelerator


def is_large(numbers: int, device: torch.device) -> bool:
    """Whether edge tensors of so many numbers are made again rather than kept."""
    return numbers > LARGE.get(device.type, LARGE_ELSEWHERE)


def checkpointed(function: Callable[..., T], *tensors: Tensor, numbers: int) -> T:
    """`function(*tensors)`, the same bit for bit, with only `tensors` kept for the backward pass where the widest
    tensor it makes, of `numbers` numbers, is large (Chen et al. 2016)."""
    if not torch.is_grad_enabled() or not is_large(numbers, tensors[0].device):
        return function(*tensors)
    return checkpoint(function, *tensors, use_reentrant=False, context_fn=_same_dropout)


def _same_dropout() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first and the second computation: both draw the same numbers."""
    generator = current_generator()
    if generator is None:
        return nullcontext(), nullcontext()  # torch's global generator is checkpoint's own concern
    return nullcontext(), _from_state(generator.device, generator.get_state())


@contextmanager
def _from_state(device: torch.device, state: Tensor) -> Iterator[None]:
    generator = torch.Generator(device)
    generator.set_state(state)
    with dropout_generator(generator):
        yield
