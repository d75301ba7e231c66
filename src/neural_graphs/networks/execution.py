"""Running a batch of networks at once: every network on its own tensors, by the operators of its layout."""

import warnings
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import _pytree as pytree

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Block, Conv, GlobalMean, Group, Layout, Linear, MaxPool, Skip
from neural_graphs.networks.networks import Networks, named_tensors
from neural_graphs.networks.program import Inputs, Program

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "sine": torch.sin,
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "abs": torch.abs,
    "cos": torch.cos,
    "exp": torch.exp,
    "erf": torch.erf,
    "atan": torch.atan,
    "square": torch.square,
}  # the kinds of activation a layout may name, see layout.kinds


def run(networks: Networks, x: Inputs) -> Tensor:
    """Outputs of every network, `(networks, *points, outputs)`, differentiable in the parameters and in `x`.

    `x` is shared by all networks, `(*points, inputs)` for MLPs and INRs or `(images, channels, height, width)` for
    CNNs; `run_each` gives every network its own. Networks of traced layouts take what their module takes, a tuple or
    a mapping of arguments too, and answer with the first tensor of their answer. Mixed batches work where outputs
    agree in shape.
    """
    if isinstance(x, Tensor) and all(map(runs_itself, set(networks.layouts))):
        return run_each(networks, x.expand(len(networks), *x.shape))
    return _merged(networks, lambda part, _: run_module(part, x, shared=True))


def runs_itself(layout: Layout) -> bool:
    """Whether a layout tells all that is needed to run its networks: those that had to be traced do not."""
    return not any(block.kind for block in layout.blocks)


def run_each(networks: Networks, x: Tensor) -> Tensor:
    """As `run`, every network on inputs of its own: `x` has a leading `networks` axis."""
    if x.shape[0] != len(networks):
        raise LayoutError(f"inputs of their own for {len(networks)} networks were expected, got {tuple(x.shape)}")

    def one(part: Networks, places: list[int]) -> Tensor:
        own = x if len(part) == len(networks) else x[places]
        return run_groups(part, own)[-1] if runs_itself(part.layout) else run_module(part, own, shared=False)

    return _merged(networks, one)


def _merged(networks: Networks, one: Callable[[Networks, list[int]], Tensor]) -> Tensor:
    """The answers of a batch, layout by layout."""
    if networks.regular:
        return one(networks, list(range(len(networks))))
    return torch.stack(networks.map_by_layout(one))


def run_module(networks: Networks, x: Inputs, *, shared: bool) -> Tensor:
    """Answers of networks of one traced layout by its module, all at once where `torch.vmap` can; else one by one.

    Inputs are `shared` by all networks, or a tensor with a leading `networks` axis. Raises LayoutError for a layout
    that comes from a file, saying what to pass.
    """
    layout, program = networks.layout, networks.layout.program
    if program is None:
        raise LayoutError(
            f"{layout} comes from a file and has lost the module that runs it; give it back: "
            "networks.with_module(module), with a module built as the one that was traced"
        )
    found: Tensor = _for_each(program, program, networks, x, shared)
    return found


def _for_each(program: Program, function: Callable[..., Any], networks: Networks, x: Inputs, shared: bool) -> Any:
    """What a function of the tensors and inputs of one network of a program answers for all of them."""
    states, batches = _states(networks), program.batches
    if batches:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of operators that vmap runs one by one
                return torch.vmap(function, (0, None if shared else 0))(states, x)
        except RuntimeError as error:  # an operator that vmap has no rule for, or that looks at values
            batches = isinstance(error, torch.OutOfMemoryError)  # fewer networks may fit
    inputs = [x] * len(networks) if shared else list(x)
    each = [function({name: t[i] for name, t in states.items()}, own) for i, own in enumerate(inputs)]
    program.batches = batches  # kept only now: inputs that do not fit have failed one by one as well
    return pytree.tree_map(lambda *answers: torch.stack(answers), *each)


def _states(networks: Networks) -> dict[str, Tensor]:
    """All tensors by name, networks in front; no gradient flows into buffers."""
    buffers = {name for p in networks.layout.parameters if p.buffer for name in (p.name, *p.also)}
    found = named_tensors(networks.values, networks.layout, 1)
    return {name: tensor.detach() if name in buffers else tensor for name, tensor in found.items()}


