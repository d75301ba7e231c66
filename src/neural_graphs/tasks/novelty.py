"""How far a network lies from all that a metanetwork has seen, in what the metanetwork makes of networks."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NEIGHBOURS = 5  # whose mean distance counts
LEVEL = 0.99  # of networks like the known ones are not called unlike them


@dataclass(frozen=True)
class Novelty:
    """Descriptions of known networks, standardised, and the distance beyond which a network is unlike all of them.

    The distance of a network is the mean over its nearest known ones (Ramaswamy et al. 2000), each the root of the mean
    squared difference of descriptions; in units of `limit`, so that 1 is what one in a hundred held-out networks has.
    """

    known: Float[Tensor, "known d"]
    mean: Float[Tensor, " d"]
    spread: Float[Tensor, " d"]
    limit: float

    @classmethod
    def of(cls, known: Float[Tensor, "known d"], held_out: Float[Tensor, "networks d"]) -> "Novelty":
        """Learn what is near from networks that were trained on, and what is far from networks held out."""
        spread = known.std(0, correction=0)
        spread = torch.where(spread > 1e-6 * spread.max().clamp(min=1e-30), spread, 1.0)
        mean = known.mean(0)
        raw = cls((known - mean) / spread, mean, spread, 1.0)
        limit = float(np.quantile(raw.distance(held_out), LEVEL, method="higher"))
        return cls(raw.known, mean, spread, max(limit, 1e-30))

    def distance(self, described: Float[Tensor, "networks d"]) -> Float[np.ndarray, " networks"]:
        """Of every network, in units of `limit`; infinite for descriptions that are not finite."""
        apart = torch.cdist((described - self.mean) / self.spread, self.known) / self.known.shape[1] ** 0.5
        nearest = apart.sort(1).values[:, :NEIGHBOURS].mean(1) / self.limit
        return nearest.nan_to_num(torch.inf, torch.inf).double().numpy()
