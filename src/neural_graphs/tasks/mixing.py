"""Mixtures of networks, and of what is to be said of them (mixup; Zhang et al. 2018, Shamsian et al. 2024)."""

import torch
from torch import Tensor

from neural_graphs.networks import Networks


def mix(networks: Networks, targets: Tensor, share: float) -> tuple[Networks, Tensor]:
    """`share` of every network and target `(networks, …)`, and `1 − share` of another one of its layout.

    Which one is drawn from torch's global generator; the only one of its layout in a batch is mixed with itself.
    Neurons are mixed in the order they happen to have, so that a mixture computes something else than either network.
    """
    partner = torch.empty(len(networks), dtype=torch.long)
    for places, _ in networks.by_layout():
        own = torch.tensor(places)
        partner[own] = own[torch.randperm(len(own))]
    other = networks[partner].values
    mixture = networks.with_values(other + share * (networks.values - other))
    return mixture, targets[partner.to(targets.device)].lerp(targets, share)
