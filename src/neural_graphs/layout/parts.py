"""What a layout is made of: groups of neurons, blocks of weights, and the tensors they read."""

from dataclasses import dataclass, field
from math import prod
from typing import Literal

from neural_graphs.layout.axes import Axis
from neural_graphs.layout.strides import Table, Window

Role = Literal["input", "hidden", "output"]


@dataclass(frozen=True)
class Activation:
    """An element-wise function of a group: `kind(scale · x)`; `kind` names it (`sine`, `relu`, …, `none`)."""

    kind: str = "none"
    scale: float = 1.0


@dataclass(frozen=True)
class Parameter:
    """A named tensor of the network's state dict.

    `buffer`: it is not trained (running statistics). `also` lists further names of the same tensor (tied weights).
    `dtype` is given for tensors that are carried along and not read: the type of whole numbers or truth values
    (`int64`), or `float` for real numbers, which have the precision of all others.
    """

    name: str
    shape: tuple[int, ...]
    buffer: bool = False
    also: tuple[str, ...] = ()
    dtype: str = ""

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

    `bias` names the tensor of their biases (None: no biases), `window` the part of it (None: all of it); `offset` is a
    constant added to their values after the activation (dws2023 INRs: 0.5); `pool` is what happens to a feature map
    before the next block reads it. `kind` says what computes them (traced layouts: `conv`, `norm`, `add`, …).
    `shared`: another group owns the bias, because the network uses a module more than once. `transparent` (traced
    layouts): nothing that the layout does not tell happens to its values, but for what is linear.
    """

    name: str
    axis: Axis
    role: Role = "hidden"
    bias: str | None = None
    activation: Activation = Activation()
    offset: float = 0.0
    pool: GlobalMean | MaxPool | None = None
    window: Window | None = None
    kind: str = ""
    shared: bool = False
    transparent: bool = field(default=False, metadata={"sparse": True})  # older files do not tell

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
    neuron `i < n` of the source to neuron `i` of the target. Blocks that are neither, or that read their tensor in
    another order or in part, say so with `joins` and `window`. `kind` says what the weights are (traced layouts).
    `shared`: another block owns the numbers, because the network uses them more than once (tied weights).
    """

    source: int
    target: int
    parameter: str | None
    kernel: tuple[int, ...] = ()
    operator: Linear | Conv | Skip = field(default_factory=Linear)
    span: int | None = None
    joins: Table | None = None
    window: Window | None = None
    kind: str = ""
    shared: bool = False

    @property
    def kernel_size(self) -> int:
        """How many numbers one weight consists of."""
        return prod(self.kernel)
