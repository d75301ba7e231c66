"""`InputSpec`: what a metanetwork must know of the networks it will read before it sees them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.layout import Layout
from neural_graphs.layout.kinds import block_kinds, group_kinds
from neural_graphs.layout.layout import KINDS
from neural_graphs.layout.serialise import from_json, to_json
from neural_graphs.networks import Networks

Numbers = tuple[float, ...]


def plane(kernel: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a kernel of any rank laid out flat: `()` is 1 × 1, `(k,)` 1 × k, `(d, h, w)` d·h × w."""
    return (prod(kernel[:-1]), kernel[-1]) if kernel else (1, 1)


def _several(kinds: Iterable[str]) -> tuple[str, ...]:
    """The distinct kinds in alphabetical order; none where there is only one."""
    distinct = tuple(sorted(set(kinds)))
    return distinct if len(distinct) > 1 else ()


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the weights into each group after the inputs, and of its biases."""

    weight_mean: Numbers
    weight_std: Numbers
    bias_mean: Numbers
    bias_std: Numbers


@dataclass(frozen=True)
class InputSpec:
    """Bounds that hold for all layouts of a zoo.

    `inputs` and `outputs` are neurons, `hidden_groups` the most any network has, `frame` the largest kernel,
    `activations` the kinds that occur in hidden groups, `log_degree` the mean of `log(in-degree + 1)` over neurons
    (δ of PNA), `statistics` those of the training networks, if they are to be standardised, `size` the most parameters
    any network has. `weight_kinds` and `neuron_kinds` are those of blocks and groups, where there is more than one;
    `ordered` tells whether hidden groups have fixed places (positions, vocabularies), which must be told apart;
    `end_groups` are the most groups of inputs and outputs together; `channels` are those of every number (its value,
    gradient, momenta); `layout` is that of the largest network, from which linear layers are derived.

    Examples:
        >>> import neural_graphs as ng
        >>> family = ng.InputSpec.of([ng.Layout.mlp((2, 32, 1)), ng.Layout.mlp((2, 16, 16, 1))])
        >>> family.inputs, family.hidden_groups, family.outputs
        (2, 2, 1)
    """

    KIND_OF: ClassVar[str] = "Family"  # its name in files, from before it had this one

    inputs: int
    hidden_groups: int
    outputs: int
    frame: tuple[int, int] = (1, 1)
    activations: tuple[str, ...] = ()
    log_degree: float = 1.0
    statistics: Statistics | None = None
    size: int = 0
    weight_kinds: tuple[str, ...] = ()
    neuron_kinds: tuple[str, ...] = ()
    ordered: bool = False
    end_groups: int = 2
    channels: int = field(default=1, metadata={"sparse": True})
    layout: Layout | None = field(default=None, metadata={"sparse": True}, repr=False)

    @classmethod
    def of(
        cls, layouts: Iterable[Layout], statistics: Statistics | None = None, channels: int = 1
    ) -> "InputSpec":  # fmt: skip
        """The smallest family these layouts belong to, of networks with so many channels. Raises LayoutError for none.

        Statistics are those of values, so there are none where numbers have further channels.
        """
        if channels < 1 or (statistics is not None and channels > 1):
            raise LayoutError(f"expected at least one channel, and no statistics of several; got {channels} channels")
        every = list(dict.fromkeys(layouts))
        if not every:
            raise LayoutError("a family needs at least one layout")
        kernels = [plane(block.kernel) for layout in every for block in layout.blocks]
        hidden = [[group for group in layout.groups if group.role == "hidden"] for layout in every]
        named = any(block.kind for layout in every for block in layout.blocks)  # as tracing does where it must
        degrees = np.concatenate([layout.in_degree for layout in every])
        return cls(
            max(layout.role_count("input") for layout in every),
            max(map(len, hidden)),
            max(layout.role_count("output") for layout in every),
            (max(k[0] for k in kernels), max(k[1] for k in kernels)),
            tuple(sorted({group.activation.kind for groups in hidden for group in groups})),
            float(np.log(degrees + 1).mean()),
            statistics,
            max(layout.size for layout in every),
            _several(kind for layout in every for kind in block_kinds(layout)) if named else (),
            _several(kind for layout in every for kind in group_kinds(layout)) if named else (),
            any(
                atom.size > 1 and not atom.free for groups in hidden for group in groups for atom in group.axis.atoms()
            ),
            max(len(layout.groups) - len(groups) for layout, groups in zip(every, hidden, strict=True)),
            channels,
            max(every, key=lambda layout: layout.size),
        )

    @property
    def groups(self) -> int:
        """The most groups after the first."""
        return self.hidden_groups + self.end_groups - 1

    @property
    def kernel_size(self) -> int:
        """Numbers in the frame."""
        return prod(self.frame)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values from which `from_json` makes an equal family."""
        return to_json(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "InputSpec":
        """The family that `to_json` described."""
        return from_json(value, (cls, Statistics, *KINDS))


Family = InputSpec  # its former name


def networks_for(reader: nn.Module, networks: object) -> Networks:
    """Networks in the precision of a metanetwork, where they lose nothing by it.

    Raises LayoutError for anything but Networks, and for those of a precision that it has not.
    """
    name = type(reader).__name__
    if not isinstance(networks, Networks):
        shape = f" of shape {tuple(networks.shape)}" if isinstance(networks, Tensor) else ""
        raise LayoutError(
            f"{name} reads Networks, got a {type(networks).__name__}{shape}; make them: Networks(values, layout)"
        )
    own, theirs = next(reader.parameters(), networks.values).dtype, networks.values.dtype
    if torch.promote_types(own, theirs) != own:
        raise LayoutError(f"{name} is of {own}, these networks are of {theirs}; give it networks.to({own})")
    return networks if own == theirs else networks.to(own)


def require_size(width: int, depth: int) -> None:
    """Raise ConfigError for less than one channel or layer."""
    if width < 1 or depth < 1:
        raise ConfigError(f"width is {width} and depth {depth}; a metanetwork has at least one layer of one channel")


def require_channels(networks: Networks, expected: int) -> None:
    """Raise LayoutError for networks with another number of channels than a metanetwork reads."""
    found = networks.values.shape[2 if networks.regular else 1 :].numel()
    if found != expected:
        raise LayoutError(
            f"these networks have {found} channels per number, this metanetwork reads {expected}; "
            f"make it for them: InputSpec.of(layouts, channels={found})"
        )
