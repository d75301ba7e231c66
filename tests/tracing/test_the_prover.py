"""Test the tester: `assert_same_function` passes a true layout, fails on a broken one, and says what is wrong."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout, Parameter
from neural_graphs.testing import assert_same_function
from tests.tracing.broken import changed, freed
from tests.tracing.traced import Traced, traced


def prove(one: Traced, layout: Layout) -> None:
    assert_same_function(one.module, layout, one.inputs, draws=2)


def test_a_fixed_atom_set_free_is_named() -> None:
    """Outputs are not free to permute."""
    one = traced("MLP")
    (atom,) = one.layout.groups[-1].axis.atoms()
    assert not atom.free
    with pytest.raises(
        AssertionError, match=rf"output 0 of 1 \(4, 4\) is off by .*these free atoms do: {atom.name} \(4"
    ):
        prove(one, freed(one.layout, atom))


def test_a_fixed_atom_of_a_decoder_too() -> None:
    """Rotary positions fix the dimensions of queries: to permute them is another function."""
    one = traced("GPT")
    (queries,) = (group for group in one.layout.groups if group.name == "layers.0.q")
    (atom,) = (atom for atom in queries.axis.atoms() if not atom.free)
    with pytest.raises(AssertionError, match=f"is off by .*these free atoms do: {atom.name}"):
        prove(one, freed(one.layout, atom))


def test_groups_that_must_move_together_are_not_untied() -> None:
    """The two sides of a skip: the blocks that join them one to one contradict, or the function changes."""
    one = traced("ResNet-18")
    for group in one.layout.groups:
        (atom,) = group.axis.atoms()[:1]
        if atom.free and sum(atom in g.axis.atoms() for g in one.layout.groups) > 1:
            loose = replace(atom, name=f"{atom.name} of its own")
            with pytest.raises(AssertionError, match=r"contradict|changes the function"):
                prove(one, changed(one.layout, {atom: loose}, (group.name,)))


def test_dimensions_are_not_permuted_head_by_head_under_one_norm() -> None:
    """Queries of all heads go through one norm, which does not know of heads."""
    one = traced("ViT with normed queries")
    (shared,) = (a for a in one.layout.free_atoms if a.size == 4 and not a.within)
    (heads,) = (a for a in one.layout.free_atoms if a.size == 3)
    with pytest.raises((AssertionError, LayoutError), match=r"contradict|must surround"):
        prove(one, changed(one.layout, {shared: replace(shared, within=(heads.name,))}))


def test_another_network_is_noticed() -> None:
    """The layout of a sine network is not that of a network of the same tensors with another function."""
    module = nn.Sequential(nn.Linear(3, 7), nn.GELU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    one = traced("MLP")
    with pytest.raises(AssertionError, match="does not run the function of the module"):
        assert_same_function(module, one.layout, one.inputs)


def test_a_tensor_that_is_not_in_the_layout_is_missed() -> None:
    one = traced("MLP")
    module = nn.Sequential(*one.module, nn.Linear(4, 2, dtype=torch.float64))
    with pytest.raises(AssertionError, match=r"not have the same tensors.*5.bias"):
        assert_same_function(module, one.layout, one.inputs)


def test_a_symmetry_must_move_something() -> None:
    one = traced("MLP")
    alike = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    for parameter in alike.parameters():
        nn.init.ones_(parameter)
    with pytest.raises(AssertionError, match="moves no parameter"):
        assert_same_function(alike, one.layout, one.inputs)
    with torch.no_grad():
        alike[0].weight[0] += 1
    assert_same_function(alike, one.layout, one.inputs)


def test_nan_is_an_error() -> None:
    one = traced("MLP")
    inputs = torch.full((4, 3), torch.nan, dtype=torch.float64)
    with pytest.raises(AssertionError, match="off by inf"):
        assert_same_function(one.module, one.layout, inputs)


def test_a_layout_is_of_a_module() -> None:
    one = traced("MLP")
    with pytest.raises(TypeError, match="a layout is compared with the module"):
        assert_same_function(one.networks, one.layout, one.inputs)
    with pytest.raises(TypeError, match="run on a tensor"):
        assert_same_function(one.networks, one.networks, (one.inputs,))


def test_hand_made_layouts_are_proven_as_well() -> None:
    """A layout that was not traced is run by the module itself."""
    one = traced("MLP")
    parameters = [Parameter(f"{2 * i}.{n}", s) for i, a, b in ((0, 3, 7), (1, 7, 5), (2, 5, 4))
                  for n, s in (("weight", (b, a)), ("bias", (b,)))]  # fmt: skip
    layout = Layout.mlp((3, 7, 5, 4))
    names = dict(zip([p.name for p in layout.parameters], [p.name for p in parameters], strict=True))
    groups = tuple(replace(g, bias=names.get(g.bias or "")) for g in layout.groups)
    blocks = tuple(replace(b, parameter=names.get(b.parameter or "")) for b in layout.blocks)
    assert_same_function(one.module, Layout(groups, blocks, tuple(parameters)), one.inputs)
