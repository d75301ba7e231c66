"""Assertions about metanetworks: symmetry, independence of the batch, and that nothing in them is idle.

Each measures in the precision of the networks given (use float64 for the default tolerances), with modules switched to
evaluation for the time being, and judges errors relative to the largest value of the output.

Examples:
    >>> import torch, neural_graphs as ng
    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).double()
    >>> x = torch.rand(4, 2, dtype=torch.float64)
    >>> ng.testing.assert_same_function(module, ng.trace(module, x), x)
"""

from neural_graphs.testing.answers import assert_batch_independent, assert_same_function
from neural_graphs.testing.learning import assert_learns, assert_learns_identity, assert_nothing_idle
from neural_graphs.testing.measure import relative_error, symmetry_error
from neural_graphs.testing.symmetric import assert_equivariant, assert_invariant, assert_not_too_symmetric

__all__ = [
    "assert_batch_independent",
    "assert_equivariant",
    "assert_invariant",
    "assert_learns",
    "assert_learns_identity",
    "assert_not_too_symmetric",
    "assert_nothing_idle",
    "assert_same_function",
    "relative_error",
    "symmetry_error",
]
