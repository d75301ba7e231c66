"""No symmetry is the identity in silence: it moves numbers and keeps the function, or it says why nothing moves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neural_graphs import InputSpec, Layout, Networks, assert_invariant, shuffle, trace
from neural_graphs.errors import LayoutError
from neural_graphs.nn import NGGNN, CanonicalScales, CanonicalSigns, CompleteSigns
from neural_graphs.nn.canonical import representatives
from neural_graphs.symmetry import NeuronPermutation, PositiveScale, SignFlip, sample_symmetry
from neural_graphs.symmetry.elements import Kind, nothing_moves
from neural_graphs.zoo.transforms import FlipSigns, Permute, Rescale
from tests.tracing.test_one_dialect import CASES, Function

KINDS: tuple[Kind, ...] = (NeuronPermutation, SignFlip, PositiveScale)
TRANSFORMS = {NeuronPermutation: Permute, SignFlip: FlipSigns, PositiveScale: Rescale}


class Residual(nn.Module):
    """Two tanh layers beside a norm; the last layer reads all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.inner = nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 5)
        self.back, self.last = nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + self.back(torch.tanh(self.inner(self.norm(x)))))


class Grouped(nn.Module):
    """Convolutions in groups, with a function between them."""

    def __init__(self, function: Callable[[Tensor], Tensor], pool: nn.Module) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 6, 3, groups=2), nn.Conv2d(6, 4, 3)
        self.function, self.pool, self.head = function, pool, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.pool(self.function(self.one(x)))).mean((2, 3)))


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 6), Function(function), nn.LayerNorm(6), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)
    )


