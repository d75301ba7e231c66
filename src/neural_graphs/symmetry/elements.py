"""Symmetries: changes of a network's parameters that leave the function it computes unchanged."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property, reduce
from math import prod
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.permissions import SCALES, SIGNS, Rule, factor_index, reasons
from neural_graphs.networks import Networks
from neural_graphs.symmetry.relabel import Relabelling, new_factors, new_places

Own = TypeVar("Own", bound="Multiplication")
LISTED = 4  # reasons in an error
FINE = "where that is fine, say missing_ok=True"


class Symmetry:
    """An element of the group that leaves the function unchanged; it acts linearly, so it acts on edits as well."""

    def act(self, networks: Networks) -> Networks:
        """The moved networks: other parameters, the same functions. Raises LayoutError for networks it is not of."""
        raise TypeError(f"{type(self).__name__} is abstract: use Element or PerNetwork")

    def inverse(self) -> "Symmetry":
        """The element that undoes this one."""
        raise TypeError(f"{type(self).__name__} is abstract: use Element or PerNetwork")

    def __matmul__(self, other: "Symmetry") -> "Symmetry":
        """First `other`, then this one: `(g @ h).act(n) == g.act(h.act(n))`."""
        raise TypeError(f"{type(self).__name__} is abstract: use Element or PerNetwork")


class Element(Symmetry):
    """A symmetry of the networks of one layout: their neurons are reordered, and multiplied by a factor.

    `new[i] = factors[i] · old[orders[i]]`. Orders are those of axis atoms: atoms that are not named stay as they are,
    neurons that share an atom move together, and an atom that lies within others has an order at every new place of
    those, `(*their sizes, size)`, or one for all. Factors are those of all neurons, `(neurons,)`, or of the places of
    atoms by name. The weights follow: `w_ts` becomes `w_ts · factor_t / factor_s`, kernels are carried along whole.
    Reordering is exact bit for bit. Raises LayoutError where a block or a shared tensor would be torn apart.
    """

    def __init__(
        self,
        layout: Layout,
        orders: Mapping[str, np.ndarray] | None = None,
        factors: Mapping[str, np.ndarray] | np.ndarray | None = None,
    ):
        self.layout = layout
        named = factors if isinstance(factors, Mapping) else {}
        unknown = {*(orders or {}), *named} - {atom.name for atom in layout.free_atoms}
        if unknown:
            raise LayoutError(
                f"{layout} is free to permute {[a.name for a in layout.free_atoms]}, not {sorted(unknown)}"
            )
        self.relabelling = Relabelling(layout, orders or {})
        self.orders = self.relabelling.orders
        self.factors = _of_atoms(layout, named) if isinstance(factors, Mapping) else factors
        if self.factors is not None and self.factors.shape != (layout.neurons,):
            raise LayoutError(f"{layout} has {layout.neurons} neurons, got {self.factors.shape} factors")

    def act(self, networks: Networks) -> Networks:
        strangers = [place for place, layout in enumerate(networks.layouts) if layout != self.layout]
        if strangers:
            raise LayoutError(
                f"a symmetry of {self.layout} cannot act on network {strangers[0]}, {networks.layouts[strangers[0]]}; "
                "draw one for every network with sample_symmetry"
            )
        if not networks.regular:
            return PerNetwork([self] * len(networks)).act(networks)
        return networks.with_values(self.move(networks.values, 1))

    def move(self, values: Tensor, dim: int) -> Tensor:
        """Act on flat parameter vectors that lie along `dim`."""
        if self.orders:
            values = values.index_select(dim, self.places.to(values.device))
        if self.factors is not None:
            factor = self.place_factors.to(values)
            values = values * factor.reshape(-1, *(1,) * (values.ndim - dim - 1))
        return values

    def inverse(self) -> "Element":
        back = self.relabelling.inverse()
        undone = type(self)(self.layout, back)
        undone.factors = None if self.factors is None else 1 / self.factors[undone.neuron_order]
        return undone

    def __matmul__(self, other: Symmetry) -> Symmetry:
        if not isinstance(other, Element):
            return NotImplemented
        if other.layout != self.layout:
            raise LayoutError(f"symmetries of {self.layout} and of {other.layout} do not compose")
        moved = None if other.factors is None else other.factors[self.neuron_order]
        found = [factors for factors in (self.factors, moved) if factors is not None]
        kind = type(self) if type(self) is type(other) else Element
        orders = self.relabelling.after(other.relabelling)
        return kind(self.layout, orders, reduce(np.multiply, found) if found else None)

    # -- what happens to every neuron and every number ---------------------------------------------------------------

    @cached_property
    def group_orders(self) -> tuple[np.ndarray, ...]:
        """Old neuron of every new neuron, `(group size,)` for every group."""
        return tuple(group.axis.arrange(self.orders) for group in self.layout.groups)

    @cached_property
    def neuron_order(self) -> np.ndarray:
        """Old neuron of every new neuron, `(neurons,)`."""
        pairs = zip(self.layout.neuron_slices, self.group_orders, strict=True)
        return np.concatenate([neurons.start + order for neurons, order in pairs])

    @cached_property
    def group_factors(self) -> tuple[np.ndarray, ...]:
        """The factor of every neuron's value, `(group size,)` for every group."""
        factors = np.ones(self.layout.neurons) if self.factors is None else self.factors
        return tuple(factors[neurons] for neurons in self.layout.neuron_slices)

    @cached_property
    def places(self) -> Tensor:
        """Old place of every parameter in the flat vector, `(size,)`."""
        return torch.from_numpy(new_places(self.layout, self.group_orders))

    @cached_property
    def place_factors(self) -> Tensor:
        """The factor of every parameter in the flat vector, `(size,)`, float64."""
        return torch.from_numpy(new_factors(self.layout, self.group_factors))


