"""The index tensors of a batch of different layouts: joined from tables of its layouts, uploaded in one copy, kept.

On the long axes of a batch lie the neurons, weights, edges and numbers of its networks, one network after another; what
a layout's table says of its own things is moved to where those of the network start. Layouts 2 → 3 → 1 and 2 → 1, say,
have neurons 0-5 and 6-8, so edge 0 of the second network, from its neuron 0 to its neuron 2, joins neurons 6 and 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from neural_graphs.graph.bounded import bounded
from neural_graphs.graph.constants import PerMethod, Table, table_of
from neural_graphs.graph.edges import Wiring
from neural_graphs.graph.index import (
    bias_indices,
    ends,
    kernel_indices,
    kernel_numbers,
    neuron_groups,
    output_indices,
    owned_bias_indices,
)
from neural_graphs.layout import Layout
from neural_graphs.layout.strides import End

Shape = tuple[int, ...]
ROOM = 1 << 28  # bytes of the index tensors of batches that are kept; as many again of batches that come back
TABLES = 1 << 28  # bytes of the tables of layouts, likewise
SMALL = 1 << 31  # numbers whose places are kept in four bytes


# -- tables of one layout ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class KernelTable:
    """The weights of one kernel shape in a layout: `weights`, `groups`, `numbers` and `owned` as in `index`."""

    weights: np.ndarray
    groups: np.ndarray
    numbers: np.ndarray
    owned: np.ndarray


@dataclass(frozen=True, eq=False)
class LayoutTables:
    """What the index of a batch takes from one layout, all of it counted within the layout."""

    source: np.ndarray  # (edges,)
    target: np.ndarray  # (edges,)
    reverse: np.ndarray  # (edges,), empty where the wiring has no reversed edges
    weight_edges: np.ndarray  # (copies, weights)
    loops: np.ndarray  # (neurons,) or empty
    kernels: dict[Shape, KernelTable]
    order: np.ndarray  # (weights,), by kernel shape
    biases: np.ndarray  # (neurons,), -1 where there is none
    owned_biases: np.ndarray  # the neurons that own theirs
    outputs: np.ndarray  # the output neurons

    @cached_property
    def nbytes(self) -> int:
        """The memory they take."""
        arrays = [each for each in vars(self).values() if isinstance(each, np.ndarray)]
        arrays += [each for kernel in self.kernels.values() for each in vars(kernel).values()]
        return sum(array.nbytes for array in arrays)


@bounded(TABLES)
def tables_of(layout: Layout, wiring: Wiring) -> LayoutTables:
    """The tables of a layout."""
    kernels = {}
    for each in kernel_indices(layout):
        numbers, owned = kernel_numbers(layout, each.shape)
        small = numbers.astype(np.int32 if layout.size < SMALL else np.int64)
        kernels[each.shape] = KernelTable(each.weights, each.groups, small, owned)
    source, target = ends(layout, wiring)
    return LayoutTables(
        source=source,
        target=target,
        reverse=wiring.reverse(layout) if wiring.paired else np.arange(0),
        weight_edges=wiring.weight_indices(layout).reshape(wiring.copies, -1),
        loops=wiring.loop_indices(layout),
        kernels=kernels,
        order=np.concatenate([kernel.weights for kernel in kernels.values()]),
        biases=bias_indices(layout),
        owned_biases=np.flatnonzero(owned_bias_indices(layout) >= 0),
        outputs=output_indices(layout),
    )


# -- a batch ----------------------------------------------------------------------------------------------------------


class LongAxis:
    """Things of one kind, such as neurons, of all networks of a batch; `counts` says how many each network has."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = np.array(counts)
        self.starts = np.cumsum(self.counts) - self.counts
        self.size = int(self.counts.sum())

    def join(self, parts: Sequence[np.ndarray], networks: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """Places that each network, or each of some, counts from 0, moved to where its things start; -1 stays."""
        found = np.concatenate(parts)
        shift = np.repeat(self.starts[networks], [len(part) for part in parts])
        moved: np.ndarray = found + shift.reshape(-1, *(1,) * (found.ndim - 1))
        if found.size and found.min() < 0:
            moved[found < 0] = -1
        return moved


def upload(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """Whole numbers as tensors on a device, by one copy that no one waits for; views of one tensor."""
    sizes = [array.size for array in arrays.values()]
    host = torch.empty(sum(sizes), dtype=torch.int64, pin_memory=device.type == "cuda")
    np.concatenate([array.reshape(-1) for array in arrays.values()], out=host.numpy())
    parts = host.to(device, non_blocking=True).split(sizes)
    return {name: part.view(array.shape) for (name, array), part in zip(arrays.items(), parts, strict=True)}


@dataclass(frozen=True, eq=False)
class BatchEdges:
    """Edges of a batch: the neurons they join, and how many lead to every neuron."""

    source: Tensor  # (edges,)
    target: Tensor  # (edges,)
    in_degree: Tensor  # (neurons, 1) float64


@dataclass(frozen=True, eq=False)
class BatchKernels:
    """The weights of one kernel shape in a batch."""

    shape: Shape
    weights: Tensor  # (weights,), their numbers among all weights
    groups: Tensor  # (weights,), the group each leads to within its network
    numbers: Tensor  # (weights, kernel), their places in the long vector; 0 for structural weights
    structural: Tensor | None  # (weights, 1) bool, whose kernels are constant ones; None: no weight is
    owners: Tensor | None  # those that own their numbers; None: all


@dataclass(frozen=True, eq=False)
class BatchIndex:
    """All index tensors of a batch of layouts under one wiring on one device."""

    layouts: tuple[Layout, ...]
    wiring: Wiring
    device: torch.device
    nbytes: int
    network: Tensor  # (neurons,), the network of each
    sizes: Tensor  # (networks, 1) float64, the neurons of each
    edges: BatchEdges
    at_outputs: dict[End, BatchEdges]  # those with an output neuron at that end,
    chosen: dict[End, Tensor]  # and their numbers among all edges
    reverse: Tensor | None  # (edges,)
    recipe: Tensor  # (edges,) into [weights by kernel shape, copy after copy; loop; absent]
    weight_edges: Tensor  # (weights,), the edge of each
    kernels: tuple[BatchKernels, ...]
    biases: Tensor  # (neurons,), places in the long vector; 0 where there is none
    has_bias: Tensor  # (neurons, 1) bool
    owned_biases: Tensor  # the neurons that own theirs
    outputs: Tensor  # (outputs,), network after network
    output_counts: tuple[int, ...]  # how many networks have, each number once
    is_output: Tensor  # (neurons, 1) bool
    tables: PerMethod = field(default_factory=PerMethod)

    def of_neurons(self, table: Table) -> Tensor:
        """A table with one number per neuron, `(neurons,)`."""
        return self.tables.get(table, "neurons", partial(self._join, table))

    def of_weights(self, table: Table) -> list[Tensor]:
        """A table with one number per weight, `(weights,)`, parted as `kernels` are."""

        def make() -> list[Tensor]:
            every = self._join(table)
            return [every.index_select(0, kernels.weights) for kernels in self.kernels]

        return self.tables.get(table, "weights", make)

    def of_groups(self) -> tuple[Tensor, Tensor]:
        """The group of every neuron, numbered throughout the batch, `(neurons,)`, and the size of each, at least one,
        `(groups, 1)`."""

        def make() -> tuple[Tensor, Tensor]:
            most = max(len(layout.groups) for layout in self.layouts)
            group = self.network * most + self.of_neurons(neuron_groups)
            return group, torch.bincount(group).clamp(min=1)[:, None]

        return self.tables.get(neuron_groups, "groups", make)

    def _join(self, table: Table) -> Tensor:
        joined = np.concatenate([table_of(table, layout) for layout in self.layouts])
        return upload({"table": joined}, self.device)["table"]


@bounded(ROOM)
def batch_index(layouts: tuple[Layout, ...], wiring: Wiring, device: torch.device) -> BatchIndex:
    """The index tensors of a batch of layouts."""
    tables = [tables_of(layout, wiring) for layout in layouts]
    neurons = LongAxis([layout.neurons for layout in layouts])
    shapes = list(dict.fromkeys(shape for table in tables for shape in table.kernels))
    weights, numbers = LongAxis([each.weights for each in layouts]), LongAxis([each.size for each in layouts])
    host = {
        "network": np.repeat(np.arange(len(layouts)), neurons.counts),
        "sizes": neurons.counts[:, None],
        "biases": numbers.join([table.biases for table in tables]),
        "owned biases": neurons.join([table.owned_biases for table in tables]),
        "outputs": neurons.join([table.outputs for table in tables]),
        **_kernels(tables, shapes, weights, numbers),
    }
    host |= _edges(tables, neurons, host["outputs"], wiring)
    host |= _recipe(tables, weights, np.concatenate([host[f"weights {shape}"] for shape in shapes]))
    found = upload(host, device)
    return BatchIndex(
        layouts=layouts,
        wiring=wiring,
        device=device,
        nbytes=sum(each.nbytes for each in found.values()),
        network=found["network"],
        sizes=found["sizes"].double(),
        edges=_batch_edges(found, ""),
        at_outputs={"source": _batch_edges(found, " at source"), "target": _batch_edges(found, " at target")},
        chosen={"source": found["chosen at source"], "target": found["chosen at target"]},
        reverse=found["reverse"] if wiring.paired else None,
        recipe=found["recipe"],
        weight_edges=found["weight edges"],
        kernels=tuple(_batch_kernels(found, shape) for shape in shapes),
        biases=found["biases"].clamp(min=0),
        has_bias=found["biases"][:, None] >= 0,
        owned_biases=found["owned biases"],
        outputs=found["outputs"],
        output_counts=tuple(sorted({len(table.outputs) for table in tables})),
        is_output=found["is output"].bool(),
    )


def _edges(
    tables: Sequence[LayoutTables], neurons: LongAxis, outputs: np.ndarray, wiring: Wiring
) -> dict[str, np.ndarray]:
    """All edges, and those at output neurons."""
    edges = LongAxis([len(table.source) for table in tables])
    ends = {"source": [table.source for table in tables], "target": [table.target for table in tables]}
    source, target = neurons.join(ends["source"]), neurons.join(ends["target"])
    is_output = np.zeros(neurons.size, dtype=bool)
    is_output[outputs] = True
    found = {"is output": is_output[:, None]}
    if wiring.paired:
        found["reverse"] = edges.join([table.reverse for table in tables])
    for end, at in (("source", source), ("target", target)):
        found[f"chosen at {end}"] = np.flatnonzero(is_output[at])
    every: dict[str, np.ndarray | slice] = {
        "": slice(None),
        " at source": found["chosen at source"],
        " at target": found["chosen at target"],
    }
    for which, places in every.items():
        found[f"source{which}"], found[f"target{which}"] = source[places], target[places]
        found[f"in degree{which}"] = np.bincount(target[places], minlength=neurons.size)[:, None]
    return found


def _recipe(tables: Sequence[LayoutTables], weights: LongAxis, by_shape: np.ndarray) -> dict[str, np.ndarray]:
    """The edge of every weight, and what fills every edge as in `index.edge_recipe`; `by_shape` lists the weights of
    the batch by kernel shape."""
    edges, copies, count = LongAxis([len(table.source) for table in tables]), len(tables[0].weight_edges), len(by_shape)
    every = [edges.join([table.weight_edges[copy] for table in tables]) for copy in range(copies)]
    place = np.empty(count, dtype=np.int64)
    place[by_shape] = np.arange(count)
    order = weights.join([table.order for table in tables])  # of weights that share an edge the last one fills it
    recipe = np.full(edges.size, copies * count + 1)
    for copy, at in enumerate(every):
        recipe[at[order]] = copy * count + place[order]
    recipe[edges.join([table.loops for table in tables])] = copies * count
    return {"weight edges": every[0], "recipe": recipe}


def _kernels(
    tables: Sequence[LayoutTables], shapes: Sequence[Shape], weights: LongAxis, numbers: LongAxis
) -> dict[str, np.ndarray]:
    """The weights by kernel shape."""
    found = {}
    for shape in shapes:
        networks = [network for network, table in enumerate(tables) if shape in table.kernels]
        each = [tables[network].kernels[shape] for network in networks]
        read = numbers.join([kernel.numbers for kernel in each], networks)
        structural, owned = read[:, :1] < 0, np.concatenate([kernel.owned for kernel in each])
        found[f"weights {shape}"] = weights.join([kernel.weights for kernel in each], networks)
        found[f"groups {shape}"] = np.concatenate([kernel.groups for kernel in each])
        found[f"numbers {shape}"] = read
        if structural.any():
            found[f"numbers {shape}"], found[f"structural {shape}"] = np.maximum(read, 0), structural
        if not owned.all():
            found[f"owners {shape}"] = np.flatnonzero(owned)
    return found


def _batch_edges(found: Mapping[str, Tensor], which: str) -> BatchEdges:
    return BatchEdges(found[f"source{which}"], found[f"target{which}"], found[f"in degree{which}"].double())


def _batch_kernels(found: Mapping[str, Tensor], shape: Shape) -> BatchKernels:
    structural = found.get(f"structural {shape}")
    return BatchKernels(
        shape=shape,
        weights=found[f"weights {shape}"],
        groups=found[f"groups {shape}"],
        numbers=found[f"numbers {shape}"],
        structural=None if structural is None else structural.bool(),
        owners=found.get(f"owners {shape}"),
    )
