"""Learned optimizers that see no graph: every parameter alone, or the tensors one after another."""

import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.networks import Networks
from neural_graphs.nn.spec import InputSpec
from neural_graphs.optim.signals import CHANNELS, tensor_means, to_numbers
from neural_graphs.optim.update_rule import Refinements, UpdateRule


class FeedForwardRule(UpdateRule):
    """FF: every parameter alone, by an MLP of `depth` hidden layers of `width`; the rest as for `UpdateRule`."""

    def __init__(self, family: InputSpec, width: int = 64, depth: int = 2, refinements: Refinements | None = None):
        super().__init__(family, 0, (width,) * depth, refinements)

    def read(self, channels: Networks) -> None:
        return None


class LSTMRule(UpdateRule):
    """LSTM: the mean of every tensor, `Linear, ReLU, Linear` of its channels, walked over by an LSTM cell, in order.

    Its state begins at zero in every step, and what it says of a tensor is the context of all its parameters: a step
    commutes with all that moves numbers within their tensors, and it depends on the order of the tensors. `width` is
    that of everything; the rest as for `UpdateRule`.
    """

    def __init__(self, family: InputSpec, width: int = 32, refinements: Refinements | None = None):
        super().__init__(family, width, (width,), refinements)
        self.first, self.second = nn.Linear(CHANNELS, width), nn.Linear(width, width)
        self.walk = nn.LSTM(width, width, batch_first=True)

    def read(self, channels: Networks) -> Networks:
        def one(part: Networks) -> Tensor:
            features = self.second(F.relu(self.first(part.values)))
            return to_numbers(self.walk(tensor_means(features, part.layout))[0], part.layout)

        return channels.with_values(channels.cat_by_layout(one))
