"""`Metanetwork`: an encoder, a backbone and a readout."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.graph import NeuralGraph
from neural_graphs.networks import Networks
from neural_graphs.nn.backbones.base import Backbone
from neural_graphs.nn.canonical import Canonical, multiplied, representatives
from neural_graphs.nn.readout import GraphReadout
from neural_graphs.nn.run.memory import edge_count, edges_of, require_memory
from neural_graphs.nn.run.microbatch import Reader
from neural_graphs.nn.shareable import Shareable


class Metanetwork(Shareable, Reader):
    """`Encoder → Backbone → Readout`: a network that reads networks.

    `metanetwork(networks)` is `(networks, classes)` with a `GraphReadout`, and `Networks` (a change of every parameter)
    with a `WeightReadout`. The order of hidden neurons never matters; with `canonical`, their scales and signs do not
    either: representatives are read, made by one after another, scales before signs, and edits of them carried back.
    Without gradients a large batch is read piece by piece (`nn.run.microbatch`), so that any number of networks fits;
    to train piece by piece, use `nn.mean_loss`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1), "sine")
        >>> reader = ng.NGGNN(ng.InputSpec.of([layout]), classes=10)  # a Metanetwork, ready made
        >>> type(reader.encoder).__name__, type(reader.backbone).__name__, type(reader.readout).__name__
        ('Encoder', 'MessagePassing', 'GraphReadout')
        >>> reader.embed(ng.Networks(torch.rand(5, layout.size), layout)).shape
        torch.Size([5, 32])
    """

    def __init__(self, encoder: nn.Module, backbone: Backbone, readout: nn.Module, canonical: Sequence[Canonical] = ()):
        super().__init__()
        backbone.needs.check(encoder.wiring, type(backbone).__name__)
        self.encoder, self.backbone, self.readout = encoder, backbone, readout
        self.canonical = nn.ModuleList(canonical)

    def read(self, networks: Networks) -> Any:
        """Read a batch in one go, in the precision of the parameters.

        Autocasting is off in here: the deviation of messages, √(E[m²] − E[m]²), needs all their bits. Raises
        MemoryNeeded, before anything is made, where the batch needs more memory than there is.
        """
        require_memory(networks, self.encoder.wiring, self.backbone.memory)
        with torch.autocast(networks.values.device.type, enabled=False):
            graph, seen, factors = self._graph(networks)
            answer = self.readout(graph, seen)
            edited = isinstance(answer, Networks) and factors is not None
            return multiplied(answer, 1 / factors) if edited else answer

    def encode(self, networks: Networks) -> NeuralGraph:
        """The neural graph before the readout."""
        return self._graph(networks)[0]

    def _graph(self, networks: Networks) -> tuple[NeuralGraph, Networks, Tensor | None]:
        """The graph before the readout, the networks it is of, and what takes them back to those given."""
        seen, factors = representatives(networks, self.canonical)
        return self.backbone(self.encoder(seen)), seen, factors

    def embed(self, networks: Networks) -> Float[Tensor, "networks d"]:
        """One vector per network, in one go: what the readout sees. Networks alike to this metanetwork lie together.

        Raises ConfigError for an editor, which sees a network neuron by neuron.
        """
        if not isinstance(self.readout, GraphReadout):
            raise ConfigError(f"{type(self.readout).__name__} pools nothing: an editor has no embedding of a network")
        with torch.autocast(networks.values.device.type, enabled=False):
            return self.readout.pool(self.encode(networks))

    def prepare(self, networks: Networks) -> None:
        """Make ahead of time, in any thread, the index tensors that reading these networks in one go needs."""
        edges_of(networks, self.encoder.wiring)
        for each in self.canonical:
            assert isinstance(each, Canonical)
            each.prepare(networks)
        self.encoder.prepare(networks)

    def numbers(self, networks: Networks) -> int:
        """How many numbers the largest edge tensor holds for the largest of these networks, about."""
        largest = max(networks.layouts, key=lambda layout: layout.weights) if not networks.regular else networks.layout
        return edge_count(largest, self.encoder.wiring) * self.backbone.memory.largest
