"""What a prediction between 0 and 1 costs: losses of logits against numbers in [0, 1]."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.layout.recorded import Recorded


class SquaredError(Recorded, nn.Module):
    """Mean of `(sigmoid(logit) − target)²` (the paper's NG-GNN on the small CNN zoo)."""

    def forward(self, logits: Float[Tensor, " networks"], targets: Float[Tensor, " networks"]) -> Float[Tensor, ""]:
        return F.mse_loss(logits.sigmoid(), targets)


class CrossEntropy(Recorded, nn.Module):
    """Mean of `−t log p − (1 − t) log(1 − p)`, p = sigmoid(logit), with t a share (the paper's NG-T)."""

    def forward(self, logits: Float[Tensor, " networks"], targets: Float[Tensor, " networks"]) -> Float[Tensor, ""]:
        return F.binary_cross_entropy_with_logits(logits, targets)
