"""Assertions about training: every parameter gets a gradient, and an equivariant readout can learn what it is asked."""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.networks import Networks
from neural_graphs.networks.evaluating import evaluating
from neural_graphs.testing.measure import seeded, values_of


def assert_nothing_idle(
    metanetwork: nn.Module, networks: Networks, generator: torch.Generator | None = None, smallest: float = 1e-12
) -> None:
    """Every parameter of the metanetwork gets a finite gradient that is not zero, from a random function of its output.

    Gradients below `smallest` times the largest of all count as zero: they are rounding. Raises AssertionError naming
    the parameters.
    """
    named = {name: p for name, p in metanetwork.named_parameters() if p.requires_grad}
    with evaluating(metanetwork), torch.enable_grad():
        values = values_of(metanetwork(networks))
        loss = (values * torch.randn(values.shape, generator=seeded(generator)).to(values)).sum()
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    largest = {name: 0.0 if g is None else float(g.abs().max()) for name, g in zip(named, gradients, strict=True)}
    wild = [name for name, size in largest.items() if not np.isfinite(size)]
    if wild:
        raise AssertionError(f"expected finite gradients, got infinite or NaN ones for {', '.join(wild)}")
    idle = [name for name, size in largest.items() if size <= smallest * max(largest.values())]
    if idle:
        raise AssertionError(f"expected every parameter to matter, but these get no gradient: {', '.join(idle)}")


def assert_learns(
    metanetwork: nn.Module,
    networks: Networks,
    targets: Networks,
    steps: int = 200,
    rate: float = 0.01,
    tolerance: float = 0.05,
) -> None:
    """A copy of an equivariant metanetwork, trained with Adam, learns to answer `networks` with `targets`.

    `tolerance` is the squared error left in each named tensor, relative to the square of its target (what zeros would
    leave). Raises AssertionError naming the tensors that were not learned, ValueError where zeros are all that is
    wanted of one.
    """
    student, share = deepcopy(metanetwork).train(), _share_of_square(targets)
    optimizer = torch.optim.Adam(student.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (share * (student(networks).values - targets.values).square()).sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        left = _by_name(networks.with_values(share * (student(networks).values - targets.values).square()))
    missed = [f"{name} ({size:.3f})" for name, size in left.items() if not size <= tolerance]
    if missed:
        raise AssertionError(
            f"after {steps} steps more than {tolerance} of the square of these tensors is left: {', '.join(missed)}; "
            "does what the readout needs of a weight or a neuron reach it?"
        )


def assert_learns_identity(
    metanetwork: nn.Module, networks: Networks, steps: int = 200, rate: float = 0.01, tolerance: float = 0.05
) -> None:
    """A copy of an equivariant metanetwork learns to return the parameters it is given, as `assert_learns` judges."""
    assert_learns(metanetwork, networks, networks, steps, rate, tolerance)


def _share_of_square(networks: Networks) -> Tensor:
    """One over the sum of squares of the named tensor that each number belongs to, shaped as the values."""
    squares = _by_name(networks * networks.values)
    if empty := [name for name, square in squares.items() if square == 0]:
        raise ValueError(f"targets of {', '.join(empty)} are zero everywhere: answering nothing would be right")
    share = networks.with_values(torch.ones_like(networks.values))
    for state_dict in share.state_dicts():
        for name, tensor in state_dict.items():
            tensor /= squares[name]  # a view of share
    return share.values


def _by_name(networks: Networks) -> dict[str, float]:
    """The sum of each named tensor over all networks."""
    totals: dict[str, float] = {}
    for state_dict in networks.state_dicts():
        for name, tensor in state_dict.items():
            totals[name] = totals.get(name, 0.0) + float(tensor.sum())
    return totals
