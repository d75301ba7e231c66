"""The architecture of one network as a value: groups of neurons, blocks of weights, and the tensors they read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod
from typing import Any, Literal

import numpy as np

from neural_graphs import serial
from neural_graphs.axes import Atom, Axis, Concat, Product
from neural_graphs.errors import LayoutError

Role = Literal["input", "hidden", "output"]


@dataclass(frozen=True)
class Activation:
    """An element-wise function of a group: `kind(scale · x)`; `kind` names it (`sine`, `relu`, …, `none`)."""

    kind: str = "none"
    scale: float = 1.0


@dataclass(frozen=True)
class Parameter:
    """A named tensor of the network's state dict."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers the tensor holds."""
        return prod(self.shape)


@dataclass(frozen=True)
class GlobalMean:
    """The mean over all places of a feature map."""


@dataclass(frozen=True)
class MaxPool:
    """The maximum over windows of `window × window` places, as far apart as they are wide."""

    window: int


@dataclass(frozen=True)
class Group:
    """The neurons of one layer of the processed network: biases live here.

    `bias` names the tensor of their biases (None: no biases); `offset` is a constant added to their values after the
    activation (dws2023 INRs: 0.5); `pool` is what happens to a feature map before the next block reads it.
    """

    name: str
    axis: Axis
    role: Role = "hidden"
    bias: str | None = None
    activation: Activation = Activation()
    offset: float = 0.0
    pool: GlobalMean | MaxPool | None = None

    @property
    def size(self) -> int:
        """The number of neurons."""
        return self.axis.size


@dataclass(frozen=True)
class Linear:
    """A matrix product; the kernel of one weight holds one number, or one per place of a flattened feature map."""


@dataclass(frozen=True)
class Conv:
    """A two-dimensional convolution (cross-correlation, as in PyTorch) with zero padding on every side."""

    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Skip:
    """A residual connection: source neuron `i` is added to target neuron `i` before its activation."""


@dataclass(frozen=True)
class Block:
    """The weights from group `source` to group `target`.

    `parameter` names the tensor `(targets, sources, *kernel)` they are read from; None means a structural block whose
    kernels are constant ones. `span` is None for a dense block (every pair) and `n` for a one-to-one block that joins
    neuron `i < n` of the source to neuron `i` of the target.
    """

    source: int
    target: int
    parameter: str | None
    kernel: tuple[int, ...] = ()
    operator: Linear | Conv | Skip = field(default_factory=Linear)
    span: int | None = None

    @property
    def kernel_size(self) -> int:
        """How many numbers one weight consists of."""
        return prod(self.kernel)


@dataclass(frozen=True)
class Layout:
    """One architecture: neuron groups in computation order, weight blocks, and tensors in `state_dict` order.

    A value without tensors: frozen, hashable, comparable; `str(layout)` is one line such as `2 → 32 → 32 → 1 · sine`.
    Neurons are numbered group after group; weights block after block, target-major, in the order of the flattened
    tensor. Worked example, 2 → 3 → 1: neurons 0-1 are inputs, 2-4 hidden, 5 the output; weight 0 joins neuron 0 to
    neuron 2, weight 1 joins 1 to 2, weight 2 joins 0 to 3, …, weight 6 joins 2 to 5. Raises LayoutError where groups,
    blocks and tensors do not fit.
    """

    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]
    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        from neural_graphs.layouts import validate

        validate(self)

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
    def weights(self) -> int:
        """The number of weights (edges), structural ones included."""
        return sum(self.block_shape(block)[0] * self.block_shape(block)[1] for block in self.blocks)

    @cached_property
    def weight_slices(self) -> tuple[slice, ...]:
        """The weights of each block."""
        counts = (prod(self.block_shape(block)) for block in self.blocks)
        ends = list(accumulate(counts, initial=0))
        return tuple(slice(a, b) for a, b in pairwise(ends))

    def block_shape(self, block: Block) -> tuple[int, int]:
        """`(targets, sources)` of a dense block; `(span, 1)` of a one-to-one block."""
        if block.span is not None:
            return block.span, 1
        return self.groups[block.target].size, self.groups[block.source].size

    # -- index structure, numpy int64 --------------------------------------------------------------------------------

    @cached_property
    def neuron_group(self) -> np.ndarray:
        """The group of every neuron, `(neurons,)`."""
        return np.repeat(np.arange(len(self.groups)), [group.size for group in self.groups])

    @cached_property
    def weight_block(self) -> np.ndarray:
        """The block of every weight, `(weights,)`."""
        return np.repeat(np.arange(len(self.blocks)), [prod(self.block_shape(block)) for block in self.blocks])

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The source and the target neuron of every weight, `(weights,)` each."""
        sources, targets = [], []
        for block in self.blocks:
            rows, columns = self.block_shape(block)
            first_source = self.neuron_slices[block.source].start
            first_target = self.neuron_slices[block.target].start
            target = np.repeat(np.arange(rows), columns)
            source = target if block.span is not None else np.tile(np.arange(columns), rows)
            sources.append(first_source + source)
            targets.append(first_target + target)
        return np.concatenate(sources), np.concatenate(targets)

    @cached_property
    def in_degree(self) -> np.ndarray:
        """The number of weights into every neuron, `(neurons,)`."""
        return np.bincount(self.ends[1], minlength=self.neurons)

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
        kinds = dict.fromkeys(g.activation.kind for g in self.groups if g.role == "hidden")
        kernels = ["×".join(map(str, b.kernel)) if b.kernel else "" for b in self.blocks if b.span is None]
        chain = str(self.groups[0].size)
        for group, kernel in zip(self.groups[1:], kernels, strict=False):
            chain += f" → {group.size}" if not kernel else f" →({kernel}) {group.size}"
        skips = [f"{b.source}⇢{b.target}" for b in self.blocks if b.span is not None]
        return " · ".join([chain, "/".join(kinds) or "linear", *skips])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values from which `from_json` makes an equal layout."""
        return serial.to_json(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Layout":
        """The layout that `to_json` described. Raises LayoutError on anything else."""
        layout = serial.from_json(value, _KINDS)
        if not isinstance(layout, Layout):
            raise LayoutError(f"expected the description of a Layout, got one of {type(layout).__name__}")
        return layout

    # -- builders ----------------------------------------------------------------------------------------------------

    @staticmethod
    def mlp(sizes: Sequence[int], activation: str = "relu", **options: Any) -> "Layout":
        """A multilayer perceptron or INR, see `neural_graphs.layouts.mlp`."""
        from neural_graphs.layouts import mlp

        return mlp(sizes, activation, **options)

    @staticmethod
    def cnn(channels: Sequence[int], kernels: Sequence[int], classes: int, **options: Any) -> "Layout":
        """A plain or residual convolutional network, see `neural_graphs.layouts.cnn`."""
        from neural_graphs.layouts import cnn

        return cnn(channels, kernels, classes, **options)


_KINDS: tuple[type, ...] = (Layout, Group, Block, Parameter, Activation, Atom, Product, Concat)
_KINDS += (Linear, Conv, Skip, GlobalMean, MaxPool)
