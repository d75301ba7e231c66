"""What a CUDA graph does, on any machine: operators that ran once, with the tensors they had, run again."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Operator = Callable[[], None]


class Recorder(TorchDispatchMode):
    """Records what a function does to tensors; a replay does the same into the tensors of the recording.

    As with a CUDA graph nothing but operators is replayed: numbers that Python held then are those of the recording.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[Operator] = []

    def record(self, function: Callable[[], Any]) -> Any:
        """Run a function and remember its operators; what it returns is written again by `replay`."""
        self.operators.clear()
        with self:
            return function()

    def replay(self) -> None:
        """Run them again."""
        for operator in self.operators:
            operator()

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        found = function(*given, **named)
        if not function.is_view:
            self.operators.append(lambda: _again(function, given, named, found))
        return found


def _again(function: Any, given: Any, named: Any, found: Any) -> None:
    """Run an operator; what is new goes to where it went before (those in place have written it there already)."""
    for old, new in zip(tree_leaves(found), tree_leaves(function(*given, **named)), strict=True):
        if isinstance(old, Tensor) and old is not new and old.numel():
            old.copy_(new)
