"""SetNN: a network as a set of numbers, each with its place (the paper's Set NN baseline)."""

import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.graph import Forward, NeuralGraph
from neural_graphs.nn.backbones.base import Backbone
from neural_graphs.nn.embeddings import Position
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.models import encoder, initialise
from neural_graphs.nn.readout import GraphReadout, MeanNodes
from neural_graphs.nn.run.memory import EdgeMemory
from neural_graphs.nn.spec import InputSpec


class NumberLayer(nn.Module):
    """An MLP on every weight and on every bias, each with where it lies; the mean of those of weights per neuron."""

    def __init__(self, position: Position, width: int):
        super().__init__()
        self.position = position
        self.ends = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))
        self.weight, self.bias = (nn.Sequential(nn.Linear(width, width), nn.SiLU()) for _ in range(2))
        self.out = nn.Linear(width, width)

    def nodes(self, graph: NeuralGraph) -> Tensor:
        """What is said of the numbers of every neuron, `(*batch, neurons, width)`."""
        topology, place = graph.topology, self.position(graph.topology)
        source, target = (end(place).expand_as(graph.nodes) for end in self.ends)
        weights = self.weight(F.silu(graph.edges + topology.gather_add(source, target)))
        degree = topology.in_degree.clamp(min=1).to(weights.dtype)
        return self.out(self.bias(graph.nodes) + topology.sum(weights) / degree)

    def edges(self, graph: NeuralGraph) -> None:
        """No number is changed."""


class SetOfNumbers(Backbone):
    """One layer, `NumberLayer`: no message between neurons."""

    def __init__(self, position: Position, width: int):
        super().__init__(EdgeMemory(state=width, largest=width, work=4 * width, layers=1))
        self.layer = NumberLayer(position, width)

    def stack(self) -> list[NumberLayer]:
        """The layer."""
        return [self.layer]


class SetNN(Metanetwork):
    """An MLP on every number and its place, the mean of what it says, and an MLP on that.

    Places are those of inputs, layers and outputs, so that it is blind to more than permutations: which weights belong
    to one neuron makes no difference. `family`, `classes` and `sigma` as for `NGGNN`.
    """

    def __init__(self, family: InputSpec, classes: int, width: int = 64, sigma: float | None = 3.0):
        position = Position(family.inputs, family.hidden_groups, family.outputs, width)
        super().__init__(
            encoder(family, Forward(), width, width, sigma=sigma),
            SetOfNumbers(position, width),
            GraphReadout(width, classes, MeanNodes()),
        )
        initialise(self)
