"""`Program`: the code that runs the networks of a traced layout, and what counts as their answer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from neural_graphs.errors import LayoutError, reason

Inputs: TypeAlias = Tensor | tuple[Any, ...] | Mapping[str, Any]
CACHES = ("past_key_values", "mems", "cache_params")  # what decoders hand to their next call: no part of an answer


class Program:
    """A copy of a module in evaluation mode, run on the parameters of any network of its layout.

    `pick` chooses from what the module returns what counts as the answer; by default everything but the caches of
    decoders. Inputs are a tensor, a tuple of positional arguments, or a mapping of keyword arguments. Raises
    LayoutError for what is no module, or one that has no shapes yet or cannot be copied.
    """

    def __init__(self, module: nn.Module, pick: Callable[[Any], Any] | None = None):
        self.module = copied(module).eval().requires_grad_(False)
        self.pick = pick or without_caches
        self.batches = True  # as long as torch.vmap can run it
        self.groups: Any = None  # what reads the values of single groups, where tracing left it

    def __deepcopy__(self, memo: dict[int, Any]) -> "Program":
        """Itself: all it may learn, whether torch.vmap runs it, holds for every copy."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: an exported graph stays in the one that traced it."""
        return {**self.__dict__, "groups": None}

    def outputs(self, state: Mapping[str, Tensor], inputs: Inputs) -> list[Tensor]:
        """Every tensor of the answer of the network with these tensors."""
        arguments, keywords = as_arguments(inputs)
        with plain_attention():  # the fused one has no gradient and no vmap
            found = torch.func.functional_call(self.module, dict(state), arguments, keywords, tie_weights=False)
        return [tensor for tensor in pytree.tree_leaves(self.pick(found)) if isinstance(tensor, Tensor)]

    def __call__(self, state: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        """The answer, or its first tensor where there are several."""
        return self.outputs(state, inputs)[0]


def require_module(module: object) -> None:
    """Raise LayoutError for what is no module, and for a lazy one that never ran: its tensors have no shapes."""
    if not isinstance(module, nn.Module):
        got = module.__name__ if isinstance(module, type) else f"a {type(module).__name__}"
        raise LayoutError(f"expected a torch.nn.Module with its tensors, got {got}; make one whose forward calls it")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise LayoutError(
                f"{name} of {type(module).__name__} has no shape yet; run the module once on an example input first"
            )


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module; tensors that hooks compute before each run (pruning, old weight norm) without their past.

    Raises LayoutError for what is no module with shapes, or cannot be copied.
    """
    require_module(module)
    attributes = [value for each in module.modules() for value in vars(each).values()]
    computed = [value for value in attributes if isinstance(value, Tensor) and not value.is_leaf]
    try:
        return deepcopy(module, {id(tensor): tensor.detach() for tensor in computed})
    except Exception as error:  # whatever the module holds
        raise LayoutError(
            f"{type(module).__name__} cannot be copied: {reason(error, 300)} ({type(error).__name__}); keep its "
            "tensors as parameters and buffers, and what copy.deepcopy does not take outside of it"
        ) from error


def without_caches(found: Any) -> Any:
    """Tensors of an answer as plain containers, caches of decoders left out."""
    if isinstance(found, Mapping):
        return {name: value for name, value in found.items() if name not in CACHES}
    return found


def as_arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments. Raises LayoutError for anything but tensors, tuples and mappings."""
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    if isinstance(inputs, tuple | list):
        return tuple(inputs), {}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    raise LayoutError(
        f"inputs are a tensor, a tuple of arguments or a mapping of keyword arguments, got {type(inputs).__name__}"
    )


@contextmanager
def plain_attention() -> Iterator[None]:
    """Without the fused kernels that hide the operators of attention layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
