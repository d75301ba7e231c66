"""Layouts: counts, index structure, round trips, and the errors for structures that do not fit."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Atom, Block, Concat, Conv, GlobalMean, Group, Layout, MaxPool, Parameter, Product
from neural_graphs.layout.builders import from_shapes, rename

SMALL = Layout.mlp((2, 3, 1))
PARK = Layout.cnn(
    (3, 8, 12, 10, 12), kernels=(5, 3, 7, 3), classes=4, residual=(-1, -1, 0, 1),
    activations=("relu", "tanh", "gelu", "silu"),
)  # fmt: skip
LAYOUTS = [
    SMALL,
    Layout.mlp((2, 32, 32, 1), activation="sine", offset=0.5),
    Layout.cnn((1, 16, 16, 16), kernels=(3, 3, 3), classes=10, stride=2, padding=0),
    Layout.cnn((1, 6, 4), kernels=(3, 3), classes=5, places=(2, 2), pool=MaxPool(4)),
    PARK,
]


def test_the_worked_example_of_the_docstring() -> None:
    sources, targets = SMALL.ends
    assert sources.tolist() == [0, 1, 0, 1, 0, 1, 2, 3, 4]
    assert targets.tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 5]
    assert (SMALL.neurons, SMALL.weights, SMALL.size) == (6, 9, 13)
    assert SMALL.neuron_group.tolist() == [0, 0, 1, 1, 1, 2]
    assert SMALL.weight_block.tolist() == [0] * 6 + [1] * 3
    assert SMALL.in_degree.tolist() == [0, 0, 2, 2, 2, 3]
    assert SMALL.role_count("hidden") == 3


def test_an_inr_is_one_vector_in_state_dict_order() -> None:
    layout = LAYOUTS[1]
    assert str(layout) == "2 → 32 → 32 → 1 · sine"
    assert layout.size == 1185
    assert [(p.name, p.shape) for p in layout.parameters] == [
        ("layers.0.weight", (32, 2)), ("layers.0.bias", (32,)), ("layers.1.weight", (32, 32)),
        ("layers.1.bias", (32,)), ("layers.2.weight", (1, 32)), ("layers.2.bias", (1,)),
    ]  # fmt: skip
    assert layout.slices["layers.1.weight"] == slice(96, 1120)
    assert [group.activation.scale for group in layout.groups] == [1.0, 30.0, 30.0, 1.0]
    assert [group.offset for group in layout.groups] == [0.0, 0.0, 0.0, 0.5]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_counts_agree_with_each_other(layout: Layout) -> None:
    sources, targets = layout.ends
    assert len(sources) == len(targets) == len(layout.weight_block) == layout.weights
    assert len(layout.neuron_group) == layout.neurons == layout.in_degree.shape[0]
    assert layout.in_degree.sum() == layout.weights
    assert layout.neuron_slices[-1].stop == layout.neurons
    assert layout.weight_slices[-1].stop == layout.weights
    assert sum(s.stop - s.start for s in layout.slices.values()) == layout.size
    assert bool((layout.neuron_group[sources] < layout.neuron_group[targets]).all())


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_layout_survives_json_and_is_a_value(layout: Layout) -> None:
    again = Layout.from_json(json.loads(json.dumps(layout.to_json())))
    assert again == layout
    assert hash(again) == hash(layout)
    assert {layout: 1}[again] == 1
    assert again != replace(layout, groups=(replace(layout.groups[0], offset=1.0), *layout.groups[1:]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind_of": "Atom", "name": "a", "size": 2, "free": False}, "expected the description of a Layout"),
        ({"kind_of": "Module"}, "unknown kind 'Module'"),
        ({"kind_of": "Layout", "groups": []}, "Layout lacks 'blocks', it has groups, blocks, parameters"),
    ],
)
def test_json_of_something_else_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        Layout.from_json(value)


def test_skips_tie_the_channels_both_groups_have() -> None:
    axes = [group.axis for group in PARK.groups]
    first, second = axes[1], axes[2]
    assert isinstance(first, Atom) and isinstance(second, Atom) and isinstance(axes[3], Concat)
    assert axes[3].parts[0] == first  # layer 2 adds layer 0: 8 of its 10 channels move with those
    assert axes[4] == second  # layer 3 adds layer 1: all 12
    assert {atom.name: atom.size for atom in PARK.free_atoms} == {"conv0[0:8]": 8, "conv1[0:12]": 12, "conv2[8:10]": 2}
    assert [block.span for block in PARK.blocks] == [None, None, None, 8, None, 12, None]


def test_skips_of_skips_share_what_all_of_them_have() -> None:
    layout = Layout.cnn((3, 4, 6, 8, 5), kernels=(3,) * 4, classes=2, residual=(-1, 0, 1, 2))
    starts = [atom.size for atom in layout.groups[3].axis.atoms()]
    assert starts == [4, 1, 1, 2]  # cut at 4 (layer 0), at 5 (layer 3) and at 6 (layer 1)
    for block in layout.blocks:
        if block.span:
            source, target = layout.groups[block.source].axis, layout.groups[block.target].axis
            places = [
                np.repeat([a.name for a in axis.atoms()], [a.size for a in axis.atoms()]) for axis in (source, target)
            ]
            assert places[0][: block.span].tolist() == places[1][: block.span].tolist()


def test_one_to_one_blocks_have_one_weight_per_neuron() -> None:
    skip = next(i for i, block in enumerate(PARK.blocks) if block.span == 8)
    place = PARK.weight_slices[skip]
    sources, targets = PARK.ends
    assert np.array_equal(sources[place], PARK.neuron_slices[1].start + np.arange(8))
    assert np.array_equal(targets[place], PARK.neuron_slices[3].start + np.arange(8))


def test_shapes_of_a_state_dict_are_enough() -> None:
    mlp = Layout.mlp((2, 32, 32, 1), activation="sine", offset=0.5, names="net.{}")
    assert from_shapes(mlp.shapes, "sine", offset=0.5).shapes == mlp.shapes
    assert from_shapes(mlp.shapes, "sine", offset=0.5).groups[-1].offset == 0.5
    cnn = LAYOUTS[2]
    assert from_shapes(cnn.shapes, stride=2, padding=0) == cnn
    flat = Layout.cnn((1, 6, 4), kernels=(3, 3), classes=5, places=(2, 2))
    assert from_shapes(flat.shapes) == flat


def test_renaming_reads_other_tensors() -> None:
    names = {p.name: f"module.{p.name}" for p in PARK.parameters}
    assert [p.name for p in rename(PARK, names).parameters] == list(names.values())
    assert rename(rename(PARK, names), {new: old for old, new in names.items()}) == PARK


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a.weight": (3, 2), "a.bias": (3,), "c.weight": (1, 4), "c.bias": (1,)},
         r"a\.weight feeds 3 channels but c\.weight expects 4; is a layer missing.* Known layers: a, c"),
        ({"a.weight": (3, 2), "b.bias": (3,)}, r"\['b\.bias'\] are not weights followed by their biases"),
        ({"a.weight": (3, 2, 3, 3), "a.bias": (3,)}, "convolutions and one Linear head"),
        ({"a.weight": (4, 2), "a.bias": (4,), "c.weight": (5, 4, 3, 3), "c.bias": (5,)}, "convolutions and one Linear"),
        ({"a.weight": (3, 2, 3, 3), "a.bias": (3,), "c.weight": (5, 18), "c.bias": (5,)}, "c.weight reads 18 inputs"),
        ({}, "there are no tensors to read a layout off"),
        ({"a.weight": (4, 1, 3, 5), "a.bias": (4,), "c.weight": (2, 4), "c.bias": (2,)},
         r"a\.weight has shape \(4, 1, 3, 5\), but \(4, 1, 3, 3\) in"),
        ({"a.weight": (8, 2, 3), "a.bias": (8,), "c.weight": (3, 8), "c.bias": (3,)}, r"a\.weight .* \(8, 2, 3\)"),
        ({"a.weight": (8, 2), "a.bias": (8,), "c.weight": (3, 16), "c.bias": (3,)}, r"c\.weight .* \(3, 8\)"),
        ({"a.weight": (3, 2), "a.bias": (1,)}, r"a\.bias has shape \(1,\), but \(3,\)"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_named(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        from_shapes(shapes)


def _groups() -> tuple[Group, Group]:
    return Group("in", Atom("in", 2), "input"), Group("out", Atom("out", 3), "output", "b")


W, BIAS = Parameter("w", (3, 2)), Parameter("b", (3,))


@pytest.mark.parametrize(
    ("blocks", "parameters", "message"),
    [
        ((Block(0, 1, "w"),), (Parameter("w", (2, 3)), BIAS), r"w: expected \(3, 2\).*got \(2, 3\)"),
        ((Block(0, 1, "w"),), (W, Parameter("b", (2,))), r"b: 3 neurons of out need shape \(3,\), got \(2,\)"),
        ((Block(0, 1, "w"),), (W,), "b: 3 neurons of out need shape .* got no such tensor"),
        (
            (Block(0, 1, "w"),),
            (W, BIAS, Parameter("c", (1,))),
            r"every tensor must be read exactly once; check \['c'\]",
        ),
        ((Block(0, 1, "w"), Block(0, 1, "w")), (W, BIAS), r"read exactly once; check \['w'\]"),
        ((Block(0, 1, "w"),), (W, W, BIAS), "distinct names"),
        ((Block(1, 0, "w"),), (W, BIAS), "must go forward among 2 groups"),
        ((Block(0, 2, "w"),), (W, BIAS), "must go forward among 2 groups"),
        ((Block(0, 1, "w"), Block(0, 1, None, span=3)), (W, BIAS), "cannot span 3 neurons"),
    ],
)
def test_structures_that_contradict_themselves_are_refused(
    blocks: tuple[Block, ...], parameters: tuple[Parameter, ...], message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        Layout(_groups(), blocks, parameters)


def test_a_layout_without_groups_is_refused() -> None:
    with pytest.raises(LayoutError, match="at least one group of neurons, got none"):
        Layout((), (), ())


def test_builders_say_what_does_not_fit() -> None:
    with pytest.raises(LayoutError, match="at least an input and an output size"):
        Layout.mlp((3,))
    with pytest.raises(LayoutError, match="2 kernels need 3 channel counts"):
        Layout.cnn((1, 2), kernels=(3, 3), classes=2)
    with pytest.raises(LayoutError, match="as many activations, skips"):
        Layout.cnn((1, 2, 3), kernels=(3, 3), classes=2, residual=(-1,))


def test_kernels_and_pools_are_part_of_the_value() -> None:
    cnn = LAYOUTS[2]
    assert [block.kernel_size for block in cnn.blocks] == [9, 9, 9, 1]
    assert cnn.blocks[0].operator == Conv(2, 0)
    assert [group.pool for group in cnn.groups] == [None, None, None, GlobalMean(), None]
    flat = LAYOUTS[3]
    assert flat.blocks[-1].kernel == (2, 2) and flat.shapes["fc.weight"] == (5, 16)
    assert Product((Atom("c", 4, free=True), Atom("p", 4))).size == 16
