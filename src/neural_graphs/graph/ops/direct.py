"""Our operators without the dispatcher: what eager code runs, at a tenth of a registered operator's cost per call.

A registered operator is what compilers see; both share one body and one gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef
from torch.autograd import Function

Keep = Callable[[Any, tuple[Any, ...], Any], None]


def eager(tensor: Tensor) -> bool:
    """Whether nothing looks on: no compiler, no mode, no tensor that stands for another."""
    if torch.compiler.is_compiling():
        return False
    return type(tensor) in (Tensor, torch.nn.Parameter) and torch._C._len_torch_dispatch_stack() == 0


def direct(operator: CustomOpDef, keep: Keep, backward: Callable[..., Any]) -> Callable[..., Tensor]:
    """An operator with its gradient, as `register_autograd` takes them; of several answers the first."""
    body = operator._init_fn

    class Direct(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Tensor:
            found = body(*inputs)
            keep(ctx, inputs, found)
            answer: Tensor = found[0] if isinstance(found, tuple) else found
            return answer

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            return backward(ctx, *grads)

    def call(*inputs: Any) -> Tensor:
        if not eager(inputs[0]):
            found = operator(*inputs)
        elif torch.is_grad_enabled():
            answer: Tensor = Direct.apply(*inputs)  # type: ignore[no-untyped-call]
            return answer
        else:
            found = body(*inputs)
        first: Tensor = found[0] if isinstance(found, tuple) else found
        return first

    return call


def plainly(operator: CustomOpDef) -> Callable[..., Any]:
    """An operator without a gradient."""
    body = operator._init_fn
    return lambda *inputs: body(*inputs) if eager(inputs[0]) else operator(*inputs)
