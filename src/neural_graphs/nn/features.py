"""What a neuron is beside its bias: its position, its activation kind, its layer's statistics, what it computes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.execution import run_groups
from neural_graphs.family import Statistics
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.topology import Topology


class Position(nn.Module):
    """A learned row per input neuron, per hidden group and per output neuron (paper section 3: inputs and outputs have
    an order, hidden neurons have none). Networks with fewer hidden groups leave the last hidden rows unused."""

    def __init__(self, inputs: int, hidden_groups: int, outputs: int, width: int):
        super().__init__()
        self.inputs, self.hidden_groups, self.outputs = inputs, hidden_groups, outputs
        self.table = nn.Parameter(torch.randn(inputs + hidden_groups + outputs, width))

    def forward(self, topology: Topology) -> Tensor:
        """`(neurons, width)`. Raises LayoutError where a layout has more inputs, groups or outputs than rows."""
        return self.table[topology.neuron_index(self.rows)]

    def rows(self, layout: Layout) -> np.ndarray:
        """The row of every neuron, `(neurons,)`."""
        hidden = [index for index, group in enumerate(layout.groups) if group.role == "hidden"]
        counts = layout.role_count("input"), len(hidden), layout.role_count("output")
        if counts[0] > self.inputs or counts[1] > self.hidden_groups or counts[2] > self.outputs:
            raise LayoutError(
                f"{layout} has {counts[0]} inputs, {counts[1]} hidden groups and {counts[2]} outputs; this metanetwork "
                f"has positions for {self.inputs}, {self.hidden_groups} and {self.outputs}"
            )
        starts = {"input": 0, "output": len(self.table) - counts[2]}
        rows = []
        for index, group in enumerate(layout.groups):
            if group.role == "hidden":
                rows.append(np.full(group.size, self.inputs + hidden.index(index)))
            else:
                rows.append(starts[group.role] + np.arange(group.size))
                starts[group.role] += group.size
        return np.concatenate(rows)


class ActivationKinds(nn.Module):
    """A learned vector per activation kind, added to the neurons of hidden groups."""

    def __init__(self, kinds: Sequence[str], width: int):
        super().__init__()
        self.kinds = tuple(kinds)
        self.table = nn.Parameter(torch.randn(len(self.kinds), width))

    def forward(self, topology: Topology) -> Tensor:
        """`(neurons, width)`, zeros for inputs and outputs. Raises LayoutError for an unknown kind."""
        rows = torch.cat([self.table, self.table.new_zeros(1, self.table.shape[1])])
        return rows[topology.neuron_index(self.rows)]

    def rows(self, layout: Layout) -> np.ndarray:
        """The row of every neuron; the last one, of zeros, for inputs and outputs."""
        per_group = []
        for group in layout.groups:
            if group.role == "hidden" and group.activation.kind not in self.kinds:
                raise LayoutError(f"{group.name}: activation {group.activation.kind!r} is not among {self.kinds}")
            hidden = group.role == "hidden"
            per_group.append(self.kinds.index(group.activation.kind) if hidden else len(self.kinds))
        return np.array(per_group)[layout.neuron_group]


class Standardise(nn.Module):
    """`(value − mean) / std`, for the weights into each group and for its biases, by the statistics of a family."""

    weight_mean: Tensor
    weight_std: Tensor
    bias_mean: Tensor
    bias_std: Tensor

    def __init__(self, statistics: Statistics):
        super().__init__()
        for kind in ("weight", "bias"):
            self.register_buffer(f"{kind}_mean", torch.tensor([0.0, *getattr(statistics, f"{kind}_mean")]))
            self.register_buffer(f"{kind}_std", torch.tensor([1.0, *getattr(statistics, f"{kind}_std")]))

    @staticmethod
    def measure(networks: Networks) -> Statistics:
        """The statistics of a regular batch, over all its networks. Raises LayoutError where skips add weights of 1."""
        layout = networks.layout
        weights = [networks.tensor(b.parameter) for b in layout.blocks if b.parameter]
        biases = [networks.tensor(g.bias) for g in layout.groups[1:] if g.bias]
        if len(weights) < len(layout.blocks) or len(biases) < len(layout.groups) - 1:
            raise LayoutError(f"{layout} has skips or groups without biases: standardise such networks by hand")
        stds = [tuple(max(float(x.std()), 1e-6) for x in xs) for xs in (weights, biases)]
        means = [tuple(float(x.mean()) for x in xs) for xs in (weights, biases)]
        return Statistics(means[0], stds[0], means[1], stds[1])

    def weights(self, values: Tensor, groups: Tensor) -> Tensor:
        """`values` `(*batch, weights, numbers)` with the group each weight leads to, `(weights,)`."""
        return (values - self.weight_mean[groups][:, None]) / self.weight_std[groups][:, None]

    def biases(self, values: Tensor, groups: Tensor) -> Tensor:
        """`values` `(*batch, neurons, 1)` with their groups `(neurons,)`."""
        return (values - self.bias_mean[groups][:, None]) / self.bias_std[groups][:, None]

    def restore_weights(self, values: Tensor, groups: Tensor) -> Tensor:
        """The inverse of `weights`."""
        return values * self.weight_std[groups][:, None] + self.weight_mean[groups][:, None]

    def restore_biases(self, values: Tensor, groups: Tensor) -> Tensor:
        """The inverse of `biases`."""
        return values * self.bias_std[groups][:, None] + self.bias_mean[groups][:, None]


class Probes(nn.Module):
    """What each neuron computes on learned inputs, `Linear → LayerNorm` per group (paper section 4, probe features).

    `count` probes of `shape` (`(2,)` for coordinates, `(channels, height, width)` for images), drawn from U(−1, 1).
    Feature maps are averaged over places. `groups` is the number of neuron groups, inputs and outputs included.
    """

    def __init__(self, count: int, shape: Sequence[int], groups: int, width: int):
        super().__init__()
        self.inputs = nn.Parameter(torch.rand(count, *shape) * 2 - 1)
        self.project = nn.ModuleList(nn.Sequential(nn.Linear(count, width), nn.LayerNorm(width)) for _ in range(groups))

    def forward(self, networks: Networks) -> Tensor:
        """`(*batch, neurons, width)` for networks with raw (not standardised) parameters."""
        if networks.regular:
            return self._regular(networks)
        features: dict[int, Tensor] = {}
        for places, part in networks.by_layout():
            features.update(zip(places, self._regular(part), strict=True))
        return torch.cat([features[place] for place in range(len(networks))])

    def _regular(self, networks: Networks) -> Tensor:
        values = networks if networks.values.ndim == 2 else networks.with_values(networks.values[..., 0])
        groups = run_groups(values, self.inputs.expand(len(networks), *self.inputs.shape))
        if len(groups) > len(self.project):
            raise LayoutError(f"{networks.layout} has {len(groups)} groups; these probes are for {len(self.project)}")
        projections = [*self.project[: len(groups) - 1], self.project[-1]]
        activity = [group.mean((-2, -1)) if group.ndim == 5 else group for group in groups]
        return torch.cat([p(a.mT) for p, a in zip(projections, activity, strict=True)], 1)
