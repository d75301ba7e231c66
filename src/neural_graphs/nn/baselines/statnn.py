"""StatNN: a network seen through a few statistics of each of its tensors."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.networks import Networks
from neural_graphs.nn.baselines.standardise import StandardiseFeatures
from neural_graphs.nn.group_statistics import STATISTICS, statistics
from neural_graphs.nn.perceptron import perceptron
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import InputSpec, networks_for


class StatNN(Shareable):
    """An MLP on seven statistics of every tensor, weights and biases apart (Unterthiner et al. 2020).

    Invariant to every permutation, also to those that change the function. Networks with fewer tensors than the deepest
    of the family have zeros for the missing ones, so networks of several depths can be mixed.

    Args:
        family: the networks it will read; they have at most a tensor of weights and one of biases per group.
        classes: the answers per network.
        hidden: widths of the hidden layers.
        dropout: probability of dropping a hidden feature in training.
    """

    def __init__(
        self, family: InputSpec, classes: int, hidden: Sequence[int] = (1000, 1000), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.tensors = 2 * family.groups
        self.standardise = StandardiseFeatures(self.tensors * STATISTICS)
        self.mlp = perceptron((self.tensors * STATISTICS, *hidden, classes), dropout)

    def fit_statistics(self, networks: Networks) -> None:
        """Standardise by these networks, those of the training split."""
        self.standardise.fit(self.features(networks))

    def features(self, networks: Networks) -> Float[Tensor, "networks features"]:
        """The statistics, tensor after tensor. Raises LayoutError where a network has too many tensors."""
        rows = networks.values.new_zeros(len(networks), self.tensors * STATISTICS)
        for places, part in networks.by_layout():
            layout = part.layout
            if len(layout.parameters) > self.tensors:
                raise LayoutError(f"this StatNN reads {self.tensors} tensors; {layout} has {len(layout.parameters)}")
            found = torch.cat([statistics(part.values[:, place]) for place in layout.slices.values()], 1)
            rows[places] = F.pad(found, (0, rows.shape[1] - found.shape[1]))
        return rows

    def embed(self, networks: Networks) -> Float[Tensor, "networks features"]:
        """What the MLP sees of each network."""
        return self.standardise(self.features(networks))

    def forward(self, networks: Networks) -> Float[Tensor, "networks classes"]:
        networks = networks_for(self, networks)
        return self.mlp(self.embed(networks))
