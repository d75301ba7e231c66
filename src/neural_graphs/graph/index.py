"""The index tensors of one layout under one wiring, made once and kept per device."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from neural_graphs.graph.constants import Tensors, constant
from neural_graphs.graph.edges import EdgeBlock, Wiring, runs, subset
from neural_graphs.graph.ops.blocks import encode
from neural_graphs.layout import Layout, Parameter
from neural_graphs.layout.strides import End, places


@dataclass(frozen=True)
class KernelIndices:
    """Where the weights of one kernel shape are.

    `weights` are their numbers in the layout, ascending, and `groups` their target groups; `blocks` lists their blocks.
    """

    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    weights: np.ndarray
    groups: np.ndarray


@constant()
def kernel_indices(layout: Layout) -> tuple[KernelIndices, ...]:
    """The weights of a layout by kernel shape, in order of first appearance."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, block in enumerate(layout.blocks):
        by_shape.setdefault(block.kernel, []).append(index)
    found = []
    for shape, blocks in by_shape.items():
        slices = [layout.weight_slices[index] for index in blocks]
        targets, counts = [layout.blocks[index].target for index in blocks], [s.stop - s.start for s in slices]
        weights = np.concatenate([np.arange(s.start, s.stop) for s in slices])
        found.append(KernelIndices(shape, tuple(blocks), weights, np.repeat(targets, counts)))
    return tuple(found)


