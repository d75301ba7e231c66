"""What the views of a traced value are views of: neurons of a group, numbers of a tensor, or neither."""

from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import numpy as np

from neural_graphs.errors import LayoutError
from neural_graphs.layout import GlobalMean, MaxPool, Role
from neural_graphs.layout.strides import Window
from neural_graphs.tracing.dims import DimVar


@dataclass(eq=False)
class GroupBuilder:
    """A group in the making; its neurons are numbered along its variables, row-major.

    `bias` are a tensor, the part of it, and whether those numbers have an owner already. `scale`, `offset` and `pool`
    are what a layout can tell of the values beside the activation; what it cannot tell makes them not `transparent`.
    """

    name: str
    vars: tuple[DimVar, ...]
    kind: str
    role: Role = "hidden"
    activation: str = "none"
    bias: "tuple[ParamRef, Window, bool] | None" = None
    scale: float = 1.0
    offset: float = 0.0
    pool: GlobalMean | MaxPool | None = None
    transparent: bool = True

    def activate(self, kind: str) -> None:
        """Apply a function to every neuron, after everything so far."""
        self.activation = kind
        if self.offset or self.pool is not None:  # before a function neither can be told
            self.transparent, self.offset, self.pool = False, 0.0, None

    def suffer(self, effect: "Effect", alone: bool) -> None:
        """Note what is done to the values; `alone`: to all of them, and for every reader."""
        match effect:
            case Scale(factor) if alone and self.activation == "none" and not self.offset:
                self.scale *= factor
            case Shift(amount) if alone and self.pool is None:
                self.offset += amount
            case GlobalMean() | MaxPool() if alone and self.pool is None:
                self.pool = effect
            case Scale() | GlobalMean():  # linear, at least
                pass
            case _:
                self.transparent = False


@dataclass(frozen=True)
class Scale:
    """Values are multiplied by one number."""

    factor: float


@dataclass(frozen=True)
class Shift:
    """One number is added to values."""

    amount: float


@dataclass(frozen=True)
class Unknown:
    """Something that is not linear and that layouts cannot tell."""


Effect: TypeAlias = Scale | Shift | GlobalMean | MaxPool | Unknown


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
