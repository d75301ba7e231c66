"""How far two answers are apart, and what else the assertions share."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_graphs.networks import Networks
from neural_graphs.networks.evaluating import evaluating
from neural_graphs.symmetry import Symmetry

Function = Callable[[Networks], Tensor | Networks]  # a metanetwork, or anything that is called like one


def relative_error(actual: Float[Tensor, "*shape"], expected: Float[Tensor, "*shape"]) -> float:
    """`max |actual − expected| / max |expected|`, absolute where `expected` is zero; infinite where one is NaN."""
    scale = float(torch.nan_to_num(expected.abs()).max()) or 1.0
    return gap(actual, expected) / scale


def symmetry_error(function: Function, networks: Networks, symmetry: Symmetry) -> float:
    """How far `function` is from respecting `symmetry`, relative to the largest value of its output.

    Outputs that are tensors should not change, `f(g · n) = f(n)`; outputs that are `Networks` should move along,
    `F(g · n) = g · F(n)`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size, dtype=torch.float64), layout)
        >>> swap = ng.NeuronPermutation.sample(layout, torch.Generator().manual_seed(0))
        >>> ng.symmetry_error(ng.NGGNN(ng.InputSpec.of([layout]), classes=10).double(), networks, swap) < 1e-10
        True
    """
    actual, expected = both_ways(function, networks, symmetry)
    return relative_error(values_of(actual), values_of(expected))


def both_ways(
    function: Function, networks: Networks, symmetry: Symmetry
) -> tuple[Tensor | Networks, Tensor | Networks]:
    """`f(g · n)`, and what it should be: `f(n)`, or `g · f(n)` where the answer is Networks."""
    with evaluating(function), torch.no_grad():
        actual, output = function(symmetry.act(networks)), function(networks)
    return actual, symmetry.act(output) if isinstance(output, Networks) else output


def seeded(generator: torch.Generator | None) -> torch.Generator:
    """The generator given, or one that is the same every time."""
    return torch.Generator().manual_seed(0) if generator is None else generator


def values_of(output: Tensor | Networks) -> Tensor:
    """The numbers of an answer in one tensor."""
    return output.values if isinstance(output, Networks) else output


def rows(output: Tensor | Networks) -> list[Tensor]:
    """The answer for each network."""
    return output.vectors() if isinstance(output, Networks) else list(output)


def gap(actual: Tensor, expected: Tensor) -> float:
    """The largest difference; infinite where one is NaN."""
    return float(torch.nan_to_num((actual - expected).abs(), nan=float("inf")).max())


def worst_network(actual: Tensor, expected: Tensor) -> int:
    """The place of the network whose answers differ most."""
    return int(np.argmax([gap(a, e) for a, e in zip(actual, expected, strict=True)]))


def short(values: Tensor) -> str:
    """The first numbers of a tensor, for a message."""
    flat = values.detach().reshape(-1)
    shown = ", ".join(f"{float(value):.4g}" for value in flat[:4])
    return f"[{shown}{', …' if flat.numel() > 4 else ''}]"
