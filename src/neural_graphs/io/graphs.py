"""Layouts and networks as graphs of other libraries: networkx, and torch_geometric."""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.graph.memory import available
from neural_graphs.layout import Block, Group, Layout
from neural_graphs.layout.describe import weight_kind
from neural_graphs.networks import Networks

if TYPE_CHECKING:
    from networkx import MultiDiGraph
    from torch_geometric.data import Batch, Data

ROLES = ("input", "hidden", "output")
EDGE_BYTES = 1000  # of an edge with its attributes in networkx, about


def to_networkx(layout: Layout, neurons: bool = False) -> "MultiDiGraph":
    """The groups of a layout as a `networkx.MultiDiGraph`, or all its neurons and weights.

    Nodes are numbered as groups (attributes name, size, role, kind, activation, bias, axes: the free atoms) or as
    neurons (group, place in it, name, role, kind, bias: whether it has one). Edges are blocks, with their number as
    key (kind, joins, parameter, kernel, weights, numbers, shared), or weights, with theirs (block, kind, parameter,
    kernel, number: where the first of its numbers is in the flat vector, -1 for none). Needs the extra `graph`.
    """
    networkx = extra("networkx")
    graph: MultiDiGraph = networkx.MultiDiGraph(parameters=layout.size, neurons=layout.neurons, weights=layout.weights)
    if neurons:
        enough(layout.weights * EDGE_BYTES, torch.device("cpu"), f"{layout.weights:,} weights as edges of networkx")
        graph.add_nodes_from(_neurons(layout))
        graph.add_edges_from(_weights(layout))
        return graph
    graph.add_nodes_from((place, _group(group)) for place, group in enumerate(layout.groups))
    for place, (block, table) in enumerate(zip(layout.blocks, layout.tables, strict=True)):
        graph.add_edge(
            block.source, block.target, place, **_block(block), joins=table.kind, weights=table.size,
            numbers=table.size * block.kernel_size if block.parameter else 0, shared=block.shared,
        )  # fmt: skip
    return graph


def _group(group: Group) -> dict[str, Any]:
    free = [atom.name for atom in group.axis.atoms() if atom.free]
    about = {"name": group.name, "size": group.size, "role": group.role, "kind": group.kind}
    return {**about, "activation": group.activation.kind, "bias": group.bias, "axes": tuple(free)}


def _block(block: Block) -> dict[str, Any]:
    return {"kind": weight_kind(block), "parameter": block.parameter, "kernel": block.kernel}


def _neurons(layout: Layout) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, (group, place) in enumerate(zip(layout.groups, layout.neuron_slices, strict=True)):
        about = {"group": index, "name": group.name, "role": group.role, "kind": group.kind}
        for number in range(group.size):
            yield place.start + number, {**about, "place": number, "bias": group.bias is not None}


def _weights(layout: Layout) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    sources, targets = (end.tolist() for end in layout.ends)
    for index, (block, place) in enumerate(zip(layout.blocks, layout.weight_slices, strict=True)):
        about = {"block": index, **_block(block)}
        count = place.stop - place.start
        firsts = layout.numbers(block)[:, 0].tolist() if block.parameter else [-1] * count
        for weight, first in zip(range(place.start, place.stop), firsts, strict=True):
            yield sources[weight], targets[weight], weight, {**about, "number": first}


def to_pyg(networks: Networks, layouts: Iterable[Layout] | None = None) -> "Batch":
    """Networks as one `torch_geometric.data.Batch`, a `Data` per network; gradients reach the networks' values.

    Per neuron: `x` (bias of every channel, whether it has one, one-hot role: input, hidden, output), `kind` (index
    into `kind_names`), `group`. Per weight, source to target: `edge_index`; `edge_attr`, its kernel centred in a frame
    as large as the largest kernel, number by number with channels last, ones where it is structural; `edge_mask`
    (numbers of the frame it has); `edge_kind` (index into `edge_kind_names`), `edge_block`. Frame and names are those
    of `layouts`, by default of this batch; a model that reads several batches needs the same ones every time. Needs
    the extra `graph`; raises LayoutError for layouts that are not among them, and where memory is too small.
    """
    geometric = extra("torch_geometric.data", "torch_geometric")
    own = tuple(dict.fromkeys(networks.layouts))
    layouts = own if layouts is None else tuple(dict.fromkeys(layouts))
    if not set(own) <= set(layouts):
        raise LayoutError(
            f"networks of {sum(each not in layouts for each in own)} layouts that `layouts` does not have"
        )
    frame = largest([block.kernel for layout in layouts for block in layout.blocks])
    channels = networks.values.shape[networks.values.ndim - 1] if _has_channels(networks) else 1
    numbers = sum(layout.weights for layout in networks.layouts) * prod(frame)
    size = numbers * (networks.values.element_size() * channels + 1)
    enough(2 * size, networks.values.device, f"{numbers:,} numbers: every weight in a frame of {frame}")  # Data, Batch
    kinds = sorted({group.kind or group.role for layout in layouts for group in layout.groups})
    edge_kinds = sorted({weight_kind(block) for layout in layouts for block in layout.blocks})
    structures = {layout: _structure(layout, kinds, edge_kinds, networks.values.device) for layout in own}
    graphs: list[Data] = []
    for vector, layout in zip(networks.vectors(), networks.layouts, strict=True):
        values = vector.reshape(layout.size, channels)
        edges, mask = _edges(values, layout, frame)
        graphs.append(
            geometric.Data(x=_nodes(values, layout), edge_attr=edges, edge_mask=mask, **structures[layout],
                           kind_names=tuple(kinds), edge_kind_names=tuple(edge_kinds))
        )  # fmt: skip
    return geometric.Batch.from_data_list(graphs)


