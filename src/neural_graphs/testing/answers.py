"""Assertions about single answers: what networks compute, and that the batch around them does not matter."""

import torch
from torch import Tensor, nn

from neural_graphs.layout import Layout
from neural_graphs.networks import Inputs, Networks
from neural_graphs.networks.evaluating import evaluating
from neural_graphs.testing.measure import Function, relative_error, rows, seeded, short, worst_network
from neural_graphs.testing.proof import assert_symmetric


def assert_same_function(
    first: Networks | nn.Module,
    second: Networks | nn.Module | Layout,
    x: Inputs,
    tolerance: float | None = None,
    *,
    draws: int = 3,
    generator: torch.Generator | None = None,
) -> None:
    """Two batches of networks, or a module and a batch of one, give the same outputs for `x`; or a module gives the
    same outputs when its neurons are moved by random symmetries of a layout.

    With a layout, `x` is what the module takes: a tensor, a tuple of arguments or a mapping of keywords. `tolerance` is
    relative to the largest value of an output, by default 1e-10 in float64 and 1e-5 below; `draws` symmetries are
    tried. Raises AssertionError naming the network where they differ most; for a layout, the output that changes, the
    free atoms to blame, and parameters that the layout does not read.
    """
    if isinstance(second, Layout):
        if not isinstance(first, nn.Module):
            raise TypeError(f"a layout is compared with the module it is of, got {type(first).__name__}")
        precise = {p.dtype for p in first.parameters() if p.is_floating_point()} <= {torch.float64}
        wanted = _tolerance(torch.float64 if precise else torch.float32) if tolerance is None else tolerance
        assert_symmetric(first, second, x, wanted, draws, seeded(generator))
        return
    if not isinstance(x, Tensor):
        raise TypeError(f"networks are run on a tensor, got {type(x).__name__}")
    with evaluating(first), evaluating(second), torch.no_grad():
        actual, expected = (f.run(x) if isinstance(f, Networks) else f(x)[None] for f in (first, second))
    if actual.shape != expected.shape:
        raise AssertionError(f"expected outputs of one shape, got {tuple(actual.shape)} and {tuple(expected.shape)}")
    tolerance = _tolerance(actual.dtype) if tolerance is None else tolerance
    error = relative_error(actual, expected)
    if not error <= tolerance:
        place = worst_network(actual, expected)
        raise AssertionError(
            f"the functions differ by {error:.1e} of the largest output, expected at most {tolerance:.0e}; "
            f"most in network {place}: {short(actual[place])} against {short(expected[place])}"
        )


def _tolerance(dtype: torch.dtype) -> float:
    return 1e-10 if dtype == torch.float64 else 1e-5


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
