"""How a tensor dimension may be relabelled: atoms, products and concatenations of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

Orders = Mapping[str, Sequence[int] | np.ndarray]


class Axis:
    """A dimension of `size` places, together with the relabellings that leave the network's function unchanged.

    `Atom` is fixed or free to permute; `Product` nests axes (channel × place after a flatten); `Concat` chains them
    (after a `cat`, or a skip that covers the first channels only). Groups that share an atom permute together.
    """

    size: int

    def atoms(self) -> "tuple[Atom, ...]":
        """The atoms this axis is made of, in order, repeated where they are used twice."""
        raise TypeError(f"{type(self).__name__} is abstract: use Atom, Product or Concat")

    def arrange(self, orders: Orders) -> np.ndarray:
        """Old place of every new place, `(size,)`, when each free atom `a` is reordered by `orders[a.name]`."""
        raise TypeError(f"{type(self).__name__} is abstract: use Atom, Product or Concat")


@dataclass(frozen=True)
class Atom(Axis):
    """`size` places that are either fixed or free to permute."""

    name: str
    size: int
    free: bool = False

    def atoms(self) -> "tuple[Atom, ...]":
        return (self,)

    def arrange(self, orders: Orders) -> np.ndarray:
        if not self.free or self.name not in orders:
            return np.arange(self.size)
        order = np.asarray(orders[self.name])
        if sorted(order.tolist()) != list(range(self.size)):
            raise ValueError(f"order of axis {self.name!r} must be a permutation of 0 … {self.size - 1}, got {order}")
        return order


@dataclass(frozen=True)
class Product(Axis):
    """Nested axes, the first one slowest: place `(i, j)` of sizes `(I, J)` is number `i · J + j`."""

    parts: tuple[Axis, ...]

    @property
    def size(self) -> int:  # type: ignore[override]
        return prod(part.size for part in self.parts)

    def atoms(self) -> tuple[Atom, ...]:
        return tuple(atom for part in self.parts for atom in part.atoms())

    def arrange(self, orders: Orders) -> np.ndarray:
        place = np.zeros(1, dtype=np.int64)
        for part in self.parts:
            place = (place[:, None] * part.size + part.arrange(orders)[None]).reshape(-1)
        return place


@dataclass(frozen=True)
class Concat(Axis):
    """Axes one after another."""

    parts: tuple[Axis, ...]

    @property
    def size(self) -> int:  # type: ignore[override]
        return sum(part.size for part in self.parts)

    def atoms(self) -> tuple[Atom, ...]:
        return tuple(atom for part in self.parts for atom in part.atoms())

    def arrange(self, orders: Orders) -> np.ndarray:
        starts = np.cumsum([0, *(part.size for part in self.parts)])
        return np.concatenate(
            [start + part.arrange(orders) for start, part in zip(starts[:-1], self.parts, strict=True)]
        )
