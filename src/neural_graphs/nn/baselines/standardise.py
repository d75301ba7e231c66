"""Features to mean 0 and spread 1, by figures of the training networks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST = 1e-6  # features that vary less than this are only centred


class StandardiseFeatures(nn.Module):
    """`(features − mean) / spread`, feature by feature; the identity until `fit` has seen the training networks.

    Mean and spread are buffers: they are saved with the model and never trained.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "networks features"]) -> None:
        """Take mean and standard deviation over these networks."""
        spread = features.std(0, correction=0)
        self.mean.copy_(features.mean(0))
        self.spread.copy_(torch.where(spread > SMALLEST, spread, 1.0))

    def forward(self, features: Float[Tensor, "networks features"]) -> Float[Tensor, "networks features"]:
        return (features - self.mean) / self.spread
