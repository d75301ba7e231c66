"""`Backbone`: how layers are run, once for all of them; a layer is two functions, new nodes and new edges.

To add a backbone, write its `Layer` and a `Backbone` that lists the layers; recomputation, narrowing to output neurons
and the estimate of memory come with it. `message_passing.py` is the shorter example.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.graph import NeuralGraph, Wiring
from neural_graphs.layout.strides import End
from neural_graphs.nn.run.checkpointing import T, checkpointed
from neural_graphs.nn.run.memory import EdgeMemory


@runtime_checkable
class Layer(Protocol):
    """What a layer computes, whoever runs it; `graph` is `(*batch, neurons, d_n)` and `(*batch, edges, d_e)`."""

    def nodes(self, graph: NeuralGraph) -> Tensor:
        """New features of all neurons, `(*batch, neurons, d_n)`."""
        ...

    def edges(self, graph: NeuralGraph) -> Tensor | None:
        """New features of the edges of a graph that has the new nodes, `(*batch, edges, d_e)`; None: they stay."""
        ...


@dataclass(frozen=True)
class Needs:
    """What layers ask of a graph: new nodes read the edges at their `end`, new edges may read the reversed ones."""

    end: End = "target"
    reverse_edges: bool = False

    def check(self, wiring: Wiring, backbone: str) -> None:
        """Raise ConfigError where a wiring does not have what is asked."""
        if self.reverse_edges and not wiring.paired:
            raise ConfigError(f"{backbone} reads reversed edges and {wiring} has none; use Bidirectional or Looped")


class Backbone(nn.Module, ABC):
    """A stack of layers, graph in and graph out.

    With `outputs_only` the last layer updates output neurons only, and the edges they read are the only ones updated
    before it: what a readout of output neurons needs, at two thirds of the cost. What a layer makes on the way is made
    again in the backward pass where it is large. `memory` says what is kept per edge. Raises ConfigError for
    `outputs_only` together with `update_edges`: the last layer has no edges to update then.
    """

    needs: Needs = Needs()

    def __init__(self, memory: EdgeMemory, outputs_only: bool = False, update_edges: bool = False):
        super().__init__()
        if update_edges and outputs_only:
            raise ConfigError("update_edges reads weights and outputs_only reads output neurons: choose one")
        self.memory, self.outputs_only = memory, outputs_only

    @abstractmethod
    def stack(self) -> Sequence[Layer]:
        """The layers in the order they run."""

    def forward(self, graph: NeuralGraph) -> NeuralGraph:
        """Run the layers."""
        *before, last = self.stack()
        chosen = graph.topology.at_outputs(self.needs.end) if self.outputs_only else None
        for place, layer in enumerate(before, start=1):
            graph = replace(graph, nodes=self._run(layer.nodes, graph))
            if chosen is not None and place == len(before):
                graph = graph.subset(chosen, self.needs.reverse_edges)
            graph = self._with_edges(layer, graph)
        if chosen is None:
            return self._with_edges(last, replace(graph, nodes=self._run(last.nodes, graph)))
        if not before:
            graph = graph.subset(chosen, reverse=False)
        return replace(graph, nodes=chosen.keep_outputs(self._run(last.nodes, graph), graph.nodes))

    def _with_edges(self, layer: Layer, graph: NeuralGraph) -> NeuralGraph:
        edges = self._run(layer.edges, graph)
        return replace(graph, edges=graph.edges if edges is None else edges, opposite=None)

    def _run(self, function: Callable[[NeuralGraph], T], graph: NeuralGraph) -> T:
        """One function of a layer, recomputed where its widest tensor is large."""
        tensors = [graph.nodes, graph.edges, *([] if graph.opposite is None else [graph.opposite])]

        def of_tensors(nodes: Tensor, edges: Tensor, *opposite: Tensor) -> T:
            return function(NeuralGraph(nodes, edges, graph.topology, *opposite))

        return checkpointed(of_tensors, *tensors, numbers=graph.edges.shape[:-1].numel() * self.memory.largest)
