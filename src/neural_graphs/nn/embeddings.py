"""What a neuron is beside its bias: its position, its kinds, its layer's statistics, what it computes."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.graph import Topology
from neural_graphs.layout import Layout
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.kinds import activation_name, block_kinds, group_kinds
from neural_graphs.layout.parts import Role
from neural_graphs.networks import Networks
from neural_graphs.networks.execution import run_groups
from neural_graphs.nn.probe_generators import generator
from neural_graphs.nn.spec import Statistics


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


class PositionTable(nn.Module):
    """A learned vector for each of so many places, sinusoids at first.

    Input neurons, hidden groups and output neurons are counted from the start: wider and deeper networks than those of
    the training find the rows of these, and then further ones (paper section 4.4).
    """

    def __init__(self, count: int, width: int):
        super().__init__()
        waves = sinusoids(torch.arange(count), wave_rates(-(-width // 2)))
        self.table = nn.Parameter(waves[:, :width].to(torch.get_default_dtype()))

    def forward(self, topology: Topology) -> Tensor:
        """`(neurons, width)`. Raises LayoutError for a layout with more places."""
        return F.embedding(topology.neuron_index(self.rows), self.table)

    def rows(self, layout: Layout) -> np.ndarray:
        """The row of every neuron, `(neurons,)`; those of a hidden group share one."""
        sizes = [1 if group.role == "hidden" else group.size for group in layout.groups]
        starts = np.cumsum([0, *sizes[:-1]])
        pairs = zip(layout.groups, starts, strict=True)
        found = np.concatenate([start + (0 if g.role == "hidden" else 1) * np.arange(g.size) for g, start in pairs])
        if found.max() >= len(self.table):
            raise LayoutError(
                f"{layout} has {found.max() + 1} places of inputs, hidden groups and outputs, and this metanetwork has "
                f"rows for {len(self.table)}; take one without places (rows=None)"
            )
        return found


class Depth(nn.Module):
    """Whether a neuron is of the input, hidden or of the output, and how deep it stands: the share of all groups that
    come before its own (ours). The same in networks of any size, whose inputs and outputs it does not tell apart."""

    UNIT = 1000  # rows are whole numbers

    def __init__(self, width: int):
        super().__init__()
        self.roles = nn.Parameter(torch.randn(3, width))
        self.slope = nn.Parameter(torch.randn(width))

    def forward(self, topology: Topology) -> Tensor:
        """`(neurons, width)`."""
        places = topology.neuron_index(self.rows)
        role, depth = places // (self.UNIT + 1), places % (self.UNIT + 1)
        return F.embedding(role, self.roles) + (depth / self.UNIT).to(self.slope.dtype)[:, None] * self.slope

    def rows(self, layout: Layout) -> np.ndarray:
        """The role, and the depth in thousandths, as one number per neuron, `(neurons,)`."""
        last = max(len(layout.groups) - 1, 1)
        found = [
            get_args(Role).index(group.role) * (self.UNIT + 1) + round(place / last * self.UNIT)
            for place, group in enumerate(layout.groups)
        ]
        return np.array(found)[layout.neuron_group]


class Kinds(nn.Module):
    """A learned vector of `width` features per kind; what the kinds are of, subclasses know."""

    def __init__(self, kinds: Sequence[str], width: int):
        super().__init__()
        self.kinds = tuple(kinds)
        self.table = nn.Parameter(torch.randn(len(self.kinds), width))

    def row(self, kind: str, name: str) -> int:
        """The row of a kind. Raises LayoutError for an unknown one, naming what is of this kind."""
        former = {activation_name(each): each for each in reversed(self.kinds)}
        kind = kind if kind in self.kinds else former.get(activation_name(kind), kind)
        if kind not in self.kinds:
            raise LayoutError(
                f"{name}: kind {kind!r} is not among {self.kinds}; make the family of all networks to be read"
            )
        return self.kinds.index(kind)


class ActivationKinds(Kinds):
    """A learned vector per kind of activation (`Activation.kind`), added to the neurons of hidden groups."""

    def forward(self, topology: Topology) -> Tensor:
        """`(neurons, width)`, zeros for inputs and outputs. Raises LayoutError for an unknown kind."""
        rows = torch.cat([self.table, self.table.new_zeros(1, self.table.shape[1])])
        return rows[topology.neuron_index(self.rows)]

    def rows(self, layout: Layout) -> np.ndarray:
        """The row of every neuron, `(neurons,)`; -1, the last one, of zeros, for inputs and outputs."""
        rows = [
            self.row(group.activation.kind, f"activation of {group.name}") if group.role == "hidden" else -1
            for group in layout.groups
        ]
        return np.array(rows)[layout.neuron_group]


class NeuronKinds(Kinds):
    """A learned vector per kind of group (`Group.kind`: convolution, norm, sum, …), added to its neurons."""

    def forward(self, topology: Topology) -> Tensor:
        """`(neurons, width)`. Raises LayoutError for an unknown kind."""
        return F.embedding(topology.neuron_index(self.rows), self.table)

    def rows(self, layout: Layout) -> np.ndarray:
        """The row of every neuron, `(neurons,)`."""
        pairs = zip(layout.groups, group_kinds(layout), strict=True)
        rows = [self.row(group.kind if group.kind in self.kinds else kind, group.name) for group, kind in pairs]
        return np.array(rows)[layout.neuron_group]


class WeightKinds(Kinds):
    """A learned vector per kind of block (`Block.kind`: weights of a norm, running means, …), added to its weights."""

    def forward(self, weights: Tensor, index: Tensor) -> Tensor:
        """Features `(*batch, copies · weights, width)` plus those of their kinds, `index` `(weights,)`."""
        kinds = F.embedding(index, self.table)
        return (weights.unflatten(-2, (-1, len(index))) + kinds).flatten(-3, -2)

    def index(self, topology: Topology) -> list[Tensor]:
        """The row of every weight, `(weights,)` per kernel shape. Raises LayoutError for an unknown kind."""
        return topology.weight_index(self.rows)

    def rows(self, layout: Layout) -> np.ndarray:
        """The row of every weight, `(weights,)`."""
        rows = []
        for block, kind in zip(layout.blocks, block_kinds(layout), strict=True):
            name = block.parameter or f"{block.source} → {block.target}"
            rows.append(self.row(block.kind if block.kind in self.kinds else kind, name))
        return np.array(rows)[layout.weight_block]


class PositionEmbedding(nn.Module):
    """Where a hidden neuron stands among the fixed places of its group, as projected sinusoids (ours).

    Positions and vocabularies are hidden groups whose neurons have an order: exchanging two of them changes the
    function, so their features must differ. Place 0 for all neurons of a group without fixed places. Sines and cosines
    of `place / 10000^(i / waves)`, `waves` of each (Vaswani et al. 2017, section 3.5), go through a Linear layer.
    """

    rates: Tensor

    def __init__(self, width: int, waves: int = 32):
        super().__init__()
        self.register_buffer("rates", wave_rates(waves), persistent=False)
        self.project = nn.Linear(2 * waves, width, bias=False)

    def forward(self, topology: Topology) -> Tensor:
        """`(neurons, width)`."""
        found = sinusoids(topology.neuron_index(self.rows), self.rates)
        return self.project(found.to(self.project.weight.dtype))

    def rows(self, layout: Layout) -> np.ndarray:
        """The place of every neuron, `(neurons,)`."""
        return np.concatenate(
            [_fixed_places(g.axis)[0] if g.role == "hidden" else np.zeros(g.size, np.int64) for g in layout.groups]
        )


def wave_rates(waves: int) -> Tensor:
    """`10000^(−i / waves)` for every wave i, float64 `(waves,)`."""
    return 10_000.0 ** -(torch.arange(waves, dtype=torch.float64) / waves)


def sinusoids(places: Tensor, rates: Tensor) -> Tensor:
    """Sines and cosines of places `(n,)` times rates `(waves,)`, `(n, 2 · waves)`."""
    angles = places[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def _fixed_places(axis: Axis) -> tuple[np.ndarray, int]:
    """A number per place of an axis that differs where relabelling cannot lead, `(size,)`; and how many there are."""
    match axis:
        case Atom(size=size, free=free):
            return (np.zeros(size, np.int64), 1) if free else (np.arange(size), size)
        case Product(parts):
            places, count = np.zeros(1, np.int64), 1
            for own, more in map(_fixed_places, parts):
                places, count = (places[:, None] * more + own).reshape(-1), count * more
            return places, count
        case Concat(parts):
            found = [_fixed_places(part) for part in parts]
            starts = np.cumsum([0, *(count for _, count in found)])
            return np.concatenate([own + start for (own, _), start in zip(found, starts, strict=False)]), int(
                starts[-1]
            )
    raise LayoutError(f"an axis is an Atom, a Product or a Concat, got {type(axis).__name__}")


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
        biases = [networks.tensor(g.bias) for g in layout.groups[1:] if g.bias]
        if not all(b.parameter for b in layout.blocks) or len(biases) < len(layout.groups) - 1:
            raise LayoutError(f"{layout} has skips or groups without biases: standardise such networks by hand")
        weights = [_weights_into(networks, group) for group in range(1, len(layout.groups))]
        stds = [tuple(max(float(x.std()), 1e-6) for x in xs) for xs in (weights, biases)]
        means = [tuple(float(x.mean()) for x in xs) for xs in (weights, biases)]
        return Statistics(means[0], stds[0], means[1], stds[1])

    def require(self, networks: Networks) -> None:
        """Raise LayoutError for a network with more groups than there are statistics of."""
        known = min(len(self.weight_mean), len(self.bias_mean))
        for layout in dict.fromkeys(networks.layouts):
            if len(layout.groups) > known:
                raise LayoutError(
                    f"{layout} has {len(layout.groups) - 1} groups after its inputs; this metanetwork standardises by "
                    f"statistics of {known - 1}: train one for such networks"
                )

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


def _weights_into(networks: Networks, group: int) -> Tensor:
    """All weights into a group, `(networks, numbers)`, tensor by tensor; two zeros each where there are none."""
    blocks = networks.layout.blocks
    names = dict.fromkeys(block.parameter for block in blocks if block.target == group and block.parameter)
    found = [networks.tensor(name).flatten(1) for name in names] or [networks.values.new_zeros(len(networks), 2)]
    return found[0] if len(found) == 1 else torch.cat(found, 1)  # sums of a copy have other bits


class Probes(nn.Module):
    """What each neuron computes on learned inputs, `Linear → LayerNorm` per group (paper section 4, probe features).

    `count` probes of `shape` (`(2,)` for coordinates, `(channels, height, width)` for images), drawn from U(−1, 1), or
    made by a deep linear generator (`generated`). Feature maps are averaged over places. `groups` is the number of
    neuron groups, inputs and outputs included.
    """

    def __init__(self, count: int, shape: Sequence[int], groups: int, width: int, generated: bool = False):
        super().__init__()
        self.generator = generator(count, shape) if generated else None
        self.inputs = None if generated else nn.Parameter(torch.rand(count, *shape) * 2 - 1)
        self.project = nn.ModuleList(nn.Sequential(nn.Linear(count, width), nn.LayerNorm(width)) for _ in range(groups))

    def forward(self, networks: Networks) -> Tensor:
        """`(*batch, neurons, width)` for networks with raw (not standardised) parameters."""
        inputs = self.inputs if self.generator is None else self.generator()
        assert inputs is not None
        return networks.cat_by_layout(lambda part: self._regular(part, inputs))

    def _regular(self, networks: Networks, inputs: Tensor) -> Tensor:
        groups = activity(networks, inputs)
        if len(groups) > len(self.project):
            raise LayoutError(f"{networks.layout} has {len(groups)} groups; these probes are for {len(self.project)}")
        projections = [*self.project[: len(groups) - 1], self.project[-1]]
        return torch.cat([p(a.mT) for p, a in zip(projections, groups, strict=True)], 1)


def activity(networks: Networks, inputs: Tensor) -> list[Tensor]:
    """What the neurons of every group of a regular batch compute on some inputs, `(networks, inputs, group size)`.

    Feature maps are averaged over places.
    """
    values = networks if networks.values.ndim == 2 else networks.with_values(networks.values[..., 0])
    groups = run_groups(values, inputs.expand(len(networks), *inputs.shape))
    return [group.mean((-2, -1)) if group.ndim == 5 else group for group in groups]
