"""How a tensor dimension may be relabelled: atoms, products and concatenations of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from neural_graphs.errors import LayoutError

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
        """Old place of every new place, `(size,)`, when each free atom `a` is reordered by `orders[a.name]`.

        Raises LayoutError for an order that is no permutation, or of an atom outside those it lies within.
        """
        return self.old(np.arange(self.size), orders, {})

    def old(self, new: np.ndarray, orders: Orders, around: Mapping[str, np.ndarray]) -> np.ndarray:
        """Old places of some new ones; `around` has the new places there of every surrounding atom, shaped as `new`."""
        raise TypeError(f"{type(self).__name__} is abstract: use Atom, Product or Concat")


@dataclass(frozen=True)
class Atom(Axis):
    """`size` places that are either fixed or free to permute.

    `within` names atoms that it is nested in: it may be reordered in another way at each of their places (the
    dimensions of every attention head, the channels of every group). Wherever it occurs, they do. Its order then has
    the shape `(*their sizes, size)`, counted along their new places.
    """

    name: str
    size: int
    free: bool = False
    within: tuple[str, ...] = ()

    def atoms(self) -> "tuple[Atom, ...]":
        return (self,)

    def old(self, new: np.ndarray, orders: Orders, around: Mapping[str, np.ndarray]) -> np.ndarray:
        if not self.free or self.name not in orders:
            return new
        order = np.asarray(orders[self.name])
        ascending = np.arange(self.size)
        if order.ndim != 1 + len(self.within) or not np.array_equal(
            np.sort(order, -1), np.broadcast_to(ascending, (*order.shape[:-1], self.size))
        ):
            each = f" at every place of {self.within}" if self.within else ""
            raise LayoutError(
                f"order of axis {self.name!r} must be a permutation of 0 … {self.size - 1}{each}, got {order}"
            )
        if missing := [name for name in self.within if name not in around]:
            raise LayoutError(f"axis {self.name!r} lies within {missing}, which must surround it in a Product")
        return order[(*(around[name] for name in self.within), new)]


@dataclass(frozen=True)
class Product(Axis):
    """Nested axes, the first one slowest: place `(i, j)` of sizes `(I, J)` is number `i · J + j`."""

    parts: tuple[Axis, ...]

    @property
    def size(self) -> int:  # type: ignore[override]
        return prod(part.size for part in self.parts)

    @property
    def factors(self) -> tuple[Axis, ...]:
        """The parts, those of products among them instead of these."""
        nested = (part.factors if isinstance(part, Product) else (part,) for part in self.parts)
        return tuple(factor for factors in nested for factor in factors)

    def atoms(self) -> tuple[Atom, ...]:
        return tuple(atom for part in self.parts for atom in part.atoms())

    def old(self, new: np.ndarray, orders: Orders, around: Mapping[str, np.ndarray]) -> np.ndarray:
        sizes = tuple(factor.size for factor in self.factors)
        indices = np.unravel_index(new, sizes)
        siblings = {f.name: at for f, at in zip(self.factors, indices, strict=True) if isinstance(f, Atom)}
        around = {**around, **siblings}
        moved = [f.old(at, orders, around) for f, at in zip(self.factors, indices, strict=True)]
        return np.ravel_multi_index(moved, sizes)


@dataclass(frozen=True)
class Concat(Axis):
    """Axes one after another."""

    parts: tuple[Axis, ...]

    @property
    def size(self) -> int:  # type: ignore[override]
        return sum(part.size for part in self.parts)

    def atoms(self) -> tuple[Atom, ...]:
        return tuple(atom for part in self.parts for atom in part.atoms())

    def old(self, new: np.ndarray, orders: Orders, around: Mapping[str, np.ndarray]) -> np.ndarray:
        moved, start = new.copy(), 0
        for part in self.parts:
            here = (new >= start) & (new < start + part.size)
            outside = {name: at[here] for name, at in around.items()}
            moved[here] = start + part.old(new[here] - start, orders, outside)
            start += part.size
        return moved


def coordinates(axis: Axis, name: str) -> np.ndarray:
    """The place of every neuron of a group along an atom, -1 where it has none: `(size,)`.

    Raises LayoutError where a neuron has two.
    """
    match axis:
        case Atom():
            return np.arange(axis.size) if axis.name == name else np.full(axis.size, -1)
        case Concat(parts):
            return np.concatenate([coordinates(part, name) for part in parts])
        case Product(parts):
            sizes = [part.size for part in parts]
            along = np.unravel_index(np.arange(axis.size), sizes)
            found = np.stack([coordinates(part, name)[at] for part, at in zip(parts, along, strict=True)])
            if ((found >= 0).sum(0) > 1).any():
                raise LayoutError(f"axis {name!r} occurs twice in one group, which cannot be matched")
            return found.max(0)
    raise LayoutError(f"an axis is an Atom, a Product or a Concat, got {type(axis).__name__}")
