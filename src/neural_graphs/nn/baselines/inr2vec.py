"""Inr2Vec: rows of the weight matrices, one by one, and the largest of what is said of them."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn.perceptron import perceptron
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import InputSpec, networks_for


def matrices(layout: Layout) -> dict[str, tuple[int, int]]:
    """Rows and columns of every tensor: a row per neuron that weights lead to, one row for all biases of a layer."""
    return {
        name: (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))
        for name, shape in layout.shapes.items()
    }


class Inr2Vec(Shareable):
    """Classify a network by its rows of weights: an MLP on every row, the largest of each feature, an MLP on these.

    The encoder of De Luigi et al. 2023, trained for the answer, without the decoder that trains it there, with layer
    norms in place of batch norms. It does not know to which layer a row belongs, nor what a column stands for, so
    that neurons in another order change its answers.

    Args:
        family: the networks it will read, of any layouts whose rows are no longer than those of the largest.
        classes: the answers per network.
        hidden: widths of the layers on rows; the last is that of the embedding.
        head: widths of the hidden layers on the embedding.
        dropout: probability of dropping a feature of the head in training.
    """

    def __init__(
        self, family: InputSpec, classes: int, hidden: Sequence[int] = (512, 512, 1024, 1024),
        head: Sequence[int] = (512, 256), dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if family.layout is None:
            raise LayoutError("Inr2Vec needs the layout of the networks: make the family with InputSpec.of(layouts)")
        self.columns = max(columns for _, columns in matrices(family.layout).values())
        sizes = pairwise((self.columns, *hidden))
        layers = [nn.Sequential(nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()) for before, after in sizes]
        self.encoder = nn.Sequential(*layers)
        self.head = perceptron((hidden[-1], *head, classes), dropout)

    def rows(self, networks: Networks) -> Float[Tensor, "networks rows columns"]:
        """All rows of networks of one layout, filled up with zeros. Raises LayoutError where they are too long."""
        layout, found = networks.layout, []
        for name, (count, columns) in matrices(layout).items():
            if columns > self.columns:
                raise LayoutError(
                    f"this Inr2Vec reads rows of {self.columns} numbers; {name} of {layout} has {columns}"
                )
            part = networks.values[:, layout.slices[name]].unflatten(1, (count, columns))
            found.append(F.pad(part, (0, self.columns - columns)))
        return torch.cat(found, 1)

    def embed(self, networks: Networks) -> Float[Tensor, "networks features"]:
        """Of every feature the largest over a network's rows."""
        return networks.stack_by_layout(lambda part: self.encoder(self.rows(part)).amax(1))

    def forward(self, networks: Networks) -> Float[Tensor, "networks classes"]:
        networks = networks_for(self, networks)
        return self.head(self.embed(networks))