class NeuronPermutation(Element):
    """The hidden neurons of every free atom in another order; exact bit for bit, and so is its inverse.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1))
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> g = ng.NeuronPermutation.sample(layout, torch.Generator().manual_seed(0))
        >>> torch.equal(g.inverse().act(g.act(networks)).values, networks.values)
        True
    """

    @classmethod
    def sample(
        cls, layout: Layout, generator: torch.Generator, *, missing_ok: bool = False
    ) -> "NeuronPermutation":  # fmt: skip
        """A uniformly random order of every free atom, at every place of those it lies within.

        Raises LayoutError where no neuron may move, unless `missing_ok`.
        """
        require_movable(cls, layout, missing_ok)
        shapes = {atom.name: Relabelling(layout, {}).shape(atom.name) for atom in layout.free_atoms}
        return cls(layout, {name: _permutations(shape, generator) for name, shape in shapes.items()})

    @staticmethod
    def draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Random permutations along the last axis, all at once, where the generator is."""
        return torch.rand(shape, generator=generator, device=generator.device).argsort(-1)

    @staticmethod
    def movable(layout: Layout) -> list[Atom]:
        """The axes that may be permuted, and have more places than one."""
        return [atom for atom in layout.free_atoms if atom.size > 1]

    @staticmethod
    def objections(layout: Layout) -> list[str]:
        """Why the hidden neurons may not be permuted."""
        hidden = [group for group in layout.groups if group.role == "hidden"]
        alone = [f"{group.name} has one neuron" for group in hidden if group.size == 1]
        return alone + [f"{group.name} has an order that is fixed" for group in hidden if group.size > 1]


class Multiplication(Element, ABC):
    """Hidden neurons multiplied by factors, which a `rule` allows and `draw` draws."""

    rule: ClassVar[Rule]

    @classmethod
    def sample(cls: type[Own], layout: Layout, generator: torch.Generator, *, missing_ok: bool = False) -> Own:
        """A random factor for every neuron that may have one, one for those that are tied.

        Raises LayoutError saying why none may, unless `missing_ok`.
        """
        require_movable(cls, layout, missing_ok)
        index = factor_index(layout, cls.rule)
        drawn = cls.draw((int(index.max(initial=-1)) + 1,), generator).double().numpy()
        return cls(layout, None, np.append(drawn, 1.0)[index] if drawn.size else None)

    @staticmethod
    @abstractmethod
    def draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Random factors of a shape, where the generator is."""

    @classmethod
    def movable(cls, layout: Layout) -> list[np.ndarray]:
        """The neurons that may be multiplied, of every group that has some."""
        index = factor_index(layout, cls.rule)
        found = [neurons.start + np.flatnonzero(index[neurons] >= 0) for neurons in layout.neuron_slices]
        return [each for each in found if each.size]

    @classmethod
    def objections(cls, layout: Layout) -> list[str]:
        """Why others may not."""
        return reasons(layout, cls.rule)


class SignFlip(Multiplication):
    """Hidden neurons of odd activations (sine, tanh, none) with all their incoming and outgoing weights negated.

    Neurons with any other activation, with a constant added after it, or read through a maximum stay as they are, and
    so do those that skips join to them; neurons that skips join change sign together.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1), "tanh")
        >>> networks, x = ng.Networks(torch.rand(5, layout.size), layout), torch.rand(7, 2)
        >>> flipped = ng.shuffle(networks, torch.Generator().manual_seed(0), ng.SignFlip)
        >>> torch.allclose(flipped.run(x), networks.run(x)), torch.allclose(flipped.values, networks.values)
        (True, False)
    """

    rule = SIGNS

    @staticmethod
    def draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """−1 or 1 for every neuron, each with probability one half."""
        return 1.0 - 2.0 * torch.randint(0, 2, shape, generator=generator, device=generator.device)


