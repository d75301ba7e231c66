"""Proof of a layout by running its network: symmetries leave the function unchanged, and every parameter is read."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Atom, Layout
from neural_graphs.networks import Inputs, Networks, Program
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.testing.measure import relative_error, short


def assert_symmetric(
    module: nn.Module, layout: Layout, inputs: Inputs, tolerance: float, draws: int, generator: torch.Generator
) -> None:
    """The module's parameters, moved by random permutations of the layout, give the outputs of the module.

    Raises AssertionError saying which output changes by how much and which free atoms are to blame; and where the
    layout misses parameters, runs another function, or frees atoms without moving a number.
    """
    assert_covers(module, layout)
    networks = Networks.from_modules([module], layout)
    pick = layout.program.pick if layout.program else None
    expected = _run(Program(module, pick), networks, inputs)
    program = layout.program or Program(module)
    if error := _worst(_run(program, networks, inputs), expected, tolerance):
        raise AssertionError(f"the layout does not run the function of the module it is compared with: {error}")
    moved = not layout.free_atoms
    for _ in range(draws):
        symmetry = NeuronPermutation.sample(layout, generator, missing_ok=True)
        changed = _act(symmetry, networks)
        moved = moved or not torch.equal(changed.values, networks.values)
        if error := _worst(_run(program, changed, inputs), expected, tolerance):
            guilty = [
                atom
                for atom in layout.free_atoms
                if _worst(_run(program, _act(_alone(symmetry, atom), networks), inputs), expected, tolerance)
            ]
            name, blame = type(module).__name__, _blame(layout, guilty)
            raise AssertionError(f"a permutation of the neurons of {name} changes the function: {error}. {blame}")
    if not moved:
        raise AssertionError(
            f"{_few(atom.name for atom in layout.free_atoms)} are free, but permuting them moves no parameter: are all "
            "numbers alike, or all atoms of one place?"
        )


def assert_covers(module: nn.Module, layout: Layout) -> None:
    """Every tensor of the module is in the layout (which reads each number once), and every free atom moves some.

    Raises AssertionError naming the tensors or the atoms.
    """
    named = {name: p.shape for p in layout.parameters for name in (p.name, *p.also)}
    found = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if wrong := sorted({*named.items()} ^ {*found.items()}):
        raise AssertionError(f"the layout and the module do not have the same tensors; they differ in {_few(wrong)}")
    seen = {group for block in layout.blocks if block.parameter for group in (block.source, block.target)}
    seen |= {index for index, group in enumerate(layout.groups) if group.bias}
    moving = {atom for index in seen for atom in layout.groups[index].axis.atoms()}
    if idle := [atom.name for atom in layout.free_atoms if atom not in moving]:
        raise AssertionError(f"these atoms are free, but no tensor is read along them: {_few(idle)}")


def _act(symmetry: NeuronPermutation, networks: Networks) -> Networks:
    try:
        return symmetry.act(networks)
    except LayoutError as error:
        raise AssertionError(f"the free atoms contradict the blocks: {error}") from error


def _run(program: Program, networks: Networks, inputs: Inputs) -> list[Tensor]:
    state: Mapping[str, Tensor] = networks.state_dicts()[0]
    with torch.no_grad():
        return program.outputs(state, inputs)


def _worst(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> str:
    """The output that differs most, in words; nothing where all are within the tolerance."""
    shapes, wanted = [tuple(a.shape) for a in actual], [tuple(e.shape) for e in expected]
    if shapes != wanted or not wanted:
        return f"outputs {shapes}, expected {wanted or 'at least one tensor'}"
    errors = [relative_error(a.double(), e.double()) for a, e in zip(actual, expected, strict=True)]
    place = int(np.argmax(errors))
    if errors[place] <= tolerance:
        return ""
    return (
        f"output {place} of {len(errors)} {wanted[place]} is off by {errors[place]:.1e} of its largest value, expected "
        f"at most {tolerance:.0e}: {short(expected[place])} became {short(actual[place])}"
    )


def _alone(symmetry: NeuronPermutation, atom: Atom) -> NeuronPermutation:
    return NeuronPermutation(symmetry.layout, {atom.name: symmetry.orders[atom.name]})


def _blame(layout: Layout, guilty: list[Atom]) -> str:
    if not guilty:
        return "No free atom does so alone: some of them must move together"
    where = {atom: _few(group.name for group in layout.groups if atom in group.axis.atoms()) for atom in guilty}
    shown = _few((f"{atom.name} ({atom.size} places; {groups})" for atom, groups in where.items()))
    return f"On their own, these free atoms do: {shown}. They should be fixed, nested, or tied to others"


def _few(items: Iterable[object], most: int = 6) -> str:
    texts = [str(item) for item in items]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
