"""Networks written to ONNX files by torch, and a comparison of graphs that ignores what things are called."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neural_graphs.layout import Block, Group, Layout
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.strides import Table

PLAIN = {
    "dynamo": True,
    "optimize": False,
    "opset_version": 23,
}  # as the module has it: nothing folded, attention as one operator
OLDER = {"dynamo": False, "do_constant_folding": False, "opset_version": 17}  # most files there are


def export(module: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> Path:
    """The file of a module, which torch writes without folding norms into convolutions, or as options say."""
    with warnings.catch_warnings():  # of the exporter's own dependencies
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), inputs, str(path), verbose=False, **(options or PLAIN))
    return path


def same_graph(one: Layout, other: Layout, rename: Callable[[str], str] = str) -> bool:
    """Whether two layouts have the same groups, axes, blocks and tensors, in whatever order, whatever groups and atoms
    are called; `rename` gives the tensors of the other the names of the first.

    Colours are refined by what is joined to what until they stay as many as they are, and then compared.
    """
    return colours(one, str) == colours(other, rename)


def colours(layout: Layout, rename: Callable[[str], str]) -> list[int]:
    """A number for every group that only says what it is and what is around it, sorted."""
    atoms = {atom.name: atom for group in layout.groups for atom in group.axis.atoms()}
    names = {name: hash((atom.size, atom.free)) for name, atom in atoms.items()}
    facts = [hash(block_facts(b, table, rename)) for b, table in zip(layout.blocks, layout.tables, strict=True)]
    found = [0 for _ in layout.groups]
    for _ in layout.groups:
        found = [hash((colour, group_facts(g, names, rename))) for colour, g in zip(found, layout.groups, strict=True)]
        around: list[list[int]] = [[] for _ in layout.groups]
        for block, fact in zip(layout.blocks, facts, strict=True):
            around[block.target].append(hash(("from", found[block.source], fact)))
            around[block.source].append(hash(("to", found[block.target], fact)))
        found = [hash((mine, *sorted(joined))) for mine, joined in zip(found, around, strict=True)]
        names = {name: atom_colour(atom, layout, found) for name, atom in atoms.items()}
        if len(set(found)) == len(found):
            break
    return sorted(found)


def atom_colour(atom: Atom, layout: Layout, groups: list[int]) -> int:
    """A fixed atom is known by its size, a free one by the groups that it moves."""
    moved = sorted(groups[i] for i, group in enumerate(layout.groups) if atom in group.axis.atoms())
    return hash((atom.size, *moved)) if atom.free else hash(atom.size)


def axis_facts(axis: Axis, names: dict[str, int]) -> str:
    if isinstance(axis, Atom):
        return f"{names[axis.name]} within {sorted(names[outer] for outer in axis.within)}"
    assert isinstance(axis, Product | Concat)
    return f"{type(axis).__name__} {[axis_facts(part, names) for part in axis.parts]}"


def group_facts(group: Group, names: dict[str, int], rename: Callable[[str], str]) -> str:
    facts = (group.role, group.bias and rename(group.bias), group.activation, group.window, group.kind, group.shared)
    return f"{axis_facts(group.axis, names)} {facts}"


def block_facts(block: Block, table: Table, rename: Callable[[str], str]) -> str:
    parameter = block.parameter and rename(block.parameter)
    return f"{(parameter, block.kernel, table, block.window, block.kind, block.shared)}"
