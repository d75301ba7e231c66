"""One dialect: a traced network that a builder could describe has the builder's layout, if running it proves so.

A candidate is put together from what tracing noted (activations with their scales, offsets, pools, strides); then it is
run by its operators, and the module by its code, on random weights and inputs. What differs stays as it was traced.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Activation, Block, Group, Layout, Linear, Skip
from neural_graphs.layout.axes import Atom, Axis, Concat
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
    roles = [group.role for group in layout.groups]
    ends = roles[:1] == ["input"] and roles[-1:] == ["output"] and set(roles[1:-1]) <= {"hidden"}
    carried = any(p.buffer or p.dtype or p.also for p in layout.parameters)
    if carried or not ends or len(roles) < 2 or not all(map(_plain, layout.groups)):
        return None
    pieces = _pieces(layout)
    axes = _axes(layout)
    made = [_joined(layout, parts, axes, groups) for parts in pieces]
    written = _blocks(layout, pieces, blocks)
    if written is None or None in made:
        return None
    try:
        return Layout(tuple(group for group in made if group), tuple(written), layout.parameters, layout.program)
    except LayoutError:  # parts that do not make a whole
        return None


def _plain(group: Group) -> bool:
    window = group.window is None or (len(group.window.sizes) == 1 and group.window.strides in ((1,), (0,)))
    plain = group.kind in ("input", "linear", "conv") and window and not group.shared
    return plain and group.activation.kind in ACTIVATIONS


def _pieces(layout: Layout) -> list[list[int]]:
    """Groups that are parts of one layer, because skips end within it: those that share a bias, in its order."""
    found: dict[str, list[int]] = {}
    for index, group in enumerate(layout.groups):
        found.setdefault(group.bias if group.window and group.bias else f"#{index}", []).append(index)
    return [sorted(parts, key=lambda index: _start(layout.groups[index])) for parts in found.values()]


def _start(group: Group) -> int:
    return group.window.offset if group.window else 0


def _joined(
    layout: Layout, parts: Sequence[int], axes: Sequence[Axis], groups: Sequence[GroupBuilder]
) -> Group | None:  # fmt: skip
    """One group of the parts of a layer; None where they differ in more than their places."""
    group, told = layout.groups[parts[0]], [groups[index] for index in parts]
    kind = group.activation.kind
    same = {(each.activation, each.scale, each.offset, each.pool, each.kind, each.role) for each in told}
    ends = accumulate(layout.groups[index].size for index in parts)
    if len(same) > 1 or [_start(layout.groups[index]) for index in parts[1:]] != list(ends)[:-1]:
        return None
    axis = axes[parts[0]] if len(parts) == 1 else Concat(tuple(axes[index] for index in parts))
    scale = told[0].scale if kind != "none" else 1.0
    return Group(group.name, axis, group.role, group.bias, Activation(kind, scale), told[0].offset, told[0].pool)


def _blocks(
    layout: Layout, pieces: Sequence[Sequence[int]], told: Sequence[BlockBuilder]
) -> list[Block] | None:  # fmt: skip
    """Blocks between whole layers, in the order of their targets; None where one is no layer and no skip."""
    layer = {index: place for place, parts in enumerate(pieces) for index in parts}
    starts = {index: _start(layout.groups[index]) for index in layer}
    found: dict[tuple[int, int, str | None], Block] = {}
    for block, builder in zip(layout.blocks, told, strict=True):
        table = layout.table(block)
        source, target = layout.groups[block.source], layout.groups[block.target]
        key = layer[block.source], layer[block.target], block.parameter
        if block.shared:
            return None
        if block.kind == "skip" and block.parameter is None:
            one = table.first == 0 and table.short == Table.one_to_one(table.size).short
            if not one or starts[block.source] != starts[block.target]:
                return None
            span = starts[block.target] + table.size
            found[key] = Block(*key, (1, 1), Skip(), max(span, getattr(found.get(key), "span", 0)))
            continue
        dense = table.first == 0 and table.short == Table.dense(target.size, source.size).short
        operator = Linear() if block.kind == "linear" else builder.operator
        if not dense or block.parameter is None or block.kind not in ("linear", "conv") or operator is None:
            return None
        kernel = block.kernel if block.kind == "linear" else layout.shapes[block.parameter][2:]  # 1 × 1 as well
        found[key] = Block(*key, kernel, operator)
    return sorted(found.values(), key=lambda block: (block.target, block.parameter is None))


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