def run_groups(networks: Networks, x: Tensor) -> list[Tensor]:
    """The values of every group of neurons of a regular batch, in group order, after activation and offset.

    `x` is `(networks, *points, inputs)` or `(networks, images, channels, height, width)`.
    """
    layout = networks.layout
    if not runs_itself(layout):
        return _traced_groups(networks, x)
    check_activations(layout)
    spatial = any(isinstance(block.operator, Conv) for block in layout.blocks)
    fits = x.ndim == 5 if spatial else x.ndim > 1
    if not fits or x.shape[2 if spatial else -1] != layout.groups[0].size:
        raise LayoutError(f"{layout} reads {layout.groups[0].size} inputs, got a tensor {tuple(x.shape[1:])}")
    points = x.shape[1:-1]
    values = [x if spatial else x.reshape(len(networks), points.numel(), x.shape[-1])]
    for index, group in enumerate(layout.groups[1:], start=1):
        blocks = [block for block in layout.blocks if block.target == index]
        total = _sum_blocks(networks, blocks, values, group)
        kind = group.activation
        values.append(ACTIVATIONS[kind.kind](kind.scale * total if kind.scale != 1 else total) + group.offset)
    return values if spatial else [value.reshape(len(networks), *points, value.shape[-1]) for value in values]


def _traced_groups(networks: Networks, x: Tensor) -> list[Tensor]:
    """The same by the graph that tracing left: `(networks, points, neurons)` each, means over places and tokens."""
    layout, program = networks.layout, networks.layout.program
    if program is None or program.groups is None:
        raise LayoutError(
            f"{layout} was traced and has more than Linear layers, convolutions and skips: single groups have values "
            "where it was traced in this process, with one tensor as its example input"
        )
    found: list[Tensor] = _for_each(program, program.groups, networks, x, shared=False)
    return found


def _sum_blocks(networks: Networks, blocks: list[Block], values: list[Tensor], group: Group) -> Tensor:
    total = None
    for block in blocks:
        read = _pool(networks.layout.groups[block.source].pool, values[block.source])
        total = apply(block.operator, block, networks, read, total)
    if total is None:
        raise LayoutError(f"no block feeds group {group.name!r}")
    if group.bias is None:
        return total
    bias = networks.tensor(group.bias)
    if total.ndim == 5:
        return total + bias[:, None, :, None, None]
    return total + bias.reshape(len(networks), *(1,) * (total.ndim - 2), -1)


def _pool(pool: GlobalMean | MaxPool | None, x: Tensor) -> Tensor:
    if isinstance(pool, GlobalMean):
        return x.mean((-2, -1))
    if isinstance(pool, MaxPool):
        return F.max_pool2d(x.flatten(0, 1), pool.window).unflatten(0, x.shape[:2])
    return x


@singledispatch
def apply(operator: object, block: Block, networks: Networks, x: Tensor, total: Tensor | None) -> Tensor:
    """Add what `block` contributes to its target group's pre-activation; one registered function per operator."""
    raise LayoutError(f"no rule to run the operator {type(operator).__name__}; register one on `execution.apply`")


@apply.register
def _(operator: Linear, block: Block, networks: Networks, x: Tensor, total: Tensor | None) -> Tensor:
    weight = networks.tensor(str(block.parameter))  # (networks, targets, sources · kernel)
    if x.ndim == 5:
        x = x.flatten(2)  # (networks, images, channels · places)
    product = (x.flatten(1, -2) @ weight.mT).unflatten(1, x.shape[1:-1])
    return product if total is None else total + product


@apply.register
def _(operator: Conv, block: Block, networks: Networks, x: Tensor, total: Tensor | None) -> Tensor:
    weight, count = networks.tensor(str(block.parameter)), len(networks)
    product = F.conv2d(
        x.transpose(0, 1).flatten(1, 2), weight.flatten(0, 1), None, operator.stride, operator.padding, groups=count
    ).unflatten(1, (count, -1))  # networks are the groups of one convolution
    product = product.transpose(0, 1)
    return product if total is None else total + product


@apply.register
def _(operator: Skip, block: Block, networks: Networks, x: Tensor, total: Tensor | None) -> Tensor:
    if total is None:
        raise LayoutError("a skip is added to what other blocks feed its target; list it after them")
    axis = 2 if x.ndim == 5 else x.ndim - 1
    rest = total.shape[axis] - (block.span or 0)
    padding = (0,) * (2 * (x.ndim - 1 - axis)) + (0, rest)
    return total + F.pad(x.narrow(axis, 0, block.span or 0), padding)


def check_activations(layout: Layout) -> None:
    """Raise LayoutError where a group names an activation kind nobody can run."""
    for group in layout.groups:
        if group.activation.kind not in ACTIVATIONS:
            raise LayoutError(
                f"{group.name}: unknown activation {group.activation.kind!r}; known: {sorted(ACTIVATIONS)}"
            )
