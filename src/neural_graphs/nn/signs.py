"""Canonical signs: one representative of all networks that differ by sign flips of neurons with odd activations."""

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.graph.constants import constant, table_on
from neural_graphs.graph.index import bias_indices
from neural_graphs.layout import Layout
from neural_graphs.layout.permissions import SIGNS, factor_index
from neural_graphs.networks import Networks
from neural_graphs.symmetry import SignFlip
from neural_graphs.symmetry.elements import FINE, nothing_moves


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
        return self._moved(networks)

    def _moved(self, networks: Networks) -> Networks:
        if not networks.regular:
            return networks.with_values(torch.cat(networks.map_by_layout(lambda part, _: self._moved(part).values)))
        factors = self.factors(networks)
        return networks.with_values(networks.values * factors.view(*factors.shape, *(1,) * (networks.values.ndim - 2)))

    def factors(self, networks: Networks) -> Tensor:
        """1 or −1 for every parameter of a regular batch, `(networks, size)`."""
        layout, device = networks.layout, networks.values.device
        biases = networks.values if networks.values.ndim == 2 else networks.values[..., 0]
        places, sources, targets = (table_on(device, table, layout) for table in (flippable, _sources, _targets))
        negative = torch.where(places >= 0, biases[:, places.clamp(min=0)], 0.0) < 0
        signs = torch.where(negative, -1.0, 1.0).to(networks.values.dtype)  # (networks, neurons)
        signs = torch.cat([signs, signs.new_ones(len(networks), 1)], 1)  # of numbers without a neuron at that end
        return signs[:, sources] * signs[:, targets]


@constant()
def flippable(layout: Layout) -> np.ndarray:
    """The place of the bias of every neuron that may be flipped by itself, -1 for the others: `(neurons,)`."""
    joined = {end for block in layout.blocks if block.parameter is None for end in (block.source, block.target)}
    alone = np.array([bool(group.bias) and index not in joined for index, group in enumerate(layout.groups)])
    return np.where(alone[layout.neuron_group] & (factor_index(layout, SIGNS) >= 0), bias_indices(layout), -1)


def _sources(layout: Layout) -> np.ndarray:
    return layout.number_ends[0]


def _targets(layout: Layout) -> np.ndarray:
    return layout.number_ends[1]
