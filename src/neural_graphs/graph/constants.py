"""What depends on layouts and wirings alone: made once, kept, and a constant to compilers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from neural_graphs.layout import Layout

Given = ParamSpec("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Tensors:
    """Tensors that were made once; a constant that holds some has to be an object, for compilers to tell them apart."""

    each: tuple[Tensor | None, ...]

    @property
    def only(self) -> Tensor:
        """The tensor, of one."""
        (tensor,) = self.each
        assert tensor is not None
        return tensor


def constant(size: int = 4096) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Keep the last `size` results of a function of hashable values; `torch.compile` does not look inside.

    Tensors among them are made outside inference mode: what is made while predicting is read by training later on.
    """

    def decorate(function: Callable[Given, Made]) -> Callable[Given, Made]:
        kept = lru_cache(maxsize=size)(torch.inference_mode(False)(function))

        @wraps(function)
        def remembered(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            return _hold(kept(*args, **kwargs))  # type: ignore[arg-type]  # all are hashable

        marked: Callable[Given, Made] = torch.compiler.assume_constant_result(remembered)
        return marked

    return decorate


_HOLDERS: list[list[Any]] = []


@contextmanager
def holding() -> Iterator[list[Any]]:
    """A list of all constants that are asked for within, by whatever thread: who keeps it keeps their memory."""
    held: list[Any] = []
    _HOLDERS.append(held)
    try:
        yield held
    finally:
        _HOLDERS[:] = [each for each in _HOLDERS if each is not held]


def _hold(made: Made) -> Made:
    for held in _HOLDERS:
        held.append(made)
    return made


Table = Callable[[Layout], np.ndarray]  # whole numbers, or marks, of neurons or weights
_KEPT: WeakKeyDictionary[Any, dict[Any, Tensor]] = WeakKeyDictionary()


def table_on(device: torch.device, table: Table, layout: Layout) -> Tensor:
    """A table of a layout as a tensor on a device: uploaded once, and kept as long as the module whose method it is."""
    if torch.compiler.is_compiling():
        return torch.from_numpy(table(layout)).to(device)
    kept = _KEPT.setdefault(getattr(table, "__self__", table), {})
    key = (table.__name__, layout, device)
    if key not in kept:
        if len(kept) >= 4096:
            kept.clear()
        with torch.inference_mode(False):
            kept[key] = torch.from_numpy(np.ascontiguousarray(table(layout))).to(device)
    return _hold(kept[key])
