"""A pretended CUDA graph: operators are recorded with their tensors, and run again on the same memory."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Found = TypeVar("Found")


class Recorder(TorchDispatchMode):
    """Records what a function does, Python left out: whatever Python decided stays as it was decided then."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        found = function(*given, **(named or {}))
        if str(function).startswith(("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero")):
            raise RuntimeError(f"{function} waits for the device: it cannot be captured")
        if not function.is_view:
            written = [] if function._schema.is_mutable else [t for t in tree_leaves(found) if torch.is_tensor(t)]
            self.calls.append((function, given, named or {}, written))
        return found

    def record(self, function: Callable[[], Found]) -> tuple[Found, Callable[[], None]]:
        """As `neural_graphs.nn.run.capture.Recorder`; random numbers are those that would come next."""
        with torch.random.fork_rng([]), self:
            found = function()
        calls, self.calls = self.calls, []
        with torch.no_grad():
            for tensor in tree_leaves(found):
                if torch.is_tensor(tensor):
                    tensor.fill_(torch.nan)  # until it is replayed, as in a graph

        @torch.no_grad()
        def replay() -> None:
            for operator, given, named, written in calls:
                again = operator(*given, **named)
                for own, new in zip(written, tree_leaves(again), strict=False):
                    own.copy_(new)

        return found, replay
