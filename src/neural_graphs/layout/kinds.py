"""Activations by name and what they permit; and kinds of groups and blocks, of layouts that were built and traced.

One table for networks described by hand, read off a state dict or traced. A function is odd where f(−x) = −f(x), so
signs may be flipped, and homogeneous where f(s · x) = s · f(x) for every s > 0, so that scales may move.
"""

from dataclasses import dataclass

from neural_graphs.layout.layout import Layout
from neural_graphs.layout.parts import Block, Conv, Skip


@dataclass(frozen=True)
class Permits:
    """What an element-wise function lets through."""

    odd: bool = False
    homogeneous: bool = False


ACTIVATIONS: dict[str, Permits] = {
    "none": Permits(odd=True, homogeneous=True),
    "sine": Permits(odd=True),
    "relu": Permits(homogeneous=True),
    "gelu": Permits(),
    "silu": Permits(),
    "tanh": Permits(odd=True),
    "sigmoid": Permits(),
    "leaky_relu": Permits(homogeneous=True),
    "elu": Permits(),
    "selu": Permits(),
    "softplus": Permits(),
    "mish": Permits(),
    "hardswish": Permits(),
    "hardsigmoid": Permits(),
    "abs": Permits(homogeneous=True),
    "cos": Permits(),
    "exp": Permits(),
    "erf": Permits(odd=True),
    "atan": Permits(odd=True),
    "square": Permits(),
}  # those a layout runs by itself; traced layouts may name others, which permit nothing
FORMER = {"sin": "sine"}  # what tracing called it


def activation_name(kind: str) -> str:
    """The name of an activation now, of any name that was written."""
    return FORMER.get(kind, kind)


def permits(kind: str) -> Permits:
    """What an activation lets through; nothing where it is not in the table."""
    return ACTIVATIONS.get(activation_name(kind), Permits())


def block_kinds(layout: Layout) -> list[str]:
    """The kind of every block in the words of tracing, also where the layout was built and names none."""
    return [block.kind or _operator_kind(block) for block in layout.blocks]


def group_kinds(layout: Layout) -> list[str]:
    """The kind of every group in the words of tracing: what computes it."""
    entering = {block.target: _operator_kind(block) for block in reversed(layout.blocks)}
    return [group.kind or entering.get(index, "input") for index, group in enumerate(layout.groups)]


def _operator_kind(block: Block) -> str:
    return "skip" if isinstance(block.operator, Skip) else "conv" if isinstance(block.operator, Conv) else "linear"
