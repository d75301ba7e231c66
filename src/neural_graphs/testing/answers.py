"""Assertions about single answers: what networks compute, and that the batch around them does not matter."""

import torch
from torch import Tensor, nn

from neural_graphs.networks import Networks
from neural_graphs.testing.measure import Function, evaluating, relative_error, rows, short, worst_network


def assert_same_function(
    first: Networks | nn.Module, second: Networks | nn.Module, x: Tensor, tolerance: float = 1e-10
) -> None:
    """Two batches of networks, or a module and a batch of one, give the same outputs for `x`.

    Raises AssertionError naming the network where they differ most.
    """
    with evaluating(first), evaluating(second), torch.no_grad():
        actual, expected = (f.run(x) if isinstance(f, Networks) else f(x)[None] for f in (first, second))
    if actual.shape != expected.shape:
        raise AssertionError(f"expected outputs of one shape, got {tuple(actual.shape)} and {tuple(expected.shape)}")
    error = relative_error(actual, expected)
    if not error <= tolerance:
        place = worst_network(actual, expected)
        raise AssertionError(
            f"the functions differ by {error:.1e} of the largest output, expected at most {tolerance:.0e}; "
            f"most in network {place}: {short(actual[place])} against {short(expected[place])}"
        )


def assert_batch_independent(
    metanetwork: Function, networks: Networks, strangers: Networks | None = None, tolerance: float = 1e-10
) -> None:
    """A network's output is the same in its batch, alone, among copies of itself, and among strangers.

    `strangers` may have other layouts (then the batch is mixed); by default the same networks, thrice as large.
    Raises AssertionError naming the company that changes the answer.
    """
    strangers = networks * 3.0 if strangers is None else strangers
    with evaluating(metanetwork), torch.no_grad():
        expected = rows(metanetwork(networks))
        for place in range(len(networks)):
            one = networks[place]
            companies = {
                "alone": one,
                "among copies of itself": Networks.cat([one, one, one]),
                "before strangers": Networks.cat([one, strangers]),
                "after strangers": Networks.cat([strangers, one]),
            }
            for company, batch in companies.items():
                actual = rows(metanetwork(batch))[-1 if company == "after strangers" else 0]
                error = relative_error(actual, expected[place])
                if not error <= tolerance:
                    raise AssertionError(
                        f"network {place} ({networks.layouts[place]}) gets another output {company} than in its batch "
                        f"of {len(networks)}: off by {error:.1e}, expected at most {tolerance:.0e}. Does a norm or "
                        f"a pool reach over the batch? {short(expected[place])} became {short(actual)}"
                    )
