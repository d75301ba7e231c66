"""The architecture of one network as a value: groups of neurons, blocks of weights, and the tensors they read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from neural_graphs.errors import LayoutError
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.forwarding import forwarded
from neural_graphs.layout.parts import Activation as Activation
from neural_graphs.layout.parts import Block as Block
from neural_graphs.layout.parts import Conv as Conv
from neural_graphs.layout.parts import GlobalMean as GlobalMean
from neural_graphs.layout.parts import Group as Group
from neural_graphs.layout.parts import Linear as Linear
from neural_graphs.layout.parts import MaxPool as MaxPool
from neural_graphs.layout.parts import Parameter as Parameter
from neural_graphs.layout.parts import Role as Role
from neural_graphs.layout.parts import Skip as Skip
from neural_graphs.layout.serialise import from_json, to_json
from neural_graphs.layout.strides import Table, Window


@dataclass(frozen=True)
class Layout:
    """One architecture: neuron groups in computation order, weight blocks, and tensors in `state_dict` order.

    A value without tensors: frozen, hashable, comparable; `str(layout)` is one line such as `2 → 32 → 32 → 1 · sine`.
    Neurons are numbered group after group; weights block after block, target-major, in the order of the flattened
    tensor. Worked example, 2 → 3 → 1: neurons 0-1 are inputs, 2-4 hidden, 5 the output; weight 0 joins neuron 0 to
    neuron 2, weight 1 joins 1 to 2, weight 2 joins 0 to 3, …, weight 6 joins 2 to 5. A layout that was traced knows the
    `program` that runs its networks; it is not part of the value. Raises LayoutError where groups, blocks and tensors
    do not fit.

    Examples:
        >>> import neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 32, 1), "sine")
        >>> print(layout, layout.size, list(layout.shapes))
        2 → 32 → 1 · sine 129 ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']
        >>> print(ng.Layout.cnn((1, 8, 8), (3, 3), 10))
        1 →(3×3) 8 →(3×3) 8 → 10 · relu
    """

    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]
    parameters: tuple[Parameter, ...]
    program: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        forwarded("layout.validate.validate")(self)

    def __hash__(self) -> int:  # layouts are dictionary keys in hot loops: hash once
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.groups, self.blocks, self.parameters))

    # -- counts and offsets ------------------------------------------------------------------------------------------

    @cached_property
    def size(self) -> int:
        """The number of parameters."""
        return sum(parameter.size for parameter in self.parameters)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each tensor lies in the flat vector."""
        ends = list(accumulate((parameter.size for parameter in self.parameters), initial=0))
        return {p.name: slice(a, b) for p, a, b in zip(self.parameters, ends, ends[1:], strict=False)}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {parameter.name: parameter.shape for parameter in self.parameters}

    @cached_property
    def neurons(self) -> int:
        """The number of neurons, inputs and outputs included."""
        return sum(group.size for group in self.groups)

    @cached_property
    def neuron_slices(self) -> tuple[slice, ...]:
        """The neurons of each group."""
        ends = list(accumulate((group.size for group in self.groups), initial=0))
        return tuple(slice(a, b) for a, b in pairwise(ends))

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """Which neurons the weights of each block join."""
        return tuple(map(self.table, self.blocks))

    def table(self, block: Block) -> Table:
        """Which neurons the weights of a block join."""
        if block.joins is not None:
            return block.joins
        if block.span is not None:
            return Table.one_to_one(block.span)
        return Table.dense(self.groups[block.target].size, self.groups[block.source].size)

    @cached_property
    def weights(self) -> int:
        """The number of weights (edges), structural ones included."""
        return sum(table.size for table in self.tables)

    @cached_property
    def weight_slices(self) -> tuple[slice, ...]:
        """The weights of each block."""
        ends = list(accumulate((table.size for table in self.tables), initial=0))
        return tuple(slice(a, b) for a, b in pairwise(ends))

    # -- index structure, numpy int64 --------------------------------------------------------------------------------

    @cached_property
    def neuron_group(self) -> np.ndarray:
        """The group of every neuron, `(neurons,)`."""
        return np.repeat(np.arange(len(self.groups)), [group.size for group in self.groups])

    @cached_property
    def weight_block(self) -> np.ndarray:
        """The block of every weight, `(weights,)`."""
        return np.repeat(np.arange(len(self.blocks)), [table.size for table in self.tables])

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The source and the target neuron of every weight, `(weights,)` each."""
        sources, targets = [], []
        for block, table in zip(self.blocks, self.tables, strict=True):
            source, target = table.ends
            sources.append(self.neuron_slices[block.source].start + source)
            targets.append(self.neuron_slices[block.target].start + target)
        return np.concatenate(sources), np.concatenate(targets)

    @cached_property
    def number_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target neuron of every number of the flat vector, `(size,)` each; -1 where it has none.

        Biases have a target only; of numbers that are read more than once the ends are those of their owner.
        """
        sources, targets = np.full(self.size, -1), np.full(self.size, -1)
        for group, at in zip(self.groups, self.neuron_slices, strict=True):
            if group.bias and not group.shared:
                targets[self.bias_numbers(group)] = np.arange(at.start, at.stop)
        for block, table in zip(self.blocks, self.tables, strict=True):
            if block.parameter and not block.shared:
                numbers, (source, target) = self.numbers(block), table.ends
                sources[numbers] = (self.neuron_slices[block.source].start + source)[:, None]
                targets[numbers] = (self.neuron_slices[block.target].start + target)[:, None]
        return sources, targets

    def numbers(self, block: Block) -> np.ndarray:
        """The places of the numbers of every weight of a block in the flat vector, `(weights, kernel)`.

        Raises LayoutError for a structural block, which reads none.
        """
        if block.parameter is None:
            raise LayoutError(f"the structural block {block.source} → {block.target} reads no tensor")
        start, table = self.slices[block.parameter].start, self.table(block)
        own = np.arange(table.size * block.kernel_size) if block.window is None else block.window.places
        return (start + own).reshape(table.size, block.kernel_size)

    def bias_numbers(self, group: Group) -> np.ndarray:
        """The places of the biases of a group in the flat vector, `(group size,)`; -1 where it has none."""
        if group.bias is None:
            return np.full(group.size, -1)
        own = np.arange(group.size) if group.window is None else group.window.places
        return self.slices[group.bias].start + own

    @cached_property
    def in_degree(self) -> np.ndarray:
        """The number of weights into every neuron, `(neurons,)`."""
        return np.bincount(self.ends[1], minlength=self.neurons)

    @cached_property
    def fan_in(self) -> np.ndarray:
        """The number of numbers that weigh what comes into every neuron, `(neurons,)`: all taps of its kernels."""
        taps = np.array([block.kernel_size if block.parameter else 0 for block in self.blocks])
        return np.bincount(self.ends[1], taps[self.weight_block], self.neurons).astype(np.int64)

    @cached_property
    def axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axis of every dimension of every tensor, by its name: which atoms permute it, and what is fixed."""
        return forwarded("layout.tensor_axes.tensor_axes")(self)

    # -- roles and symmetry ------------------------------------------------------------------------------------------

    def role_count(self, role: Role) -> int:
        """The number of neurons with that role."""
        return sum(group.size for group in self.groups if group.role == role)

    @cached_property
    def free_atoms(self) -> tuple[Atom, ...]:
        """The axes that may be permuted without changing the function, each once."""
        atoms = (atom for group in self.groups for atom in group.axis.atoms() if atom.free)
        return tuple(dict.fromkeys(atoms))

    # -- text --------------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        """One line for a plain chain; for anything else tables of groups, weights and symmetries."""
        return forwarded("layout.describe.text")(self)

    def __format__(self, specification: str) -> str:
        """One line, whatever the layout: what messages say."""
        return format(forwarded("layout.describe.line")(self), specification)

    def to_networkx(self, neurons: bool = False) -> Any:
        """A `networkx.MultiDiGraph` of groups, or of neurons; see `neural_graphs.io.graphs.to_networkx`."""
        return forwarded("io.graphs.to_networkx")(self, neurons)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values from which `from_json` makes an equal layout."""
        return to_json(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Layout":
        """The layout that `to_json` described. Raises LayoutError on anything else."""
        layout = from_json(value, KINDS)
        if not isinstance(layout, Layout):
            raise LayoutError(f"expected the description of a Layout, got one of {type(layout).__name__}")
        return layout

    # -- builders ----------------------------------------------------------------------------------------------------

    @staticmethod
    def mlp(sizes: Sequence[int], activation: str = "relu", **options: Any) -> "Layout":
        """A multilayer perceptron or INR, see `neural_graphs.layout.builders.mlp`."""
        return forwarded("layout.builders.mlp")(sizes, activation, **options)

    @staticmethod
    def cnn(channels: Sequence[int], kernels: Sequence[int], classes: int, **options: Any) -> "Layout":
        """A plain or residual convolutional network, see `neural_graphs.layout.builders.cnn`."""
        return forwarded("layout.builders.cnn")(channels, kernels, classes, **options)


KINDS: tuple[type, ...] = (Layout, Group, Block, Parameter, Activation, Atom, Product, Concat)
KINDS += (Linear, Conv, Skip, GlobalMean, MaxPool, Table, Window)
