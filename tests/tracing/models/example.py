"""What a network to trace is: how to build it, what to feed it, and random numbers far from the initial ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Inputs = Tensor | tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A network by name: every call of `module` and `inputs` gives the same numbers again.

    `tolerance` is how well it keeps its function in float64, larger only where its own code computes in float32.
    """

    name: str
    build: Callable[[], nn.Module]
    draw: Callable[[], Inputs]
    tolerance: float = 1e-10

    def module(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """In evaluation mode, every number of it random."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.build().to(dtype).eval()
        return settled(module, torch.Generator().manual_seed(seed))

    def inputs(self, dtype: torch.dtype = torch.float64) -> Inputs:
        """What it is run on, whole numbers as they are and floats in `dtype`."""
        return pytree.tree_map_only(Tensor, lambda x: x.to(dtype) if x.is_floating_point() else x, self.draw())


def settled(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """The module with random numbers as a trained one might have: no bias is 0, no scale 1, no table near nothing.

    Fresh networks hide mistakes: norms are the identity, class tokens zero, layer scales 1e-6.
    """
    with torch.no_grad():
        for name, tensor in {**dict(module.named_parameters()), **_statistics(module)}.items():
            own = name.rpartition(".")[2]
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if own == "running_var" or (tensor.ndim < 2 and not own.startswith(("bias", "running", "b_"))):
                noise = 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            elif tensor.ndim < 2:
                noise = 0.4 + 0.3 * noise
            else:
                noise = 1.2 * noise / max(tensor[0].numel(), 1) ** 0.5
            tensor.copy_(noise)
    return module


def _statistics(module: nn.Module) -> Mapping[str, Tensor]:
    kept = module.state_dict(keep_vars=True)
    return {name: b for name, b in module.named_buffers() if name in kept and b.is_floating_point()}


def floats(*shape: int) -> Callable[[], Tensor]:
    """Standard normal numbers, the same each time."""
    return lambda: torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def tokens(vocabulary: int, *shape: int) -> Callable[[], Tensor]:
    """Whole numbers below `vocabulary`, the same each time."""
    return lambda: torch.randint(0, vocabulary, shape, generator=torch.Generator().manual_seed(1))
