"""Metanetworks on what only traced layouts have: kernels of any rank, kinds, fixed places, many outputs."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from neural_graphs.errors import LayoutError
from neural_graphs.graph import Forward, Topology
from neural_graphs.layout import Atom, Block, Concat, Group, Layout, Parameter, Product
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNN, NGT, MeanOutputs, Metanetwork, NGGNNEditor, Pool, PositionEmbedding
from neural_graphs.nn.fourier import frame_columns
from neural_graphs.nn.spec import InputSpec, plane
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.testing import assert_equivariant, assert_invariant, symmetry_error

RANKS = [(), (4,), (3, 3), (2, 3, 3), (2, 2, 1, 3), (1,), (5, 1)]


def chain(*kernels: tuple[int, ...], kinds: tuple[str, ...] = (), hidden: int = 3) -> Layout:
    """2 → 3 → … → 2 with one block per kernel, no biases."""
    sizes = [2, *[hidden] * (len(kernels) - 1), 2]
    roles = ["input", *["hidden"] * (len(kernels) - 1), "output"]
    groups = tuple(
        Group(f"g{i}", Atom(f"g{i}", size, free=role == "hidden"), role)
        for i, (size, role) in enumerate(zip(sizes, roles, strict=True))
    )
    blocks = tuple(Block(i, i + 1, f"w{i}", kernel, kind=kinds[i] if kinds else "") for i, kernel in enumerate(kernels))
    shapes = [(sizes[i + 1], sizes[i], *kernel) for i, kernel in enumerate(kernels)]
    return Layout(groups, blocks, tuple(Parameter(f"w{i}", shape) for i, shape in enumerate(shapes)))


def some(layout: Layout, count: int = 2, seed: int = 0) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    return Networks(0.3 * torch.randn(count, layout.size, generator=generator, dtype=torch.float64), layout)


def build(make: Callable[[], Metanetwork]) -> Metanetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double()


def mean() -> Pool:
    return MeanOutputs()


# -- kernels of any rank -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", RANKS, ids=str)
def test_every_number_of_a_kernel_has_a_place_of_its_own_in_the_frame(shape: tuple[int, ...]) -> None:
    largest = plane(shape)
    for frame in product(range(largest[0], largest[0] + 3), range(largest[1], largest[1] + 3)):
        columns = frame_columns(shape, frame, 2)
        if frame == largest:
            assert columns is None
            continue
        assert columns is not None and len(set(columns.tolist())) == 2 * int(np.prod(shape))
        assert columns.min() >= 0 and columns.max() < 2 * frame[0] * frame[1]


def test_kernels_of_one_dimension_lie_in_the_middle_row() -> None:
    assert frame_columns((3,), (3, 5), 1).tolist() == [6, 7, 8]
    assert frame_columns((), (3, 5), 1).tolist() == [7]
    assert frame_columns((1, 1, 1), (9, 3), 1).tolist() == [13]
    with pytest.raises(LayoutError, match="18×3 kernel does not fit into the 3×5 frame"):
        frame_columns((6, 3, 3), (3, 5), 1)


@pytest.mark.parametrize("make", [NGGNNEditor, lambda family: NGGNN(family, 3)], ids=["editor", "reader"])
def test_networks_with_kernels_of_every_rank_are_read(make: Callable[[InputSpec], Metanetwork]) -> None:
    layout = chain(*RANKS)
    family = InputSpec.of([layout])
    assert family.frame == (6, 4)  # (2, 3, 3) lies flat as 6 × 3, (4,) as 1 × 4
    module, networks = build(lambda: make(family)), some(layout)
    (assert_equivariant if isinstance(module, NGGNNEditor) else assert_invariant)(module, networks)
    gradient = sensitivity(module, networks)
    assert (gradient != 0).all()


def sensitivity(module: Metanetwork, networks: Networks) -> Tensor:
    """How the answer depends on each number read."""
    values = networks.values.clone().requires_grad_()
    found = module(networks.with_values(values))
    answer = found.values if isinstance(found, Networks) else found
    return torch.autograd.grad((answer * torch.linspace(1, 2, answer.numel()).view_as(answer)).sum(), values)[0]


# -- kinds -------------------------------------------------------------------------------------------------------------


def test_kinds_are_kept_where_there_are_several() -> None:
    plain, kinds = chain((), ()), chain((), (), kinds=("linear", "norm"))
    assert InputSpec.of([plain]).weight_kinds == () and InputSpec.of([plain]).neuron_kinds == ()
    assert InputSpec.of([kinds]).weight_kinds == ("linear", "norm")
    assert InputSpec.of([plain, kinds]).weight_kinds == ("linear", "norm")  # a plain block is linear
    assert InputSpec.from_json(InputSpec.of([kinds]).to_json()) == InputSpec.of([kinds])


def test_families_written_before_there_were_kinds_still_load() -> None:
    old = InputSpec.of([chain((), ())]).to_json()
    for name in ("weight_kinds", "neuron_kinds", "ordered"):
        del old[name]
    assert InputSpec.from_json(old) == InputSpec.of([chain((), ())])


@pytest.mark.parametrize("make", [lambda f: NGGNN(f, 3), lambda f: NGT(f, 3)], ids=["NG-GNN", "NG-T"])
def test_the_kind_of_weights_and_neurons_matters(make: Callable[[InputSpec], Metanetwork]) -> None:
    one, other = chain((), (2, 2), (), kinds=("a", "a", "b")), chain((), (2, 2), (), kinds=("a", "b", "b"))
    named = replace(one, groups=tuple(replace(g, kind="sum" if i == 1 else "") for i, g in enumerate(one.groups)))
    module = build(lambda: make(InputSpec.of([one, other, named])))
    numbers = some(one).values
    answers = [module(Networks(numbers, layout)) for layout in (one, other, named)]
    assert not any(torch.allclose(a, b, rtol=1e-3) for a, b in [answers[:2], answers[1:], answers[::2]])
    mixed = module(Networks(numbers.flatten(), [one, other]))  # two roads
    torch.testing.assert_close(mixed, torch.stack([answers[0][0], answers[1][1]]), rtol=1e-10, atol=1e-12)


def test_unknown_kinds_are_refused_by_name() -> None:
    known = chain((), (), kinds=("a", "b"))
    module = build(lambda: NGGNN(InputSpec.of([known]), 3))
    with pytest.raises(LayoutError, match=r"w1: kind 'c' is not among \('a', 'b'\)"):
        module(some(chain((), (), kinds=("a", "c"))))
    groups = tuple(replace(group, kind=kind) for group, kind in zip(known.groups, ("", "x", ""), strict=True))
    module = build(lambda: NGGNN(InputSpec.of([replace(known, groups=groups)]), 3))
    groups = tuple(replace(group, kind=kind) for group, kind in zip(known.groups, ("", "y", ""), strict=True))
    with pytest.raises(LayoutError, match=r"g1: kind 'y' is not among \('input', 'linear', 'x'\)"):
        module(some(replace(known, groups=groups)))


# -- fixed places ------------------------------------------------------------------------------------------------------


def with_positions(free: bool = False) -> Layout:
    """2 → 3 → 2, and a hidden group of 4 positions from the inputs to the hidden neurons beside it."""
    groups = (
        Group("in", Atom("in", 2), "input"), Group("positions", Atom("positions", 4, free)),
        Group("hidden", Atom("hidden", 3, True)), Group("out", Atom("out", 2), "output"),
    )  # fmt: skip
    blocks = (Block(0, 1, "p"), Block(1, 2, "e"), Block(2, 3, "w"))
    parameters = (Parameter("p", (4, 2)), Parameter("e", (3, 4)), Parameter("w", (2, 3)))
    return Layout(groups, blocks, parameters)


MODELS = {"NG-GNN": lambda f: NGGNN(f, 3, depth=3), "NG-T": lambda f: NGT(f, 3), "editor": NGGNNEditor}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_fixed_hidden_places_are_told_apart(make: Callable[[InputSpec], Metanetwork]) -> None:
    fixed, free, order = with_positions(), with_positions(free=True), np.array([1, 2, 0, 3])
    swap = NeuronPermutation(free, {"positions": order})  # no symmetry of the layout whose positions are fixed
    assert InputSpec.of([fixed]).ordered and not InputSpec.of([free]).ordered
    blind, module = build(lambda: make(InputSpec.of([free]))), build(lambda: make(InputSpec.of([fixed])))
    networks = some(free)
    assert symmetry_error(blind, networks, swap) < 1e-10

    def as_fixed(given: Networks) -> Tensor | Networks:
        found = module(Networks(given.values, fixed))
        return Networks(found.values, free) if isinstance(found, Networks) else found

    assert symmetry_error(as_fixed, networks, swap) > 1e-3
    assert_invariant(module, some(fixed)) if not isinstance(module, NGGNNEditor) else assert_equivariant(
        module, some(fixed)
    )


def test_permuting_a_fixed_atom_is_refused() -> None:
    with pytest.raises(LayoutError, match="positions"):
        NeuronPermutation(with_positions(), {"positions": np.array([1, 0, 2, 3])})


def test_places_count_fixed_atoms_only() -> None:
    free, fixed = Atom("free", 2, True), Atom("fixed", 3)
    axes = (Product((free, fixed)), Concat((Atom("a", 2, True), fixed)), Product((fixed, free, Atom("t", 2))))
    groups = (
        Group("in", Atom("in", 5), "input"), *(Group(f"g{i}", axis) for i, axis in enumerate(axes)),
        Group("out", Atom("out", 2), "output"),
    )  # fmt: skip
    blocks = tuple(Block(i, i + 1, f"w{i}") for i in range(4))
    layout = Layout(groups, blocks, tuple(
        Parameter(f"w{i}", (groups[i + 1].size, groups[i].size)) for i in range(4)
    ))  # fmt: skip
    places = PositionEmbedding(8).rows(layout)
    expected = [*[0] * 5, *[0, 1, 2] * 2, *[0, 0, 1, 2, 3], *[0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5], 0, 0]
    assert places.tolist() == expected


def test_fifty_thousand_places_differ() -> None:
    groups = (Group("in", Atom("in", 1), "input"), Group("words", Atom("words", 50_000)))
    groups += (Group("out", Atom("out", 1), "output"),)
    layout = Layout(
        groups, (Block(0, 1, "a"), Block(1, 2, "b")), (Parameter("a", (50_000, 1)), Parameter("b", (1, 50_000)))
    )
    features = PositionEmbedding(16).double()(Topology.of(some(layout, 1), Forward()))[1:-1]
    assert len(torch.unique(features.round(decimals=9), dim=0)) == 50_000


# -- many outputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda f: NGGNN(f, 3, pool=mean()), lambda f: NGT(f, 3, pool=mean())])
def test_networks_with_different_numbers_of_outputs(make: Callable[[InputSpec], Metanetwork]) -> None:
    layouts = [Layout.mlp((2, 4, 3), "sine"), Layout.mlp((2, 4, 5), "sine")]
    module = build(lambda: make(InputSpec.of(layouts)))
    alone = [some(layout, 1, seed) for seed, layout in enumerate(layouts)]
    together = module(Networks.cat(alone))
    torch.testing.assert_close(together, torch.cat([module(each) for each in alone]), rtol=1e-10, atol=1e-12)
    assert_invariant(module, Networks.cat(alone))


def test_the_mean_over_outputs_is_one() -> None:
    networks = some(Layout.mlp((2, 4, 3), "sine"), 2)
    module = build(lambda: NGGNN(InputSpec.of([networks.layout]), 3, pool=mean()))
    graph = module.encode(networks)
    assert isinstance(graph.topology, type(Topology.of(networks, Forward())))
    torch.testing.assert_close(mean()(graph), graph.nodes[:, -3:].mean(1), rtol=1e-12, atol=1e-14)
