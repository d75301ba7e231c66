"""What the views of a traced value are views of: neurons of a group, numbers of a tensor, or neither."""

from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import numpy as np

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Role
from neural_graphs.layout.strides import Window
from neural_graphs.tracing.dims import DimVar


@dataclass(eq=False)
class GroupBuilder:
    """A group in the making; its neurons are numbered along its variables, row-major.

    `bias` are a tensor, the part of it, and whether those numbers have an owner already.
    """

    name: str
    vars: tuple[DimVar, ...]
    kind: str
    role: Role = "hidden"
    activation: str = "none"
    bias: "tuple[ParamRef, Window, bool] | None" = None


@dataclass(eq=False)
class ParamRef:
    """A tensor of the state dict, and which of its numbers have an owner already, `(size,)`."""

    name: str
    shape: tuple[int, ...]
    buffer: bool
    owned: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.owned = np.zeros(prod(self.shape), dtype=bool)

    def is_all(self, window: Window) -> bool:
        """Whether a window is the whole tensor in its own order."""
        return window.whole and window.size == self.owned.size

    def own(self, window: Window) -> bool:
        """Take these numbers; False where they have an owner. Raises LayoutError where only some of them have."""
        places = slice(None) if self.is_all(window) else window.places
        taken = self.owned[places]
        if taken.all() and taken.size:
            return False
        if taken.any():
            raise LayoutError(f"{self.name}: some of the numbers that are read here were read before, others were not")
        self.owned[places] = True
        return True


@dataclass(frozen=True, eq=False)
class Raw:
    """What no parameter has touched yet: made of inputs (`given`) or of constants."""

    given: bool


Source: TypeAlias = GroupBuilder | ParamRef | Raw
