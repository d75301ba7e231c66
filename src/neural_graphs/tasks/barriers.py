"""Loss along the line between two networks: how high the barrier is, before and after alignment."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from neural_graphs.networks import Networks
from neural_graphs.networks.statistics import renew_statistics
from neural_graphs.symmetry import align, interpolate
from neural_graphs.symmetry.elements import Element

BATCH = 500  # inputs that a network reads at once


@dataclass(frozen=True)
class Barrier:
    """Mean cross-entropy on the way from one network (share 0) to another (share 1), as it is and once aligned."""

    shares: tuple[float, ...]
    naive: tuple[float, ...]
    aligned: tuple[float, ...]
    symmetry: Element

    @property
    def heights(self) -> tuple[float, float]:
        """How far the loss rises above the line between its ends, as they are and once aligned."""
        return height(self.shares, self.naive), height(self.shares, self.aligned)


def barrier(
    start: Networks,
    end: Networks,
    inputs: Float[Tensor, "images ..."],
    labels: Int[Tensor, " images"],
    steps: int = 11,
    seed: int = 0,
) -> Barrier:
    """Align a network with another of its layout, and measure both ways between them on labelled inputs.

    Running statistics of batch norms are taken anew on the inputs all along.
    """
    symmetry = align(start, end, seed=seed)
    shares = tuple(torch.linspace(0, 1, steps).tolist())
    naive, near = (losses(interpolate(start, each, shares), inputs, labels) for each in (end, symmetry.act(end)))
    return Barrier(shares, tuple(naive), tuple(near), symmetry)


@torch.no_grad()
def losses(networks: Networks, inputs: Float[Tensor, "images ..."], labels: Int[Tensor, " images"]) -> list[float]:
    """The mean cross-entropy of every network, nats."""
    batches = list(inputs.to(networks.values.dtype).split(BATCH))
    networks = renew_statistics(networks, batches)
    found = []
    for network in (networks[place] for place in range(len(networks))):
        logits = torch.cat([network.run(batch)[0] for batch in batches])
        found.append(float(F.cross_entropy(logits.double(), labels)))
    return found


def height(shares: Sequence[float], values: Sequence[float]) -> float:
    """The largest rise above the line between the ends, never below 0.

    >>> height([0.0, 0.5, 1.0], [1.0, 5.0, 3.0])
    3.0
    """
    line = [(1 - t) * values[0] + t * values[-1] for t in shares]
    return max(max(value - level for value, level in zip(values, line, strict=True)), 0.0)