def pooled(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Grouped(function, nn.Identity())


POINTS, IMAGES = torch.rand(4, 3), torch.rand(2, 2, 12, 12)
CLASS: dict[str, tuple[Callable[[], nn.Module], Tensor, int, int]] = {  # neurons that may be flipped, and scaled
    "tanh beside a norm": (Residual, POINTS, 5, 0),
    "tanh, then a norm": (lambda: between(torch.tanh), POINTS, 5, 0),
    "grouped tanh, mean pool": (lambda: Grouped(torch.tanh, nn.AvgPool2d(2)), IMAGES, 10, 4),
    "grouped tanh, max pool": (lambda: Grouped(torch.tanh, nn.MaxPool2d(2)), IMAGES, 4, 4),
    "grouped ReLU, mean pool": (lambda: Grouped(torch.relu, nn.AvgPool2d(2)), IMAGES, 4, 10),
    "a shift before tanh": (pooled(lambda x: torch.tanh(x + 1)), IMAGES, 4, 4),
    "a shift after tanh": (pooled(lambda x: torch.tanh(x) + 1), IMAGES, 4, 4),
    "subtracted from one": (pooled(lambda x: 1 - torch.tanh(x)), IMAGES, 4, 4),
    "scaled": (pooled(lambda x: -torch.tanh(2 * x) / 3), IMAGES, 10, 4),
    "a constant tensor": (pooled(lambda x: torch.tanh(x) + torch.ones(())), IMAGES, 4, 4),
    "a quotient": (pooled(lambda x: 1 / (2 + torch.tanh(x))), IMAGES, 4, 4),
    "the maximum of places": (pooled(lambda x: torch.tanh(x).amax((2, 3), keepdim=True) + 0 * x), IMAGES, 4, 4),
    "the larger of it and a number": (pooled(lambda x: torch.tanh(x).clamp(min=-0.1)), IMAGES, 4, 4),
    "where it is positive": (
        pooled(lambda x: torch.where(torch.tensor(True), torch.tanh(x), torch.ones(()))), IMAGES, 4, 4,
    ),
    "bilinear": (lambda: Grouped(torch.tanh, nn.Upsample(scale_factor=2, mode="bilinear")), IMAGES, 10, 4),
}  # fmt: skip


def neurons(kind: Kind, layout: Layout) -> int:
    return sum(each.size for each in kind.movable(layout))


@pytest.mark.parametrize("name", CLASS)
def test_traced_networks_have_the_signs_and_scales_they_have(name: str) -> None:
    make, x, flips, scales = CLASS[name]
    torch.manual_seed(0)
    module, x = make().double().eval(), x.double()
    layout = trace(module, x)
    assert (neurons(SignFlip, layout), neurons(PositiveScale, layout)) == (flips, scales), str(layout)
    networks = Networks.from_modules([module], layout)
    for kind in KINDS:
        if not kind.movable(layout):
            with pytest.raises(LayoutError, match=f"no {kind.__name__} moves"):
                kind.sample(layout, torch.Generator())
            continue
        moved = shuffle(networks, torch.Generator().manual_seed(1), kind)
        assert not torch.equal(moved.values, networks.values)
        torch.testing.assert_close(moved.run(x), networks.run(x), rtol=1e-10, atol=1e-12)
        reader = NGGNN(InputSpec.of([layout]), classes=2, width=8, depth=2).double()
        if kind is NeuronPermutation:
            assert_invariant(reader, networks)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", [*CASES, *CLASS])
def test_every_sampler_and_transform_moves_something_or_says_why(name: str, kind: Kind) -> None:
    make, x = (CASES[name][0], CASES[name][1]) if name in CASES else CLASS[name][:2]
    torch.manual_seed(0)
    layout = trace(make().double().eval(), x.double())
    networks = Networks(torch.randn(3, layout.size, dtype=torch.float64), layout)
    generator = torch.Generator().manual_seed(2)
    ways: list[Callable[[], Networks]] = [
        lambda: kind.sample(layout, generator).act(networks),
        lambda: sample_symmetry(networks, generator, kind).act(networks),
        lambda: TRANSFORMS[kind]()(networks, generator),
    ]
    for way in ways:
        if kind.movable(layout):  # one neuron may stay as it is by chance
            assert any(not torch.equal(way().values, networks.values) for _ in range(20))
        else:
            hidden = [group.name for group in layout.groups if group.role == "hidden"]  # constants among them
            with pytest.raises(LayoutError, match=f"no {kind.__name__} moves") as said:
                way()
            assert all(part in str(said.value) for part in (hidden[:1] or ["no hidden neurons"]))
    if not kind.movable(layout):
        with pytest.raises(ValueError, match="there would be nothing to see"):
            assert_invariant(lambda each: each.values.mean(1), networks, kind=kind)
        assert torch.equal(TRANSFORMS[kind](missing_ok=True)(networks, torch.Generator()).values, networks.values)


@pytest.mark.parametrize("name", [*CASES, *CLASS])
def test_canonical_signs_are_canonical_or_say_why(name: str) -> None:
    make, x = (CASES[name][0], CASES[name][1]) if name in CASES else CLASS[name][:2]
    torch.manual_seed(0)
    module = make().double().eval()
    layout = trace(module, x.double())
    networks = Networks.from_modules([module], layout)
    if not SignFlip.movable(layout):
        with pytest.raises(LayoutError, match="no canonical signs: no SignFlip moves"):
            CanonicalSigns()(networks)
        return
    try:
        found = CanonicalSigns()(networks)
    except LayoutError:  # what may be flipped is tied by skips, and has to be flipped together
        assert any(block.parameter is None for block in layout.blocks)
        return
    x = torch.rand(x.shape, dtype=torch.float64)
    torch.testing.assert_close(found.run(x), networks.run(x), rtol=1e-10, atol=1e-12)
    flipped = shuffle(networks, torch.Generator().manual_seed(1), SignFlip)
    if not any(block.parameter is None for block in layout.blocks):
        assert torch.equal(CanonicalSigns()(flipped).values, found.values)


@pytest.mark.parametrize("name", [*CASES, *CLASS])
def test_representatives_of_traced_networks_are_those_of_all_that_are_moved(name: str) -> None:
    make, x = (CASES[name][0], CASES[name][1]) if name in CASES else CLASS[name][:2]
    torch.manual_seed(0)
    module, x = make().double().eval(), torch.rand(x.shape, dtype=torch.float64)
    layout = trace(module, x)
    networks = Networks.from_modules([module], layout)
    both = [CanonicalScales(missing_ok=True), CompleteSigns(missing_ok=True)]
    found, _ = representatives(networks, both)
    torch.testing.assert_close(found.run(x), networks.run(x), rtol=1e-10, atol=1e-12)
    moved = networks
    for kind in (SignFlip, PositiveScale):
        moved = shuffle(moved, torch.Generator().manual_seed(1), kind, missing_ok=True)
    torch.testing.assert_close(representatives(moved, both)[0].values, found.values, rtol=1e-10, atol=1e-12)


def test_a_mixed_batch_moves_what_moves() -> None:
    layouts = [Layout.mlp((2, 4, 1), "relu"), Layout.mlp((2, 4, 1), "tanh")]
    networks = Networks(torch.randn(sum(layout.size for layout in layouts)), layouts)
    moved = shuffle(networks, torch.Generator().manual_seed(0), SignFlip)
    first, second = zip(moved.vectors(), networks.vectors(), strict=True)
    assert torch.equal(*first) and not torch.equal(*second)
    assert "relu, which is not odd" in nothing_moves(SignFlip, layouts[0])
