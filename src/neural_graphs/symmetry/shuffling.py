"""A random symmetry for every network of a batch: one after another on the host, all at once on an accelerator."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from neural_graphs.layout import Atom, Layout
from neural_graphs.layout.permissions import Rule, factor_index
from neural_graphs.networks import Networks
from neural_graphs.symmetry.align import moved
from neural_graphs.symmetry.elements import (
    Kind,
    Multiplication,
    NeuronPermutation,
    require_movable,
    sample_symmetry,
)
from neural_graphs.symmetry.relabel import Relabelling

HOST = "cpu"  # where networks are drawn one after another: a seed gives the numbers that it always gave
KEPT = 1024  # index tensors of axes


def shuffle(
    networks: Networks, generator: Generator, kind: Kind = NeuronPermutation, *, missing_ok: bool = False
) -> Networks:
    """Move every network by a random symmetry of its own: other parameters, the same functions.

    With a generator on an accelerator, networks of one layout are moved there, all at once and without waiting for it.
    Raises LayoutError, saying why, where none of the networks can be moved, unless `missing_ok`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 1), "relu")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> shuffled = ng.shuffle(networks, torch.Generator().manual_seed(0))
        >>> x = torch.rand(7, 2)
        >>> torch.equal(shuffled.values, networks.values), torch.allclose(shuffled.run(x), networks.run(x))
        (False, True)
    """
    if generator.device.type == HOST or not networks.regular:
        return sample_symmetry(networks, generator, kind, missing_ok=missing_ok).act(networks)
    require_movable(kind, networks.layout, missing_ok)
    if issubclass(kind, NeuronPermutation):
        return networks.with_values(_permuted(networks.values, networks.layout, generator))
    return networks.with_values(_multiplied(networks.values, networks.layout, kind, generator))


def _permuted(values: Tensor, layout: Layout, generator: Generator) -> Tensor:
    for atom in sorted(NeuronPermutation.movable(layout), key=lambda atom: len(atom.within)):  # outer axes first
        shape = Relabelling(layout, {}).shape(atom.name)
        drawn = NeuronPermutation.draw((len(values), *shape), generator).to(values.device)
        values = reordered(values, layout, atom, drawn)
    return values


def _multiplied(
    values: Tensor, layout: Layout, kind: type[Multiplication], generator: Generator
) -> Tensor:  # fmt: skip
    if not kind.movable(layout):
        return values
    count = int(factor_index(layout, kind.rule).max()) + 1
    return multiplied(values, layout, kind.rule, kind.draw((len(values), count), generator).to(values.device))


def reordered(
    values: Float[Tensor, "networks size *channels"], layout: Layout, atom: Atom, orders: Int[Tensor, "networks *shape"]
) -> Float[Tensor, "networks size *channels"]:
    """Return parameters whose neurons along an axis are in other orders, for each network its own (see `Element`)."""
    orders = orders.flatten(1, -2) if orders.ndim > 2 else orders[:, None]  # (networks, outer, size)
    places = orders.reshape(*orders.shape, *(1,) * (values.ndim - 1))
    for index, shape in _moves(layout, atom, values.device):
        part = values.index_select(1, index).unflatten(1, shape)  # (networks, outer, size, rest, *channels)
        values = values.index_copy(1, index, part.take_along_dim(places, 2).flatten(1, 3))
    return values


def multiplied(
    values: Float[Tensor, "networks size *channels"],
    layout: Layout,
    rule: Rule,
    factors: Float[Tensor, "networks factors"],
) -> Float[Tensor, "networks size *channels"]:
    """Return parameters whose neurons are multiplied by the factors that a rule gives them, for each network its own.

    See `Element`, and `factor_index` for which neuron has which factor.
    """
    factors = torch.cat((factors, torch.ones_like(factors[:, :1])), 1)  # the last one for neurons that have none
    sources, targets = (factors.index_select(1, end) for end in _ends(layout, rule, values.device))
    factor = (targets / sources).to(values.dtype)
    return values * factor.reshape(*factor.shape, *(1,) * (values.ndim - 2))


@lru_cache(KEPT)
@torch.inference_mode(False)
def _moves(layout: Layout, atom: Atom, device: torch.device) -> list[tuple[Tensor, tuple[int, ...]]]:
    """The numbers that an axis moves, `(outer · size · rest,)`, and these sizes, for each way to move."""
    return [(torch.from_numpy(each.reshape(-1)).to(device), each.shape) for each in moved(layout, atom).places]


@lru_cache(KEPT)
@torch.inference_mode(False)
def _ends(layout: Layout, rule: Rule, device: torch.device) -> tuple[Tensor, Tensor]:
    """The factor of source and target of every number, one beyond the last for none: `(size,)` each."""
    index = np.append(factor_index(layout, rule), -1)
    none = index.max() + 1
    source, target = (np.where(index[end] < 0, none, index[end]) for end in layout.number_ends)
    return torch.from_numpy(source).to(device), torch.from_numpy(target).to(device)
