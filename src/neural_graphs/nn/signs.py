"""Canonical signs: one representative of all networks that differ by sign flips of neurons with odd activations."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.graph.batch_index import ROOM, LongAxis, upload
from neural_graphs.graph.bounded import bounded
from neural_graphs.graph.constants import constant, table_on
from neural_graphs.graph.index import bias_indices
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.symmetry import SignFlip
from neural_graphs.symmetry.elements import FINE, nothing_moves
from neural_graphs.symmetry.permissions import SIGNS, objection


class CanonicalSigns(nn.Module):
    """Flip hidden neurons with odd activations until every bias is positive; the function of a network stays the same.

    Flipping turns the signs of a neuron's bias, of the weights into it and of those out of it (Godfrey et al. 2022; the
    symmetry that ScaleGMN builds in, Kalogeropoulos et al. 2024). A bias of 0 leaves its neuron as it is, and so do
    activations that are not odd, offsets, maxima over places, and groups that a skip joins to others. Raises
    LayoutError, saying why, where no neuron of any network could be flipped, unless `missing_ok`. Ours: the paper has
    no such step.
    """

    def __init__(self, missing_ok: bool = False) -> None:
        super().__init__()
        self.missing_ok = missing_ok

    def forward(self, networks: Networks) -> Networks:
        """Networks of the same layouts and functions, exactly (products with 1 and −1)."""
        layouts = dict.fromkeys(networks.layouts)
        if not self.missing_ok and not any((flippable(layout) >= 0).any() for layout in layouts):
            raise LayoutError(f"no canonical signs: {nothing_moves(SignFlip, next(iter(layouts)))}; {FINE}")
        factors = self.factors(networks)
        return networks.with_values(networks.values * (factors[..., None] if _channels(networks) else factors))

    def prepare(self, networks: Networks) -> None:
        """Make what `forward` needs of the layouts of a batch."""
        _tables(networks)

    def factors(self, networks: Networks) -> Tensor:
        """1 or −1 for every parameter: `(networks, size)`, of a mixed batch `(total,)`."""
        values = networks.values
        biases = values[..., 0] if _channels(networks) else values
        tables = _tables(networks)
        negative = torch.where(tables.biases >= 0, biases[..., tables.biases.clamp(min=0)], 0.0) < 0
        signs = torch.where(negative, -1.0, 1.0).to(values.dtype)  # (*batch, neurons)
        signs = torch.cat([signs, signs.new_ones(*signs.shape[:-1], 1)], -1)  # of numbers without a neuron at that end
        return signs[..., tables.sources] * signs[..., tables.targets]


def _channels(networks: Networks) -> bool:
    return networks.values.ndim > (2 if networks.regular else 1)


@constant()
def flippable(layout: Layout) -> np.ndarray:
    """The place of the bias of every neuron that may be flipped by itself, -1 for the others: `(neurons,)`."""
    joined = {end for block in layout.blocks if block.parameter is None for end in (block.source, block.target)}
    flips = [
        objection(layout, index, SIGNS) is None and bool(group.bias) and index not in joined
        for index, group in enumerate(layout.groups)
    ]
    return np.where(np.array(flips)[layout.neuron_group], bias_indices(layout), -1)


def _sources(layout: Layout) -> np.ndarray:
    return layout.number_ends[0]


def _targets(layout: Layout) -> np.ndarray:
    return layout.number_ends[1]


@dataclass(frozen=True, eq=False)
class SignTables:
    """The bias that decides on every neuron, and the neurons at the ends of every number; -1 for none."""

    biases: Tensor  # (neurons,)
    sources: Tensor  # (numbers,)
    targets: Tensor  # (numbers,)

    @property
    def nbytes(self) -> int:
        """The memory they take."""
        return self.biases.nbytes + self.sources.nbytes + self.targets.nbytes


def _tables(networks: Networks) -> SignTables:
    device = networks.values.device
    if not networks.regular:
        return _tables_of_batch(networks.layouts, device)
    return SignTables(*(table_on(device, table, networks.layout) for table in (flippable, _sources, _targets)))


@bounded(ROOM)
def _tables_of_batch(layouts: tuple[Layout, ...], device: torch.device) -> SignTables:
    numbers, neurons = LongAxis([layout.size for layout in layouts]), LongAxis([layout.neurons for layout in layouts])
    host = {
        "biases": numbers.join([flippable(layout) for layout in layouts]),
        "sources": neurons.join([_sources(layout) for layout in layouts]),
        "targets": neurons.join([_targets(layout) for layout in layouts]),
    }
    return SignTables(**upload(host, device))