def kernel_numbers(layout: Layout, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The places of the numbers of all weights of one kernel shape in the flat vector, `(weights, kernel)`, -1 for
    structural weights, whose kernel is constant ones; and which weights own their numbers, `(weights,)`."""
    numbers, owned = [np.empty((0, prod(shape)), dtype=np.int64)], [np.empty(0, dtype=bool)]
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        if block.kernel == shape:
            own = np.full((table.size, block.kernel_size), -1) if block.parameter is None else layout.numbers(block)
            numbers.append(own)
            owned.append(np.full(table.size, block.parameter is not None and not block.shared))
    return np.concatenate(numbers), np.concatenate(owned)


@constant()
def bias_indices(layout: Layout) -> np.ndarray:
    """The place of every neuron's bias in the flat vector, -1 where it has none: `(neurons,)`."""
    return np.concatenate([layout.bias_numbers(group) for group in layout.groups])


@constant()
def owned_bias_indices(layout: Layout) -> np.ndarray:
    """The same, -1 also where another group owns the bias."""
    return np.where(np.array([group.shared for group in layout.groups])[layout.neuron_group], -1, bias_indices(layout))


@dataclass(frozen=True)
class Assembly:
    """How one tensor is put together: the biases of `groups`, then the kernels of `blocks` one after another, and of
    those the numbers `order`, `(size,)`; None where they lie in order. A tensor that nothing reads has neither."""

    size: int
    groups: tuple[int, ...]
    blocks: tuple[int, ...]
    order: np.ndarray | None


@constant()
def assemblies(layout: Layout) -> tuple[Assembly, ...]:
    """How every tensor is put together from what owns its numbers, in the order of the parameters."""
    groups: dict[str, list[int]] = {}
    blocks: dict[str, list[int]] = {}
    for index, group in enumerate(layout.groups):
        if group.bias and not group.shared:
            groups.setdefault(group.bias, []).append(index)
    for index, block in enumerate(layout.blocks):
        if block.parameter and not block.shared:
            blocks.setdefault(block.parameter, []).append(index)
    return tuple(
        _assembly(layout, parameter, groups.get(parameter.name, []), blocks.get(parameter.name, []))
        for parameter in layout.parameters
    )


def _assembly(layout: Layout, parameter: Parameter, groups: list[int], blocks: list[int]) -> Assembly:
    windows = [*(layout.groups[i].window for i in groups), *(layout.blocks[i].window for i in blocks)]
    if not windows or (len(windows) == 1 and (windows[0] is None or windows[0].whole)):
        return Assembly(parameter.size, tuple(groups), tuple(blocks), None)
    numbers = [layout.bias_numbers(layout.groups[i]) for i in groups]
    numbers += [layout.numbers(layout.blocks[i]).reshape(-1) for i in blocks]
    order = np.empty(parameter.size, dtype=np.int64)
    order[np.concatenate(numbers) - layout.slices[parameter.name].start] = np.arange(parameter.size)
    return Assembly(parameter.size, tuple(groups), tuple(blocks), order)


def neuron_groups(layout: Layout) -> np.ndarray:
    """The group of every neuron, `(neurons,)`."""
    return layout.neuron_group


@constant()
def fan_out(layout: Layout) -> np.ndarray:
    """The number of weights that leave every neuron, `(neurons,)`."""
    return np.bincount(layout.ends[0], minlength=layout.neurons)


@constant()
def output_indices(layout: Layout) -> np.ndarray:
    """The output neurons, in order."""
    roles = [group.role == "output" for group in layout.groups]
    return np.flatnonzero(np.array(roles)[layout.neuron_group])


def ends(layout: Layout, wiring: Wiring) -> tuple[np.ndarray, np.ndarray]:
    """Source and target neuron of every edge."""
    pairs = [block.ends for block in wiring.edge_blocks(layout)]
    return np.concatenate([s for s, _ in pairs]), np.concatenate([t for _, t in pairs])


@constant()
def edge_recipe(layout: Layout, wiring: Wiring) -> np.ndarray:
    """Which encoded piece fills every edge: an index into [weights by kernel shape, copy after copy; loop; absent]."""
    count = wiring.copies * layout.weights
    recipe = np.full(wiring.edge_blocks(layout)[-1].edges.stop, count + 1)
    order = np.concatenate([places.weights for places in kernel_indices(layout)])
    order = np.concatenate([order + copy * layout.weights for copy in range(wiring.copies)])
    recipe[wiring.weight_indices(layout)[order]] = np.arange(count)
    recipe[wiring.loop_indices(layout)] = count
    return recipe


@dataclass(frozen=True, eq=False)
class KernelTensors:
    """`KernelIndices.weights` and `.groups` of every kernel shape, `(weights,)` each, on a device."""

    weights: tuple[Tensor, ...]
    groups: tuple[Tensor, ...]


@constant(512)
def kernel_tensors(layout: Layout, device: torch.device) -> KernelTensors:
    """The weights of a layout by kernel shape, in the order of `kernel_indices`."""
    every = kernel_indices(layout)
    parts = ([each.weights for each in every], [each.groups for each in every])
    return KernelTensors(*(tuple(torch.from_numpy(each).to(device) for each in part) for part in parts))


@constant(512)
def assembly_orders(layout: Layout, device: torch.device) -> Tensors:
    """The orders of `assemblies` on a device; None where numbers lie in order."""
    orders = [each.order for each in assemblies(layout)]
    return Tensors(tuple(None if order is None else torch.from_numpy(order).to(device) for order in orders))


@dataclass(frozen=True, eq=False)
class Index:
    """Index tensors of one layout under one wiring on one device; what a regular batch needs."""

    edge_blocks: tuple[EdgeBlock, ...]
    code: list[int]  # the same as numbers, for operators
    recipe: Tensor | None  # (edges,), None where pieces already lie in edge order
    weight_indices: Tensor  # (copies · weights,)
    reverse: Tensor | None  # (edges,)
    in_degree: Tensor  # (neurons, 1) float64
    has_bias: Tensor  # (neurons, 1) bool
    outputs: Tensor  # (outputs,)
    is_output: Tensor  # (neurons, 1) bool
    edges: Tensor  # (edges,), their numbers among all edges of the wiring


@constant(512)
def index_of(layout: Layout, wiring: Wiring, device: torch.device, end: End | None = None) -> Index:
    """The index tensors of a layout, cached; with `end` those of the edges with an output neuron at that end."""

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    recipe = edge_recipe(layout, wiring)
    plain = np.array_equal(recipe, np.arange(len(recipe)))
    edge_blocks, edges = wiring.edge_blocks(layout), np.arange(len(recipe))
    outputs = output_indices(layout)
    if end is not None:
        edge_blocks, edges = subset(edge_blocks, runs(outputs), end)
    return Index(
        edge_blocks=edge_blocks,
        code=list(encode(edge_blocks)),
        recipe=None if plain else tensor(recipe),
        weight_indices=tensor(wiring.weight_indices(layout)),
        reverse=tensor(wiring.reverse(layout)) if wiring.paired else None,
        in_degree=tensor(_degree(layout, edge_blocks)[:, None]),
        has_bias=tensor(bias_indices(layout)[:, None] >= 0),
        outputs=tensor(outputs),
        is_output=tensor(np.isin(np.arange(layout.neurons), outputs)[:, None]),
        edges=tensor(edges),
    )


def _degree(layout: Layout, edge_blocks: Sequence[EdgeBlock]) -> np.ndarray:
    """The number of edges into every neuron, `(neurons,)` float64."""
    degree = np.zeros(layout.neurons)
    for block in edge_blocks:
        sizes, strides = block.table.sizes, block.table.target
        kept_dims = (
            tuple(sizes[dim] for dim in block.kept_dims["target"]),
            tuple(strides[dim] for dim in block.kept_dims["target"]),
        )
        degree[block.target + places(*kept_dims)] += prod(sizes[dim] for dim in block.reduced_dims["target"])
    return degree
