"""The values of single groups of a traced network: read off the exported graph while it runs on given parameters.

Tracing knows in which tensor of the graph the neurons of every group lie, and where in it. What lies beside them
(places of an image, tokens) is averaged, so that every group has `(points, neurons)`. Constants are 1; what the graph
never holds as a whole is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from neural_graphs.layout.strides import row_major
from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.sources import GroupBuilder, Raw
from neural_graphs.tracing.values import TracedTensor
from neural_graphs.tracing.views import StridedView, ViewAxis, slowest_first, views_of

OWN = "own."  # begins the names of tensors in an exported program


@dataclass(frozen=True)
class Place:
    """Where the neurons of a group are: a node of the graph, the dimensions they lie along, and where in these.

    `at` are the places in dimensions that they share with other groups (queries, keys and values packed in one tensor).
    """

    node: str
    dims: tuple[int, ...]
    index: Tensor  # (neurons,), in those dimensions flattened
    at: tuple[tuple[int, int], ...] = ()

    def read(self, value: Tensor, points: int) -> Tensor:
        """The neurons' values, `(points, neurons)`, averaged over whatever else there is."""
        for dim, place in self.at:
            value = value.narrow(dim, place, 1)
        rest = [dim for dim in range(value.ndim) if dim not in self.dims]
        found = value.permute(*rest, *self.dims).flatten(len(rest))[..., self.index.to(value.device)]
        if rest and value.shape[rest[0]] == points:
            return found.flatten(1, -2).mean(1) if len(rest) > 1 else found
        return found.flatten(0, -2).mean(0).expand(points, -1) if rest else found.expand(points, -1)


class GroupValues:
    """Runs an exported graph on the parameters of any network of its layout, and reads groups off it."""

    def __init__(
        self, exported: ExportedProgram, nodes: Mapping[str, TracedTensor], builder: LayoutBuilder,
        groups: Sequence[GroupBuilder], points: int,
    ) -> None:  # fmt: skip
        self.graph, signature = exported.graph_module, exported.graph_signature
        self.tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.constants = {
            name: exported.constants[of] for name, of in signature.inputs_to_lifted_tensor_constants.items()
        }
        self.given, self.points = list(signature.user_inputs), points
        places = _places(nodes, builder)
        self.places = [places.get(group) or _entered(group, nodes, set(self.given)) for group in groups]
        self.sizes = [int(np.prod([var.size for var in group.vars])) for group in groups]
        self.constant = [group.kind in ("one", "positions", "vocabulary", "constant") for group in groups]

    def __call__(self, state: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
        """The values of all groups on points `x`, `(points, neurons)` each."""
        count, own = len(x), self.points
        padded = torch.cat([x, x[-1:].expand(-count % own, *x.shape[1:])])
        parts = [self._run(state, part) for part in padded.split(own)]
        return [torch.cat(each)[:count] for each in zip(*parts, strict=True)]

    def _run(self, state: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
        wanted = {place.node for place in self.places if place is not None}
        reader = _Reader(self.graph, wanted)
        values: list[Any] = []
        for node in self.graph.graph.find_nodes(op="placeholder"):
            name = self.tensors.get(node.name)
            values.append(state[name.removeprefix(OWN)] if name else self.constants.get(node.name, x))
        reader.run(*values)
        found = []
        for place, size, constant in zip(self.places, self.sizes, self.constant, strict=True):
            if place is not None:
                found.append(place.read(reader.kept[place.node], len(x)))
            else:
                found.append((x.new_ones if constant else x.new_zeros)(len(x), size))
        return found


class _Reader(fx.Interpreter):
    """An interpreter that keeps the values of some nodes."""

    def __init__(self, graph: fx.GraphModule, wanted: set[str]) -> None:
        super().__init__(graph)
        self.wanted, self.kept = wanted, dict[str, Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        if n.name in self.wanted:
            self.kept[n.name] = found
        return found


def _places(nodes: Mapping[str, TracedTensor], builder: LayoutBuilder) -> dict[GroupBuilder, Place]:
    """The last node that holds all neurons of a group at as many places as any before it: behind its activation."""
    found: dict[GroupBuilder, Place] = {}
    widest: dict[GroupBuilder, int] = {}
    for name, value in nodes.items():
        for view in builder.known.get(value, []) if not value.raw else []:
            group, size = view.source, int(np.prod(value.shape))
            whole = isinstance(group, GroupBuilder) and view.offset == 0 and len(view.axes) == len(group.vars)
            if whole and isinstance(group, GroupBuilder) and size >= widest.get(group, 0):
                found[group], widest[group] = _place(name, view, value.shape), size
    return found


def _place(node: str, view: StridedView, shape: Sequence[int]) -> Place:
    dims = sorted({axis.dim for axis in view.axes})
    sizes = [axis.size for axis in view.axes]
    steps = np.indices(sizes).reshape(len(sizes), int(np.prod(sizes)))  # of a single neuron: (0, 1)
    neurons = sum((at * axis.stride for at, axis in zip(steps, view.axes, strict=True)), np.zeros(steps.shape[1], int))
    along = {dim: np.full(steps.shape[1], view.starts[dim]) for dim in dims}
    for at, axis in zip(steps, view.axes, strict=True):
        along[axis.dim] = along[axis.dim] + at * axis.step
    flat = np.ravel_multi_index([along[dim] for dim in dims], [shape[dim] for dim in dims]) if dims else neurons * 0
    index = np.empty(len(neurons), dtype=np.int64)
    index[neurons] = flat
    beside = tuple((dim, view.starts[dim]) for dim in sorted(view.cut - set(dims)))
    return Place(node, tuple(dims), torch.from_numpy(index), beside)


def _entered(group: GroupBuilder, nodes: Mapping[str, TracedTensor], given: set[str]) -> Place | None:
    """Where the neurons of an input are in what the user gives."""
    if group.role != "input":
        return None
    for name in given & set(nodes):
        value = nodes[name]
        (view, *_) = views_of(Raw(True), value.dims)
        own = slowest_first(axis for axis in view.axes if axis.var in group.vars)
        if len(own) == len(group.vars):
            strides = row_major([axis.size for axis in own])
            axes = tuple(ViewAxis(a.dim, a.var, a.step, s) for a, s in zip(own, strides, strict=True))
            return _place(name, StridedView(group, view.starts, axes), value.shape)
    return None
