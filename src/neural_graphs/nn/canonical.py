"""Canonical representatives: of all networks that differ by signs or scales of their hidden neurons, one is read.

Whatever reads the representative is invariant, and an editor whose edits are carried back is equivariant, both exactly
and with any backbone. Ours; ScaleGMN builds the symmetry into layers instead (Kalogeropoulos et al. 2024).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.graph.batch_index import ROOM, LongAxis, upload
from neural_graphs.graph.bounded import bounded
from neural_graphs.graph.constants import constant, table_on
from neural_graphs.graph.index import bias_indices
from neural_graphs.layout import Layout
from neural_graphs.layout.permissions import SCALES, SIGNS, Rule, factor_index
from neural_graphs.layout.recorded import Recorded
from neural_graphs.networks import Networks
from neural_graphs.symmetry import PositiveScale, SignFlip
from neural_graphs.symmetry.elements import FINE, Multiplication, nothing_moves


class Canonical(Recorded, nn.Module, ABC):
    """Multiplies hidden neurons until the network is the representative of all that differ by such factors.

    With `missing_ok` networks none of whose neurons may be multiplied are their own representatives, and no error.
    """

    kind: ClassVar[type[Multiplication]]
    name: ClassVar[str]

    def __init__(self, missing_ok: bool = False) -> None:
        super().__init__()
        self.missing_ok = missing_ok

    def forward(self, networks: Networks) -> Networks:
        """The representatives, networks of the same layouts and functions. Raises LayoutError as `factors`."""
        return multiplied(networks, self.factors(networks))

    def factors(self, networks: Networks) -> Float[Tensor, "*values"]:
        """What every number is multiplied by, `(networks, size)` or `(total,)`.

        Raises LayoutError, saying why, where no neuron of any network may be multiplied, unless `missing_ok`.
        """
        layouts = dict.fromkeys(networks.layouts)
        if not self.missing_ok and not any(map(self.moves, layouts)):
            raise LayoutError(f"no canonical {self.name}: {nothing_moves(self.kind, next(iter(layouts)))}; {FINE}")
        return self._factors(networks) if networks.regular else self._mixed(networks)

    @torch.no_grad()
    def prepare(self, networks: Networks) -> None:
        """Make ahead of time, by going through it once, what `factors` needs of the layouts of a batch."""
        self.factors(networks)

    def _mixed(self, networks: Networks) -> Tensor:
        """`(total,)` of a mixed batch."""
        return networks.cat_by_layout(self._factors)

    def _factors(self, networks: Networks) -> Tensor:
        """`(networks, size)` of a regular batch: those of the neurons at the ends of every number."""
        sources, targets = (table_on(networks.values.device, end, networks.layout) for end in (_sources, _targets))
        values = networks.values if networks.values.ndim == 2 else networks.values[..., 0]
        found = self.of_neurons(values, networks.layout)
        found = torch.cat([found, found.new_ones(len(found), 1)], 1)  # of numbers without a neuron at that end
        return found[:, targets] / found[:, sources]

    def moves(self, layout: Layout) -> bool:
        """Whether some neurons of a layout may be multiplied."""
        return movable(layout, self.kind)

    @abstractmethod
    def of_neurons(self, values: Tensor, layout: Layout) -> Tensor:
        """The factors of all neurons, `(networks, neurons)`, of values `(networks, size)`."""


@constant()
def movable(layout: Layout, kind: type[Multiplication]) -> bool:
    """Whether a kind of symmetry moves some neurons of a layout."""
    return bool(kind.movable(layout))


def multiplied(networks: Networks, factors: Tensor) -> Networks:
    """Networks whose numbers are multiplied by factors, those of all channels alike."""
    channels = (1,) * (networks.values.ndim - factors.ndim)
    return networks.with_values(networks.values * factors.reshape(*factors.shape, *channels))


def representatives(networks: Networks, canonical: Iterable[Canonical]) -> tuple[Networks, Tensor | None]:
    """The representatives by one after another, and what every number was multiplied by in all; None for nothing."""
    total = None
    for each in canonical:
        factors = each.factors(networks)
        networks, total = multiplied(networks, factors), factors if total is None else total * factors
    return networks, total


def _sources(layout: Layout) -> np.ndarray:
    return layout.number_ends[0]


def _targets(layout: Layout) -> np.ndarray:
    return layout.number_ends[1]


# -- signs by biases --------------------------------------------------------------------------------------------------


class CanonicalSigns(Canonical):
    """Flip hidden neurons with odd activations until every bias is positive; the function of a network stays the same.

    Flipping turns the signs of a neuron's bias, of the weights into it and of those out of it (Godfrey et al. 2022). It
    is exact bit for bit. A bias of 0 leaves its neuron as it is, and so does a skip that joins its group to another:
    `CompleteSigns` flips those, too.
    """

    kind, name = SignFlip, "signs"

    def moves(self, layout: Layout) -> bool:
        """Whether some neurons of a layout may be flipped by themselves."""
        return bool((flippable(layout) >= 0).any())

    def of_neurons(self, values: Tensor, layout: Layout) -> Tensor:
        """1 or −1 for every neuron, `(networks, neurons)`."""
        return _signs(values, table_on(values.device, flippable, layout))

    def _mixed(self, networks: Networks) -> Tensor:
        """The same by one selection, in place of a loop over layouts."""
        values = networks.values if networks.values.ndim == 1 else networks.values[:, 0]
        ends = sign_ends(networks.layouts, values.device)
        signs = torch.cat([_signs(values, ends.biases), values.new_ones(1)])
        return signs.index_select(0, ends.targets) * signs.index_select(0, ends.sources)


def _signs(values: Tensor, places: Tensor) -> Tensor:
    """1 or −1 for every neuron, by the bias at its place; 1 where that is -1."""
    negative = torch.where(places >= 0, values.index_select(-1, places.clamp(min=0)), 0.0) < 0
    return torch.where(negative, -1.0, 1.0).to(values.dtype)


@dataclass(frozen=True, eq=False)
class SignEnds:
    """Of a mixed batch: the bias that decides on every neuron, the neurons at the ends of every number; -1 for none."""

    biases: Tensor  # (neurons,)
    sources: Tensor  # (numbers,), the number of neurons for none
    targets: Tensor  # (numbers,)

    @property
    def nbytes(self) -> int:
        """The memory they take."""
        return self.biases.nbytes + self.sources.nbytes + self.targets.nbytes


@bounded(ROOM)
def sign_ends(layouts: tuple[Layout, ...], device: torch.device) -> SignEnds:
    """The tables of a batch of layouts."""
    numbers, neurons = LongAxis([layout.size for layout in layouts]), LongAxis([layout.neurons for layout in layouts])
    ends = {
        name: neurons.join([table(layout) for layout in layouts])
        for name, table in (("sources", _sources), ("targets", _targets))
    }
    host = {name: np.where(end < 0, neurons.size, end) for name, end in ends.items()}
    host["biases"] = numbers.join([flippable(layout) for layout in layouts])
    return SignEnds(**upload(host, device))


@constant()
def flippable(layout: Layout) -> np.ndarray:
    """The place of the bias of every neuron that may be flipped by itself, -1 for the others: `(neurons,)`."""
    joined = {end for block in layout.blocks if block.parameter is None for end in (block.source, block.target)}
    alone = np.array([bool(group.bias) and index not in joined for index, group in enumerate(layout.groups)])
    return np.where(alone[layout.neuron_group] & (factor_index(layout, SIGNS) >= 0), bias_indices(layout), -1)


# -- signs and scales by all that a neuron reads ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Step:
    """How the factors of one group are told.

    `numbers` lead into the neurons that tell, the first of them biases; `sources` are the neurons they come from (for
    biases the number of neurons before), `targets` which of so many `factors` each tells of; all three `(numbers,)`.
    `chosen`, `(group size,)`, picks the factor of every neuron out of those of all neurons before, these, and a 1.
    """

    numbers: Tensor
    sources: Tensor
    targets: Tensor
    chosen: Tensor
    biases: int
    factors: int


def summed(parts: Tensor, step: Step) -> Tensor:
    """The sum over the numbers that tell of each factor, the first ones or all: `(networks, factors)`.

    No method: compilers do not look into constants.
    """
    return parts.new_zeros(len(parts), step.factors).index_add(1, step.targets[: parts.shape[1]], parts)


class ByWeights(Canonical):
    """Factors told by the numbers that lead into a neuron, group after group, so that those before are known already.

    Of neurons that are tied the first ones tell, in the order of groups.
    """

    rule: ClassVar[Rule]

    def of_neurons(self, values: Tensor, layout: Layout) -> Tensor:
        """The factors of all neurons, `(networks, neurons)`, of values `(networks, size)`."""
        one = values.new_ones(len(values), 1)
        found = one[:, :0]
        for step in steps(layout, self.rule, values.device).each:
            sources = torch.cat([found, one], 1).index_select(1, step.sources)
            own = self.tell(values.index_select(1, step.numbers) / sources, step)
            found = torch.cat([found, torch.cat([found, own, one], 1).index_select(1, step.chosen)], 1)
        return found

    @abstractmethod
    def tell(self, numbers: Tensor, step: Step) -> Tensor:
        """The factors of a group, `(networks, factors)`, told by the numbers that lead into it."""


class CanonicalScales(ByWeights):
    """Scale hidden neurons of the ReLU family until the numbers that lead into each, its bias too, have norm 1.

    What a neuron gives to others is divided by the same factor. A neuron that reads only zeros stays as it is.
    """

    kind, name, rule = PositiveScale, "scales", SCALES

    def tell(self, numbers: Tensor, step: Step) -> Tensor:
        """One over the norm; 1 where that is 0."""
        squares = summed(numbers.square(), step)
        return torch.where(squares > 0, squares, 1.0).rsqrt()


class CompleteSigns(ByWeights):
    """As `CanonicalSigns`, and for neurons whose bias is 0 or missing, and those that skips join, too.

    Neurons are flipped until their bias is positive, those that are tied until the sum of their biases is, and where
    that is 0 until `Σ v |v|` over the numbers v that lead into them is: a sum that is the same in any order. Biases
    come first because their signs jump least where a SIREN changes a little: such sums hang on all signs before. Scale
    networks before they are flipped: numbers of several scales have no sum.
    """

    kind, name, rule = SignFlip, "signs", SIGNS

    def tell(self, numbers: Tensor, step: Step) -> Tensor:
        """1 or −1."""
        numbers = numbers.detach()
        biases, every = summed(numbers[:, : step.biases], step), summed(numbers * numbers.abs(), step)
        return torch.where(torch.where(biases == 0, every, biases) < 0, -1.0, 1.0).to(numbers.dtype)


@dataclass(frozen=True, eq=False)
class Steps:
    """Those of all groups."""

    each: tuple[Step, ...]


@constant(512)
def steps(layout: Layout, rule: Rule, device: torch.device) -> Steps:
    """The steps of a layout, on a device."""
    index = factor_index(layout, rule)
    places = np.flatnonzero(index >= 0)
    first = np.full(index.max(initial=-1) + 1, layout.neurons)  # the first neuron that has each factor
    np.minimum.at(first, index[places], places)
    found = []
    for group in range(len(layout.groups)):
        *tables, biases, count = _step(layout, group, index, first)
        numbers, sources, targets, chosen = (torch.from_numpy(table).to(device) for table in tables)
        found.append(Step(numbers, sources, targets, chosen, biases, count))
    return Steps(tuple(found))


def _step(
    layout: Layout, group: int, index: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int, int]:
    """The tables of a `Step`, given the factor of every neuron and the first neuron of every factor."""
    neurons = layout.neuron_slices[group]
    own = index[neurons]
    lead = np.append(first, -1)[own]  # which neuron tells its factor
    here, slot = lead >= neurons.start, np.full(len(own), -1)
    told, slot[here] = np.unique(own[here], return_inverse=True)
    numbers, sources, targets, biases = _incoming(layout, group)
    kept = here[targets]
    chosen = np.where(here, neurons.start + slot, np.where(own >= 0, lead, neurons.start + len(told)))
    return numbers[kept], sources[kept], slot[targets[kept]], chosen, int(kept[:biases].sum()), len(told)


def _incoming(layout: Layout, group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Every number that leads into a group, the neuron it comes from (that of biases: the first of the group), and the
    one it leads to, counted within the group; and how many of them are biases, which come first."""
    biases = layout.bias_numbers(layout.groups[group])
    places = np.flatnonzero(biases >= 0)
    found = [(biases[places], np.full(len(places), layout.neuron_slices[group].start), places)]
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.target == group and block.parameter is not None:
            source, target = (np.repeat(end, block.kernel_size) for end in table.ends)
            found.append((layout.numbers(block).reshape(-1), layout.neuron_slices[block.source].start + source, target))
    numbers, sources, targets = map(np.concatenate, zip(*found, strict=True))
    return numbers, sources, targets, len(places)
