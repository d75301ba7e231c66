"""`Metanetwork`: an encoder, a backbone and a readout; and the two models of the paper as ready-made ones."""

from typing import Any

from torch import Tensor, nn

from neural_graphs.graph import NeuralGraph
from neural_graphs.networks import Networks


class Metanetwork(nn.Module):
    """`Encoder → Backbone → Readout`: a network that reads networks.

    `metanetwork(networks)` is `(networks, classes)` with a `GraphReadout`, and `Networks` (a change of every parameter)
    with a `WeightReadout`. The order of hidden neurons never matters.
    """

    def __init__(self, encoder: nn.Module, backbone: nn.Module, readout: nn.Module):
        super().__init__()
        self.encoder, self.backbone, self.readout = encoder, backbone, readout

    def forward(self, networks: Networks) -> Tensor | Networks | Any:
        """Read a batch of networks."""
        return self.readout(self.embed(networks), networks)

    def embed(self, networks: Networks) -> NeuralGraph:
        """The neural graph before the readout."""
        return self.backbone(self.encoder(networks))  # type: ignore[no-any-return]
