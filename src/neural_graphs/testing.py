"""Assertions about metanetworks: symmetry, independence of the batch, and that nothing in them is idle.

Each measures in the precision of the networks given (use float64 for the default tolerances), with modules switched to
evaluation for the time being, and judges errors relative to the largest value of the output.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.axes import Atom, Axis, Concat, Product
from neural_graphs.layout import Layout, Role
from neural_graphs.networks import Networks
from neural_graphs.symmetry import Element, Kind, NeuronPermutation, PerNetwork, Symmetry, sample_symmetry

Function = Callable[[Networks], Tensor | Networks]  # a metanetwork, or anything that is called like one


def relative_error(actual: Float[Tensor, "*shape"], expected: Float[Tensor, "*shape"]) -> float:
    """`max |actual − expected| / max |expected|`, absolute where `expected` is zero; infinite where one is NaN."""
    scale = float(torch.nan_to_num(expected.abs()).max()) or 1.0
    return _gap(actual, expected) / scale


def symmetry_error(function: Function, networks: Networks, symmetry: Symmetry) -> float:
    """How far `function` is from respecting `symmetry`, relative to the largest value of its output.

    Outputs that are tensors should not change, `f(g · n) = f(n)`; outputs that are `Networks` should move along,
    `F(g · n) = g · F(n)`.
    """
    actual, expected = _both_ways(function, networks, symmetry)
    return relative_error(_values(actual), _values(expected))


def assert_invariant(
    metanetwork: Function,
    networks: Networks,
    generator: torch.Generator | None = None,
    tolerance: float = 1e-10,
    kind: Kind = NeuronPermutation,
) -> None:
    """Every network moved by a random symmetry of its own gets the same outputs, `f(g · n) = f(n)`.

    Raises AssertionError naming the network with the largest error, ValueError where no symmetry moves anything.
    """
    actual, expected = _both_ways(metanetwork, networks, _moving(networks, generator, kind))
    if isinstance(actual, Networks) or isinstance(expected, Networks):
        raise AssertionError("expected a tensor (networks, outputs), got Networks: judge edits with assert_equivariant")
    error = relative_error(actual, expected)
    if not error <= tolerance:
        worst = _worst(actual, expected)
        raise AssertionError(
            f"outputs change when the hidden neurons are moved by a {kind.__name__}: by {error:.1e} of the largest "
            f"output, expected at most {tolerance:.0e}. Worst is network {worst} ({networks.layouts[worst]}): "
            f"{_short(expected[worst])} became {_short(actual[worst])}"
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
    """
    actual, expected = _both_ways(metanetwork, networks, _moving(networks, generator, kind))
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


def assert_same_function(
    first: Networks | nn.Module, second: Networks | nn.Module, x: Tensor, tolerance: float = 1e-10
) -> None:
    """Two batches of networks, or a module and a batch of one, give the same outputs for `x`.

    Raises AssertionError naming the network where they differ most.
    """
    with _evaluating(first), _evaluating(second), torch.no_grad():
        actual, expected = (f.run(x) if isinstance(f, Networks) else f(x)[None] for f in (first, second))
    if actual.shape != expected.shape:
        raise AssertionError(f"expected outputs of one shape, got {tuple(actual.shape)} and {tuple(expected.shape)}")
    error = relative_error(actual, expected)
    if not error <= tolerance:
        worst = _worst(actual, expected)
        raise AssertionError(
            f"the functions differ by {error:.1e} of the largest output, expected at most {tolerance:.0e}; "
            f"most in network {worst}: {_short(actual[worst])} against {_short(expected[worst])}"
        )


def assert_batch_independent(
    metanetwork: Function, networks: Networks, strangers: Networks | None = None, tolerance: float = 1e-10
) -> None:
    """A network's output is the same in its batch, alone, among copies of itself, and among strangers.

    `strangers` may have other layouts (then the batch is mixed); by default the same networks, thrice as large.
    Raises AssertionError naming the company that changes the answer.
    """
    strangers = networks * 3.0 if strangers is None else strangers
    with _evaluating(metanetwork), torch.no_grad():
        expected = _rows(metanetwork(networks))
        for place in range(len(networks)):
            one = networks[place]
            companies = {
                "alone": one,
                "among copies of itself": Networks.cat([one, one, one]),
                "before strangers": Networks.cat([one, strangers]),
                "after strangers": Networks.cat([strangers, one]),
            }
            for company, batch in companies.items():
                actual = _rows(metanetwork(batch))[-1 if company == "after strangers" else 0]
                error = relative_error(actual, expected[place])
                if not error <= tolerance:
                    raise AssertionError(
                        f"network {place} ({networks.layouts[place]}) gets another output {company} than in its batch "
                        f"of {len(networks)}: off by {error:.1e}, expected at most {tolerance:.0e}. Does a norm or "
                        f"a pool reach over the batch? {_short(expected[place])} became {_short(actual)}"
                    )


