"""The index tensors of one layout under one wiring, made once and kept per device."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from neural_graphs.layout import Layout
from neural_graphs.wiring import Arc, Wiring, narrow


@dataclass(frozen=True)
class KernelPlaces:
    """Where the weights of one kernel shape are.

    `weights` are their numbers in the layout, ascending, `groups` their target groups and `starts` the first number of
    each in the flat vector (-1 for structural weights, whose kernel is constant ones); `blocks` lists their blocks.
    """

    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    weights: np.ndarray
    groups: np.ndarray
    starts: np.ndarray

    @property
    def size(self) -> int:
        """How many numbers one kernel holds."""
        return int(np.prod(self.shape))


@lru_cache(maxsize=4096)
def kernel_places(layout: Layout) -> tuple[KernelPlaces, ...]:
    """The weights of a layout by kernel shape, in order of first appearance."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, block in enumerate(layout.blocks):
        by_shape.setdefault(block.kernel, []).append(index)
    found = []
    for shape, blocks in by_shape.items():
        weights, starts = [], []
        for index in blocks:
            place, name = layout.weight_slices[index], layout.blocks[index].parameter
            count = place.stop - place.start
            weights.append(np.arange(place.start, place.stop))
            first = None if name is None else layout.slices[name].start
            step = layout.blocks[index].kernel_size
            starts.append(np.full(count, -1) if first is None else first + step * np.arange(count))
        chosen = np.concatenate(weights)
        groups = np.array([block.target for block in layout.blocks])[layout.weight_block[chosen]]
        found.append(KernelPlaces(shape, tuple(blocks), chosen, groups, np.concatenate(starts)))
    return tuple(found)


@lru_cache(maxsize=4096)
def bias_places(layout: Layout) -> np.ndarray:
    """The place of every neuron's bias in the flat vector, -1 where it has none: `(neurons,)`."""
    places = [
        np.full(group.size, -1) if group.bias is None else layout.slices[group.bias].start + np.arange(group.size)
        for group in layout.groups
    ]
    return np.concatenate(places)


@lru_cache(maxsize=4096)
def output_places(layout: Layout) -> np.ndarray:
    """The output neurons, in order."""
    roles = [group.role == "output" for group in layout.groups]
    return np.flatnonzero(np.array(roles)[layout.neuron_group])


@lru_cache(maxsize=4096)
def ends(layout: Layout, wiring: Wiring) -> tuple[np.ndarray, np.ndarray]:
    """Source and target neuron of every edge."""
    pairs = [arc.ends for arc in wiring.arcs(layout)]
    return np.concatenate([s for s, _ in pairs]), np.concatenate([t for _, t in pairs])


@lru_cache(maxsize=4096)
def edge_recipe(layout: Layout, wiring: Wiring) -> np.ndarray:
    """Which encoded piece fills every edge: an index into [weights by kernel shape, copy after copy; loop; absent]."""
    source, _ = ends(layout, wiring)
    count = wiring.copies * layout.weights
    recipe = np.full(len(source), count + 1)
    order = np.concatenate([places.weights for places in kernel_places(layout)])
    order = np.concatenate([order + copy * layout.weights for copy in range(wiring.copies)])
    recipe[wiring.weight_places(layout)[order]] = np.arange(count)
    recipe[wiring.loop_places(layout)] = count
    return recipe


@dataclass(frozen=True, eq=False)
class Structure:
    """Index tensors of one layout under one wiring on one device; what a regular batch needs."""

    arcs: tuple[Arc, ...]
    recipe: Tensor | None  # (edges,), None where pieces already lie in edge order
    weight_places: Tensor  # (copies · weights,)
    counterpart: Tensor | None  # (edges,)
    in_degree: Tensor  # (neurons, 1) float64
    has_bias: Tensor  # (neurons, 1) bool
    outputs: Tensor  # (outputs,)
    is_output: Tensor  # (neurons, 1) bool
    edges: Tensor  # (edges,), their numbers among all edges of the wiring


@lru_cache(maxsize=512)
def structure(layout: Layout, wiring: Wiring, device: torch.device, end: str | None = None) -> Structure:
    """The structure of a layout, cached; with `end` that of the edges whose source or target is an output neuron."""

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    recipe = edge_recipe(layout, wiring)
    plain = np.array_equal(recipe, np.arange(len(recipe)))
    arcs, edges = wiring.arcs(layout), np.arange(len(recipe))
    outputs = output_places(layout)
    if end is not None:
        arcs, edges = narrow(arcs, slice(int(outputs[0]), int(outputs[-1]) + 1), end)
    return Structure(
        arcs=arcs,
        recipe=None if plain else tensor(recipe),
        weight_places=tensor(wiring.weight_places(layout)),
        counterpart=tensor(wiring.counterpart(layout)) if wiring.paired else None,
        in_degree=tensor(_degree(layout, wiring, edges)[:, None]),
        has_bias=tensor(bias_places(layout)[:, None] >= 0),
        outputs=tensor(outputs),
        is_output=tensor(np.isin(np.arange(layout.neurons), outputs)[:, None]),
        edges=tensor(edges),
    )


def _degree(layout: Layout, wiring: Wiring, edges: np.ndarray) -> np.ndarray:
    return np.bincount(ends(layout, wiring)[1][edges], minlength=layout.neurons).astype(np.float64)
