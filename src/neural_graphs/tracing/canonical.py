"""One dialect: a traced network that a builder could describe has the builder's layout, if running it proves so.

A candidate is put together from what tracing noted (activations with their scales, offsets, pools, strides); then it is
run by its operators, and the module by its code, on random weights and inputs. What differs stays as it was traced.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Activation, Block, Group, Layout, Linear, Skip
from neural_graphs.layout.axes import Atom, Axis
from neural_graphs.layout.kinds import ACTIVATIONS
from neural_graphs.layout.strides import Table
from neural_graphs.networks import Inputs, Networks, Program
from neural_graphs.networks.execution import run
from neural_graphs.tracing.builder import BlockBuilder
from neural_graphs.tracing.sources import GroupBuilder

PRECISE = 1e-9  # relative, in float64
SPREAD = 0.7  # of random weights and inputs


def as_built(layout: Layout, groups: Sequence[GroupBuilder], blocks: Sequence[BlockBuilder]) -> Layout | None:
    """The layout as a builder would write it; None where it has more than Linear layers, convolutions and skips."""
    parameters_plain = not any(p.buffer or p.dtype or p.also for p in layout.parameters)
    roles = [group.role for group in layout.groups]
    ends = roles[:1] == ["input"] and roles[-1:] == ["output"] and set(roles[1:-1]) <= {"hidden"}
    if not (ends and parameters_plain and len(roles) > 1 and all(map(_plain, layout.groups))):
        return None
    axes = _axes(layout)
    made = [
        Group(group.name, axis, group.role, group.bias, _activation(group, told), told.offset, told.pool)
        for group, axis, told in zip(layout.groups, axes, groups, strict=True)
    ]
    written = [_block(layout, *each) for each in zip(layout.blocks, blocks, strict=True)]
    found = [block for block in written if block is not None]
    return Layout(tuple(made), tuple(found), layout.parameters, layout.program) if len(found) == len(written) else None


def _activation(group: Group, told: GroupBuilder) -> Activation:
    kind = group.activation.kind
    return Activation(kind, told.scale if kind != "none" else 1.0)


def _plain(group: Group) -> bool:
    plain = group.kind in ("input", "linear", "conv") and group.window is None and not group.shared
    return plain and group.activation.kind in ACTIVATIONS


def _block(layout: Layout, block: Block, told: BlockBuilder) -> Block | None:
    """A block without what follows from its operator; None where it is another one."""
    table, target, source = layout.table(block), layout.groups[block.target], layout.groups[block.source]
    if block.window is not None or block.shared:
        return None
    if block.kind == "skip" and block.parameter is None:
        span = table.size
        tied = (table.first, table.short) == (0, Table.one_to_one(span).short)
        return Block(block.source, block.target, None, (1, 1), Skip(), span) if tied else None
    dense = (table.first, table.short) == (0, Table.dense(target.size, source.size).short)
    if not dense or block.parameter is None or block.kind not in ("linear", "conv"):
        return None
    operator = Linear() if block.kind == "linear" else told.operator
    kernel = block.kernel if block.kind == "linear" else layout.shapes[block.parameter][2:]  # 1 × 1 as well
    return None if operator is None else Block(block.source, block.target, block.parameter, kernel, operator)


def _axes(layout: Layout) -> list[Axis]:
    """Axes in which single hidden neurons are free too, each by itself, and kept together by skips."""
    lone = {index for index, group in enumerate(layout.groups) if group.size == 1}
    found: list[Axis] = [group.axis for group in layout.groups]
    for index in sorted(lone):
        group = layout.groups[index]
        tied = [b.source for b in layout.blocks if b.target == index and b.parameter is None and b.source in lone]
        found[index] = found[tied[0]] if tied else Atom(group.name, 1, group.role == "hidden")
    return found


def proven(layout: Layout, example_input: Inputs) -> bool:
    """Whether running a layout by its operators says what its module says, on random weights and inputs."""
    program: Program = layout.program
    generator = torch.Generator().manual_seed(0)
    x = _random(example_input, generator)
    if x is None:
        return False
    values = SPREAD * torch.randn(1, layout.size, generator=generator, dtype=torch.float64)
    network = Networks(values, layout)
    try:
        with torch.no_grad():
            answers = program.outputs(network.state_dicts()[0], _like(example_input, x))
            ours = run(Networks(values, Layout(layout.groups, layout.blocks, layout.parameters)), x)[0]
    except (LayoutError, RuntimeError, TypeError, IndexError):
        return False
    if len(answers) != 1 or answers[0].shape != ours.shape or answers[0].dtype != ours.dtype:
        return False
    return bool((ours - answers[0]).abs().max() <= PRECISE * answers[0].abs().max().clamp(min=1.0))


def _random(example_input: Inputs, generator: torch.Generator) -> Tensor | None:
    """Numbers in the place of the only input; None where there are several, or it holds whole numbers."""
    given = example_input if isinstance(example_input, Tensor) else None
    if given is None:
        several = list(example_input.values() if isinstance(example_input, Mapping) else example_input)
        given = several[0] if len(several) == 1 and isinstance(several[0], Tensor) else None
    if given is None or not given.is_floating_point():
        return None
    return SPREAD * torch.randn(given.shape, generator=generator, dtype=torch.float64)


def _like(example_input: Inputs, x: Tensor) -> Inputs:
    if isinstance(example_input, Mapping):
        return dict.fromkeys(example_input, x)
    return x if isinstance(example_input, Tensor) else (x,)
