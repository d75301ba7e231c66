"""What depends on layouts and wirings alone: made once, kept, and a constant to compilers."""

from collections.abc import Callable, Hashable, Iterator
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


class PerMethod:
    """What was made with the methods of modules, kept as long as these; at most `most` results for each module."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._kept: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()

    def get(self, method: Callable[..., Any], key: Hashable, make: Callable[[], Made]) -> Made:
        """What is kept of a method, or a function, under a key; made now, outside inference mode, where nothing is."""
        kept = self._kept.setdefault(getattr(method, "__self__", method), {})
        found: Made | None = kept.get((method.__name__, key))
        if found is None:
            if len(kept) >= self._most:
                kept.clear()
            with torch.inference_mode(False):
                found = kept[method.__name__, key] = make()
        return found


_ARRAYS, _TENSORS = PerMethod(), PerMethod()


def table_of(table: Table, layout: Layout) -> np.ndarray:
    """A table of a layout, made once."""
    return _ARRAYS.get(table, layout, lambda: np.ascontiguousarray(table(layout)))


def table_on(device: torch.device, table: Table, layout: Layout) -> Tensor:
    """A table of a layout as a tensor on a device: uploaded once, and kept as long as the module whose method it is."""
    if torch.compiler.is_compiling():
        return torch.from_numpy(table(layout)).to(device)
    return _hold(_TENSORS.get(table, (layout, device), lambda: torch.from_numpy(table_of(table, layout)).to(device)))