class PositiveScale(Multiplication):
    """Hidden neurons of the ReLU family scaled: incoming weights and biases by s > 0, outgoing weights by 1/s.

    Neurons with another activation (relu, leaky_relu and none qualify) or a constant added after it stay as they are,
    and so do those that skips join to them; neurons that skips join have one scale. It acts on parameters and their
    edits; gradients scale the other way.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1), "relu")
        >>> networks, x = ng.Networks(torch.rand(5, layout.size), layout), torch.rand(7, 2)
        >>> scaled = ng.shuffle(networks, torch.Generator().manual_seed(0), ng.PositiveScale)
        >>> torch.allclose(scaled.run(x), networks.run(x)), torch.allclose(scaled.values, networks.values)
        (True, False)
    """

    rule = SCALES

    @staticmethod
    def draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Log-normal scales, the logarithm of standard deviation one half."""
        return torch.exp(0.5 * torch.randn(shape, generator=generator, device=generator.device).double())


class PerNetwork(Symmetry):
    """One element for every network of a batch, mixed or not."""

    def __init__(self, elements: Sequence[Element]):
        self.elements = tuple(elements)

    def act(self, networks: Networks) -> Networks:
        layouts = tuple(element.layout for element in self.elements)
        if layouts != networks.layouts:
            raise LayoutError(
                f"{len(layouts)} symmetries of {_names(layouts)} cannot act on {len(networks)} networks of "
                f"{_names(networks.layouts)}; draw them with sample_symmetry(networks, generator)"
            )
        if not networks.regular:
            vectors = zip(self.elements, networks.vectors(), strict=True)
            return networks.with_values(torch.cat([element.move(vector, 0) for element, vector in vectors]))
        if len(set(self.elements)) == 1:
            return self.elements[0].act(networks)
        places = torch.stack([element.places for element in self.elements]).to(networks.values.device)
        channels = (1,) * (networks.values.ndim - 2)
        values = networks.values.take_along_dim(places.reshape(*places.shape, *channels), 1)
        if any(element.factors is not None for element in self.elements):
            factors = torch.stack([element.place_factors for element in self.elements]).to(values)
            values = values * factors.reshape(*factors.shape, *channels)
        return networks.with_values(values)

    def inverse(self) -> "PerNetwork":
        back = {element: element.inverse() for element in dict.fromkeys(self.elements)}
        return PerNetwork([back[element] for element in self.elements])

    def __matmul__(self, other: Symmetry) -> Symmetry:
        if not isinstance(other, PerNetwork):
            return NotImplemented
        pairs = list(zip(self.elements, other.elements, strict=True))
        products = {pair: pair[0] @ pair[1] for pair in dict.fromkeys(pairs)}
        return PerNetwork([products[pair] for pair in pairs])  # type: ignore[misc]


Kind = type[NeuronPermutation] | type[Multiplication]


def nothing_moves(kind: Kind, layout: Layout) -> str:
    """That no symmetry of a kind moves a layout, and why: for the groups that were looked at."""
    why = kind.objections(layout)
    few = "; ".join(why[:LISTED]) + (f"; and {len(why) - LISTED} more" if len(why) > LISTED else "")
    return f"no {kind.__name__} moves {layout}: {few or 'it has no hidden neurons'}"


def require_movable(kind: Kind, layout: Layout, missing_ok: bool) -> None:
    """Raise LayoutError, saying why, where a kind moves nothing, unless `missing_ok`."""
    if not (missing_ok or kind.movable(layout)):
        raise LayoutError(f"{nothing_moves(kind, layout)}; {FINE}")


def sample_symmetry(
    networks: Networks, generator: torch.Generator, kind: Kind = NeuronPermutation, *, missing_ok: bool = False
) -> PerNetwork:
    """A random symmetry of a batch, mixed or not: every network gets an element of its own.

    Raises LayoutError, saying why, where none of the networks can be moved, unless `missing_ok`.
    """
    layouts = list(dict.fromkeys(networks.layouts))
    if not missing_ok and not any(kind.movable(layout) for layout in layouts):
        raise LayoutError(f"{nothing_moves(kind, layouts[0])}; {FINE}")
    return PerNetwork([kind.sample(layout, generator, missing_ok=True) for layout in networks.layouts])


def _permutations(shape: tuple[int, ...], generator: torch.Generator) -> np.ndarray:
    """Random permutations along the last axis."""
    rows = [torch.randperm(shape[-1], generator=generator).numpy() for _ in range(prod(shape[:-1]))]
    return np.stack(rows).reshape(shape)


def _of_atoms(layout: Layout, factors: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The factors of all neurons, `(neurons,)`, of those of places of atoms."""
    return np.concatenate([_spread(group.axis, factors) for group in layout.groups]) if factors else None


def _spread(axis: Axis, factors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The factor of every place of an axis, `(size,)`: nested axes multiply, chained ones follow each other."""
    match axis:
        case Product(parts):
            return reduce(np.multiply.outer, [_spread(part, factors) for part in parts]).reshape(-1)
        case Concat(parts):
            return np.concatenate([_spread(part, factors) for part in parts])
        case Atom(name, size) if name in factors and factors[name].shape != (size,):
            raise LayoutError(f"axis {name!r} needs {size} factors, got an array {factors[name].shape}")
        case Atom(name, size):
            return factors.get(name, np.ones(size))
    raise LayoutError(f"no rule to scale the neurons of an axis {type(axis).__name__}")


def _names(layouts: Sequence[Layout]) -> str:
    return " | ".join(format(layout) for layout in dict.fromkeys(layouts))
