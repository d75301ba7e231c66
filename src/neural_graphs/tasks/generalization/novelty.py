"""How far a network lies from all that was seen: in what a metanetwork makes of it, and in its tensors themselves."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from neural_graphs.networks import Networks
from neural_graphs.tasks.generalization.conformal import bound

NEIGHBOURS = 5  # whose mean distance counts
TRAITS = 3  # of a tensor
FAINT = 1e-4  # a tensor of smaller numbers is as good as zero
NO_ORDER = 0.01  # what independent numbers have by chance


@dataclass(frozen=True)
class Novelty:
    """Descriptions of known networks, standardised, and the distance beyond which a network is unlike all of them.

    The distance of a network is the mean over its nearest known ones (Ramaswamy et al. 2000), each the root of the mean
    squared difference of descriptions; in units of `limit`.
    """

    known: Float[Tensor, "known d"]
    mean: Float[Tensor, " d"]
    spread: Float[Tensor, " d"]
    limit: float

    @classmethod
    def of(
        cls,
        known: Float[Tensor, "known d"],
        held_out: Float[Tensor, "networks d"],
        runs: Shaped[np.ndarray, " networks"],
        level: float,
    ) -> "Novelty":
        """Learn what is near from networks that were trained on, and what is far from runs that were held out.

        A network of another run lies beyond the limit with probability 1 − `level` at most (`bound`); where there are
        too few runs to promise that, the limit is the farthest of them.
        """
        spread = known.std(0, correction=0)
        spread = torch.where(spread > 1e-6 * spread.max().clamp(min=1e-30), spread, 1.0)
        mean = known.mean(0)
        raw = cls((known - mean) / spread, mean, spread, 1.0)
        apart = raw.distance(held_out)
        return cls(raw.known, mean, spread, max(min(bound(apart, runs, level), float(apart.max())), 1e-30))

    def distance(self, described: Float[Tensor, "networks d"]) -> Float[np.ndarray, " networks"]:
        """Of every network, in units of `limit`; infinite for descriptions that are not finite."""
        apart = torch.cdist((described - self.mean) / self.spread, self.known) / self.known.shape[1] ** 0.5
        nearest = apart.sort(1).values[:, :NEIGHBOURS].mean(1) / self.limit
        return nearest.nan_to_num(torch.inf, torch.inf).double().numpy()


@torch.no_grad()
def traits(networks: Networks, tensors: int) -> Float[Tensor, "networks traits"]:
    """How large every tensor is, and how much order there is along its rows and its columns; blind to permutations.

    Tensor after tensor, in the order of the state dict; 0 for those that a network lacks, infinite for a network with
    more than so many.
    """
    rows = torch.full((len(networks), tensors * TRAITS), torch.inf, dtype=torch.float64)
    for places, part in networks.by_layout():
        shapes = part.layout.shapes
        if len(shapes) <= tensors:
            found = [_of_tensor(part.values[:, part.layout.slices[name]].double(), shapes[name]) for name in shapes]
            rows[places] = F.pad(torch.cat(found, 1), (0, (tensors - len(shapes)) * TRAITS))
    return rows


def _of_tensor(values: Float[Tensor, "networks size"], shape: tuple[int, ...]) -> Float[Tensor, "networks 3"]:
    """Log size, log order of rows and of columns; vectors have no order. Numbers of a kernel are summed."""
    size = values.square().mean(1, keepdim=True).sqrt()
    if len(shape) < 2:
        return F.pad((size + FAINT).log(), (0, TRAITS - 1))
    scaled = (values / size.clamp(min=1e-30)).unflatten(
        1, (shape[0], shape[1], -1)
    )  # (networks, rows, columns, kernel)
    orders = [_order(matrix.flatten(2)) for matrix in (scaled, scaled.transpose(1, 2))]
    return torch.stack([(size[:, 0] * scaled.shape[3] ** 0.5 + FAINT).log(), *orders], 1)


def _order(matrix: Float[Tensor, "networks rows columns"]) -> Float[Tensor, " networks"]:
    """Log of how much larger ‖MMᵀ‖² is than for independent numbers of mean square 1, of which it is rc (r + c + 1)."""
    _, r, c = matrix.shape
    products = (matrix @ matrix.transpose(1, 2)).square().sum((1, 2))
    return (products / (r * c * (r + c + 1)) - 1).clamp(min=NO_ORDER).log()
