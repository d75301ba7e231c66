"""What a task trains by: AdamW as in the paper, or Muon for the matrices of a metanetwork."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from neural_graphs.layout.recorded import Recorded

SMALLEST = 16  # inputs and outputs of a matrix, from which its directions are worth evening out


class Training(Recorded, ABC):
    """How an optimizer is made for a metanetwork."""

    @abstractmethod
    def optimizer(self, module: nn.Module, lr: float, weight_decay: float, fused: bool) -> Optimizer:
        """The optimizer of all parameters of a module; `fused` where one kernel may move them all."""


class AdamW(Training):
    """AdamW with AMSGrad (the paper, appendix on INRs)."""

    def optimizer(self, module: nn.Module, lr: float, weight_decay: float, fused: bool) -> Optimizer:
        """See `Training`."""
        return adamw(list(module.parameters()), lr, weight_decay, fused)


class Adam(Training):
    """Adam (the paper, section 4.4), step by step also on a card."""

    def optimizer(self, module: nn.Module, lr: float, weight_decay: float, fused: bool) -> Optimizer:
        """See `Training`."""
        return torch.optim.Adam(module.parameters(), lr, weight_decay=weight_decay)


class Muon(Training):
    """Muon (Jordan et al. 2024) for the matrices of Linear layers of at least 16 × 16, AdamW for all else.

    Args:
        factor: of the learning rate, for matrices; their steps are scaled to the size of those of AdamW.
    """

    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor

    def optimizer(self, module: nn.Module, lr: float, weight_decay: float, fused: bool) -> Optimizer:
        """See `Training`."""
        layers = [each for each in module.modules() if isinstance(each, nn.Linear)]
        matrices = [layer.weight for layer in layers if min(layer.weight.shape) >= SMALLEST]
        known = set(map(id, matrices))
        parts = [adamw([each for each in module.parameters() if id(each) not in known], lr, weight_decay, fused)]
        if matrices:
            options: dict[str, Any] = {"weight_decay": weight_decay, "adjust_lr_fn": "match_rms_adamw"}
            parts.append(torch.optim.Muon(matrices, self.factor * lr, **options))
        return Optimizers(parts)


def adamw(parameters: list[nn.Parameter], lr: float, weight_decay: float, fused: bool) -> Optimizer:
    """AdamW with AMSGrad; one kernel for all parameters where `fused`."""
    options: dict[str, Any] = {"fused": True} if fused else {}
    return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, amsgrad=True, **options)


class Optimizers(Optimizer):
    """Several optimizers as one: the parameter groups of all of them, and one step of each."""

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each, after the closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Those of the parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the states of the parts, and the groups they make of them."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
