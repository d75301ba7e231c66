"""Assertions that a metanetwork respects the symmetries of networks, and no others."""

from dataclasses import replace

import numpy as np
import torch

from neural_graphs.layout import Layout, Role
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.networks import Networks
from neural_graphs.symmetry import Element, Kind, NeuronPermutation, PerNetwork, Symmetry, sample_symmetry
from neural_graphs.symmetry.elements import nothing_moves
from neural_graphs.testing.measure import (
    Function,
    both_ways,
    gap,
    relative_error,
    seeded,
    short,
    symmetry_error,
    worst_network,
)


def assert_invariant(
    metanetwork: Function,
    networks: Networks,
    generator: torch.Generator | None = None,
    tolerance: float = 1e-10,
    kind: Kind = NeuronPermutation,
) -> None:
    """Every network moved by a random symmetry of its own gets the same outputs, `f(g · n) = f(n)`.

    Raises AssertionError naming the network with the largest error, ValueError where no symmetry moves anything.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size, dtype=torch.float64), layout)
        >>> ng.assert_invariant(ng.NGGNN(ng.InputSpec.of([layout]), classes=10).double(), networks)
    """
    actual, expected = both_ways(metanetwork, networks, _moving(networks, generator, kind))
    if isinstance(actual, Networks) or isinstance(expected, Networks):
        raise AssertionError("expected a tensor (networks, outputs), got Networks: judge edits with assert_equivariant")
    error = relative_error(actual, expected)
    if not error <= tolerance:
        place = worst_network(actual, expected)
        raise AssertionError(
            f"outputs change when the hidden neurons are moved by a {kind.__name__}: by {error:.1e} of the largest "
            f"output, expected at most {tolerance:.0e}. Worst is network {place} ({networks.layouts[place]}): "
            f"{short(expected[place])} became {short(actual[place])}"
        )


def assert_equivariant(
    metanetwork: Function,
    networks: Networks,
    generator: torch.Generator | None = None,
    tolerance: float = 1e-10,
    kind: Kind = NeuronPermutation,
) -> None:
    """Edits of moved networks are the moved edits, `F(g · n) = g · F(n)`, every network moved by its own symmetry.

    Raises AssertionError with a table of the error of every named tensor, ValueError where no symmetry moves anything.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size, dtype=torch.float64), layout)
        >>> ng.assert_equivariant(ng.NGGNNEditor(ng.InputSpec.of([layout]), width=16).double(), networks)
    """
    actual, expected = both_ways(metanetwork, networks, _moving(networks, generator, kind))
    if not isinstance(actual, Networks) or not isinstance(expected, Networks):
        raise AssertionError("expected Networks (edits), got a tensor: judge outputs with assert_invariant")
    if expected.layouts != networks.layouts:
        raise AssertionError(f"expected edits of {networks}, got {expected}")
    error = relative_error(actual.values, expected.values)
    if not error <= tolerance:
        raise AssertionError(
            f"edits do not move along with the hidden neurons ({kind.__name__}): they are off by {error:.1e} of the "
            f"largest edit, expected at most {tolerance:.0e}\n{_table(actual, expected, tolerance)}"
        )


def assert_not_too_symmetric(metanetwork: Function, networks: Networks, smallest: float = 1e-9) -> None:
    """Permuting the inputs or the outputs of the networks does change the answer: those are other functions.

    Rounding alone stays below `smallest` in float64; information that must travel far arrives small.

    Raises AssertionError naming the end that is ignored, ValueError where neither end has two neurons.
    """
    roles: tuple[Role, ...] = ("input", "output")
    ends = {role: end for role in roles if (end := _Rolled(networks, role)).moves}
    if not ends:
        raise ValueError(f"{networks} have one input and one output: there is nothing to permute")
    for role, end in ends.items():
        error = symmetry_error(metanetwork, networks, end)
        if not smallest <= error < float("inf"):
            raise AssertionError(
                f"permuting the {role} neurons changes the answer by {error:.1e}, expected {smallest:.0e} or "
                f"more: networks with other {role}s look alike; do its neurons know their position?"
            )


def _moving(networks: Networks, generator: torch.Generator | None, kind: Kind) -> PerNetwork:
    symmetry = sample_symmetry(networks, seeded(generator), kind, missing_ok=True)
    if torch.equal(symmetry.act(networks).values, networks.values):
        why = nothing_moves(kind, networks.layouts[0])
        raise ValueError(f"no {kind.__name__} moves {networks}: there would be nothing to see ({why})")
    return symmetry


def _table(actual: Networks, expected: Networks, tolerance: float) -> str:
    """One line for every named tensor: its error relative to the largest of all edits, and the worst network."""
    scale = float(expected.values.abs().max()) or 1.0
    found: dict[str, tuple[float, int]] = {}
    for place, (got, wanted) in enumerate(zip(actual.state_dicts(), expected.state_dicts(), strict=True)):
        for name in wanted:
            error = gap(got[name], wanted[name]) / scale
            found[name] = max(found.get(name, (0.0, place)), (error, place), key=lambda pair: pair[0])
    width = max(map(len, found))
    lines = [
        f"{name:{width}}  {error:8.1e}  network {place}{'' if error <= tolerance else '  ← off'}"
        for name, (error, place) in found.items()
    ]
    return "\n".join([f"{'tensor':{width}}  {'error':>8}  worst in", *lines])


class _Rolled(Symmetry):
    """The inputs or outputs of every network in another order: not a symmetry of the function, and it should show."""

    def __init__(self, networks: Networks, role: Role):
        elements = {layout: _rolled(layout, role) for layout in dict.fromkeys(networks.layouts)}
        self.element = PerNetwork([elements[layout] for layout in networks.layouts])
        self.moves = any(element.orders for element in elements.values())

    def act(self, networks: Networks) -> Networks:
        freed = [element.layout for element in self.element.elements]
        moved = self.element.act(Networks(networks.values, freed[0] if networks.regular else freed))
        return networks.with_values(moved.values)


def _rolled(layout: Layout, role: Role) -> Element:
    ends = [atom for group in layout.groups if group.role == role for atom in group.axis.atoms() if atom.size > 1]
    names = {atom.name for atom in ends}
    freed = replace(layout, groups=tuple(replace(g, axis=_free(g.axis, names)) for g in layout.groups))
    return Element(freed, {atom.name: np.roll(np.arange(atom.size), 1) for atom in ends})


def _free(axis: Axis, names: set[str]) -> Axis:
    match axis:
        case Atom(name) if name in names:
            return replace(axis, free=True)
        case Product(parts) | Concat(parts):
            return replace(axis, parts=tuple(_free(part, names) for part in parts))
    return axis