def _has_channels(networks: Networks) -> bool:
    return networks.values.ndim == (3 if networks.regular else 2)


def largest(kernels: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The smallest frame that every kernel fits into, aligned at their last dimensions."""
    kernels = list(kernels)
    rank = max((len(kernel) for kernel in kernels), default=0)
    every = [(1,) * (rank - len(kernel)) + kernel for kernel in kernels]
    return tuple(max(sizes) for sizes in zip(*every, strict=True))


def framed(kernel: tuple[int, ...], frame: tuple[int, ...]) -> np.ndarray:
    """The places of a kernel's numbers in a frame it is centred in, `⌊(K − k) / 2⌋` free ones before it."""
    every = (1,) * (len(frame) - len(kernel)) + kernel
    index = [(whole - own) // 2 + np.arange(own) for whole, own in zip(frame, every, strict=True)]
    return np.ravel_multi_index(np.ix_(*index), frame).reshape(-1) if frame else np.zeros(1, dtype=np.int64)


def _structure(
    layout: Layout, kinds: Sequence[str], edge_kinds: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    """What networks of one layout have in common."""
    kind = np.array([kinds.index(group.kind or group.role) for group in layout.groups])
    edge_kind = np.array([edge_kinds.index(weight_kind(block)) for block in layout.blocks])
    arrays = {
        "edge_index": np.stack(layout.ends), "kind": kind[layout.neuron_group], "group": layout.neuron_group,
        "edge_kind": edge_kind[layout.weight_block], "edge_block": layout.weight_block,
    }  # fmt: skip
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _nodes(values: Tensor, layout: Layout) -> Tensor:
    """`(neurons, channels + 4)`."""
    places = np.concatenate([layout.bias_numbers(group) for group in layout.groups])
    index = torch.from_numpy(places).to(values.device)
    has = (index >= 0).to(values.dtype)[:, None]
    roles = torch.eye(len(ROLES), dtype=values.dtype, device=values.device)
    role = np.array([ROLES.index(group.role) for group in layout.groups])[layout.neuron_group]
    return torch.cat([values[index.clamp(min=0)] * has, has, roles[torch.from_numpy(role).to(values.device)]], 1)


def _edges(values: Tensor, layout: Layout, frame: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """`(weights, frame · channels)` and `(weights, frame)` bool."""
    columns = values.shape[1]
    found = values.new_zeros(layout.weights, prod(frame), columns)
    mask = torch.zeros(layout.weights, prod(frame), dtype=torch.bool, device=values.device)
    for block, rows in zip(layout.blocks, layout.weight_slices, strict=True):
        inside = torch.from_numpy(framed(block.kernel, frame)).to(values.device)
        if block.parameter is None:
            found[rows, inside] = 1.0
        else:
            found[rows, inside] = values[torch.from_numpy(layout.numbers(block)).to(values.device)]
        mask[rows, inside] = True
    return found.flatten(1), mask


def extra(module: str, package: str = "") -> Any:
    """A module of the extra `graph`. Raises LayoutError where it is not installed."""
    try:
        with catch_warnings():  # what it does while it is imported is its own business
            simplefilter("ignore", DeprecationWarning)
            return import_module(module)
    except ModuleNotFoundError as error:
        raise LayoutError(
            f"{package or module} is not installed; it comes with the extra: pip install 'neural-graphs[graph]'"
        ) from error


def enough(needed: int, device: torch.device, what: str) -> None:
    """Raise LayoutError where memory is too small for `needed` bytes."""
    there = available(device)
    if there is not None and needed > there:
        raise LayoutError(
            f"{what} take about {needed / 1e9:.1f} GB, there are {there / 1e9:.1f} GB; take fewer or smaller networks"
        )