def assert_not_too_symmetric(metanetwork: Function, networks: Networks, smallest: float = 1e-6) -> None:
    """Permuting the inputs or the outputs of the networks does change the answer: those are other functions.

    Raises AssertionError naming the end that is ignored, ValueError where neither end has two neurons.
    """
    roles: tuple[Role, ...] = ("input", "output")
    ends = {role: _Rolled(networks, role) for role in roles}
    if not any(end.moves for end in ends.values()):
        raise ValueError(f"{networks} have one input and one output: there is nothing to permute")
    for role, end in ends.items():
        error = symmetry_error(metanetwork, networks, end) if end.moves else float("inf")
        if not error >= smallest:
            raise AssertionError(
                f"permuting the {role} neurons changes the answer by {error:.1e} only, expected at least "
                f"{smallest:.0e}: networks with other {role}s look alike; do its neurons know their position?"
            )


def assert_nothing_idle(
    metanetwork: nn.Module, networks: Networks, generator: torch.Generator | None = None, smallest: float = 1e-12
) -> None:
    """Every parameter of the metanetwork gets a finite gradient that is not zero, from a random function of its output.

    Gradients below `smallest` times the largest of all count as zero: they are rounding. Raises AssertionError naming
    the parameters.
    """
    named = {name: p for name, p in metanetwork.named_parameters() if p.requires_grad}
    with _evaluating(metanetwork), torch.enable_grad():
        values = _values(metanetwork(networks))
        loss = (values * torch.randn(values.shape, generator=_seeded(generator)).to(values)).sum()
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    largest = {name: 0.0 if g is None else float(g.abs().max()) for name, g in zip(named, gradients, strict=True)}
    wild = [name for name, size in largest.items() if not np.isfinite(size)]
    if wild:
        raise AssertionError(f"expected finite gradients, got infinite or NaN ones for {', '.join(wild)}")
    idle = [name for name, size in largest.items() if size <= smallest * max(largest.values())]
    if idle:
        raise AssertionError(f"expected every parameter to matter, but these get no gradient: {', '.join(idle)}")


def assert_learns_identity(
    metanetwork: nn.Module, networks: Networks, steps: int = 300, rate: float = 0.01, tolerance: float = 0.05
) -> None:
    """A copy of an equivariant metanetwork, trained with Adam, learns to return the parameters it is given.

    `tolerance` is the mean squared error left over that of answering zero. Raises AssertionError with what was left.
    """
    student = deepcopy(metanetwork).train()
    optimizer = torch.optim.Adam(student.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    left = float("inf")
    for _ in range(steps):
        loss = (_values(student(networks)) - networks.values).square().mean() / networks.values.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        left = float(loss.detach())
    if not left <= tolerance:
        raise AssertionError(
            f"after {steps} steps the answer is off the parameters given by {left:.3f} of their mean square, expected "
            f"at most {tolerance}: does what the readout needs of a weight reach it?"
        )


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


def _both_ways(
    function: Function, networks: Networks, symmetry: Symmetry
) -> tuple[Tensor | Networks, Tensor | Networks]:
    """`f(g · n)`, and what it should be."""
    with _evaluating(function), torch.no_grad():
        actual, output = function(symmetry.act(networks)), function(networks)
    return actual, symmetry.act(output) if isinstance(output, Networks) else output


def _moving(networks: Networks, generator: torch.Generator | None, kind: Kind) -> PerNetwork:
    symmetry = sample_symmetry(networks, _seeded(generator), kind)
    if torch.equal(symmetry.act(networks).values, networks.values):
        raise ValueError(f"no {kind.__name__} moves {networks}: there would be nothing to see")
    return symmetry


def _seeded(generator: torch.Generator | None) -> torch.Generator:
    return torch.Generator().manual_seed(0) if generator is None else generator


@contextmanager
def _evaluating(function: object) -> Iterator[None]:
    """Modules in evaluation mode for the time being, dropout off; every submodule gets its own mode back."""
    modules = [m for m in function.modules() if m.training] if isinstance(function, nn.Module) else []
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


def _values(output: Tensor | Networks) -> Tensor:
    return output.values if isinstance(output, Networks) else output


def _rows(output: Tensor | Networks) -> list[Tensor]:
    return output.vectors() if isinstance(output, Networks) else list(output)


def _gap(actual: Tensor, expected: Tensor) -> float:
    return float(torch.nan_to_num((actual - expected).abs(), nan=float("inf")).max())


def _worst(actual: Tensor, expected: Tensor) -> int:
    return int(np.argmax([_gap(a, e) for a, e in zip(actual, expected, strict=True)]))


def _table(actual: Networks, expected: Networks, tolerance: float) -> str:
    """One line for every named tensor: its error relative to the largest of all edits, and the worst network."""
    scale = float(expected.values.abs().max()) or 1.0
    worst: dict[str, tuple[float, int]] = {}
    for place, (got, wanted) in enumerate(zip(actual.state_dicts(), expected.state_dicts(), strict=True)):
        for name in wanted:
            error = _gap(got[name], wanted[name]) / scale
            worst[name] = max(worst.get(name, (0.0, place)), (error, place), key=lambda pair: pair[0])
    width = max(map(len, worst))
    lines = [
        f"{name:{width}}  {error:8.1e}  network {place}{'' if error <= tolerance else '  ← off'}"
        for name, (error, place) in worst.items()
    ]
    return "\n".join([f"{'tensor':{width}}  {'error':>8}  worst in", *lines])


def _short(values: Tensor) -> str:
    flat = values.detach().reshape(-1)
    shown = ", ".join(f"{float(value):.4g}" for value in flat[:4])
    return f"[{shown}{', …' if flat.numel() > 4 else ''}]"
