"""Canonical signs: one representative of all networks that differ by sign flips of neurons with odd activations."""

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.graph.index import bias_indices
from neural_graphs.layout import Block, Group, Layout, MaxPool
from neural_graphs.networks import Networks
from neural_graphs.symmetry.permissions import ODD, ordinary


class CanonicalSigns(nn.Module):
    """Flip hidden neurons with odd activations until every bias is positive; the function of a network stays the same.

    Flipping turns the signs of a neuron's bias, of the weights into it and of those out of it (Godfrey et al. 2022; the
    symmetry that ScaleGMN builds in, Kalogeropoulos et al. 2024). A bias of 0 leaves its neuron as it is, and so do
    activations that are not odd, offsets, maxima over places, and groups that a skip joins to others.
    Ours: the paper has no such step.
    """

    def forward(self, networks: Networks) -> Networks:
        """Networks of the same layouts and functions, exactly (products with 1 and −1)."""
        if not networks.regular:
            parts = networks.by_layout()
            found = {place: row for places, part in parts for place, row in zip(places, self(part).values, strict=True)}
            return networks.with_values(torch.cat([found[place] for place in range(len(networks))]))
        factors = self.factors(networks)
        return networks.with_values(networks.values * factors.view(*factors.shape, *(1,) * (networks.values.ndim - 2)))

    def factors(self, networks: Networks) -> Tensor:
        """1 or −1 for every parameter of a regular batch, `(networks, size)`."""
        layout, device = networks.layout, networks.values.device
        biases = networks.values if networks.values.ndim == 2 else networks.values[..., 0]
        places = torch.from_numpy(_flippable(layout)).to(device)
        negative = torch.where(places >= 0, biases[:, places.clamp(min=0)], 0.0) < 0
        signs = torch.where(negative, -1.0, 1.0).to(networks.values.dtype)  # (networks, neurons)
        factors = torch.ones(len(networks), layout.size, dtype=signs.dtype, device=device)
        for group, at in zip(layout.groups, layout.neuron_slices, strict=True):
            if _plain(group):
                factors[:, layout.slices[group.bias]] = signs[:, at]
        for block in filter(_dense, layout.blocks):
            target, source = (signs[:, layout.neuron_slices[end]] for end in (block.target, block.source))
            pairs = (target[:, :, None] * source[:, None]).flatten(1)
            factors[:, layout.slices[block.parameter]] = pairs.repeat_interleave(block.kernel_size, 1)
        return factors


def _plain(group: Group) -> bool:
    """Whether a group has biases of its own and does nothing that is not known."""
    return bool(group.bias) and not (group.kind or group.shared or group.window)


def _dense(block: Block) -> bool:
    return bool(block.parameter) and block.span is None and ordinary(block)


def _flippable(layout: Layout) -> np.ndarray:
    """The place of the bias of every neuron that may be flipped, -1 for the others: `(neurons,)`."""
    joined = {end for block in layout.blocks if not _dense(block) for end in (block.source, block.target)}

    def free(index: int, group: Group) -> bool:
        odd = group.activation.kind in ODD and group.offset == 0 and not isinstance(group.pool, MaxPool)
        return group.role == "hidden" and odd and _plain(group) and index not in joined

    flips = [free(index, group) for index, group in enumerate(layout.groups)]
    return np.where(np.array(flips)[layout.neuron_group], bias_indices(layout), -1)
