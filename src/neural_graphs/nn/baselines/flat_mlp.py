"""A plain MLP on the flat vector of parameters: what is lost by not knowing the symmetry."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.networks import Networks
from neural_graphs.nn.baselines.standardise import StandardiseFeatures
from neural_graphs.nn.perceptron import perceptron
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import InputSpec, networks_for


class FlatMLP(Shareable):
    """Classify a network by an MLP on its standardised flat vector (the paper's MLP baseline).

    It sees neurons in the order they happen to have, so shuffling hidden neurons changes its answers.

    Args:
        family: the networks it will read, all of `family.size` parameters.
        classes: the answers per network.
        hidden: widths of the hidden layers.
        dropout: probability of dropping a hidden feature in training.
    """

    def __init__(
        self, family: InputSpec, classes: int, hidden: Sequence[int] = (512, 512, 512), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.size = family.size
        self.standardise = StandardiseFeatures(self.size)
        self.mlp = perceptron((self.size, *hidden, classes), dropout)

    def fit_statistics(self, networks: Networks) -> None:
        """Standardise by these networks, those of the training split."""
        self.standardise.fit(self.features(networks))

    def features(self, networks: Networks) -> Float[Tensor, "networks size"]:
        """The flat vectors. Raises LayoutError where networks have another number of parameters."""
        odd = next((layout for layout in networks.layouts if layout.size != self.size), None)
        if odd is not None:
            raise LayoutError(f"this FlatMLP reads networks of {self.size} parameters; {odd} has {odd.size}")
        return networks.values if networks.regular else torch.stack(networks.vectors())

    def embed(self, networks: Networks) -> Float[Tensor, "networks features"]:
        """What the MLP sees of each network."""
        return self.standardise(self.features(networks))

    def forward(self, networks: Networks) -> Float[Tensor, "networks classes"]:
        networks = networks_for(self, networks)
        return self.mlp(self.embed(networks))
