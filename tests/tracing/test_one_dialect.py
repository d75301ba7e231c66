"""One network, one layout: described by hand, read off a state dict, or traced, it is the same up to names."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs import InputSpec, Layout, Networks, assert_invariant, trace
from neural_graphs.layout import GlobalMean, MaxPool
from neural_graphs.layout.builders import from_shapes
from neural_graphs.layout.kinds import ACTIVATIONS as KINDS
from neural_graphs.layout.naming import anonymous
from neural_graphs.networks.execution import ACTIVATIONS
from neural_graphs.nn import NGGNN
from neural_graphs.symmetry import NeuronPermutation, PositiveScale, SignFlip
from neural_graphs.testing import assert_same_function

MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "softplus": nn.Softplus,
    "mish": nn.Mish, "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid,
}  # fmt: skip


class Function(nn.Module):
    """An element-wise function of torch as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Siren(nn.Module):
    """Linear layers with sin(ω · x) between them, and a constant added at the end."""

    def __init__(self, sizes: tuple[int, ...], omega: float = 30.0, offset: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.omega, self.offset = omega, offset

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.sin(self.omega * layer(x))
        x = self.layers[-1](x)
        return x + self.offset if self.offset else x


class Convolutional(nn.Module):
    """Convolutions with skips before their activations, a pool, and a Linear head."""

    def __init__(
        self, channels: tuple[int, ...], kernels: tuple[int, ...], classes: int, *, stride: int = 1,
        padding: int | None = None, skips: tuple[int, ...] = (), side: int = 0, window: int = 0,
        activation: Callable[[Tensor], Tensor] = F.relu, form: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        pads = [kernel // 2 if padding is None else padding for kernel in kernels]
        parts = zip(channels, channels[1:], kernels, pads, strict=False)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, k, stride, pad) for a, b, k, pad in parts)
        self.head = nn.Linear(channels[-1] * max(side, 1) ** 2, classes)
        self.skips, self.side, self.window, self.activation, self.form = skips, side, window, activation, form

    def joined(self, x: Tensor, old: Tensor) -> Tensor:
        """A skip on the channels that both have."""
        both = min(x.shape[1], old.shape[1])
        if x.shape == old.shape or (both == x.shape[1]):
            return x + old[:, :both]
        if self.form == "padded":
            return x + F.pad(old, (0, 0, 0, 0, 0, x.shape[1] - both))
        return torch.cat([x[:, :both] + old[:, :both], x[:, both:]], 1)

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for layer, conv in enumerate(self.convs):
            x = conv(x)
            if self.skips and self.skips[layer] >= 0:
                x = self.joined(x, seen[self.skips[layer]])
            x = self.activation(x)
            seen.append(x)
        x = F.max_pool2d(x, self.window) if self.window else x
        return self.head(x.flatten(1) if self.side else x.mean((2, 3)))


def mlp(activation: Callable[[], nn.Module], sizes: tuple[int, ...]) -> nn.Module:
    parts: list[nn.Module] = []
    for a, b in pairwise(sizes):
        parts += [nn.Linear(a, b), activation()]
    return nn.Sequential(*parts[:-1])


IMAGE = torch.zeros(2, 1, 8, 8)
SIZES = (2, 5, 4, 1)
CASES: dict[str, tuple[Callable[[], nn.Module], Tensor, Layout]] = {
    **{
        f"MLP {kind}": (lambda make=make: mlp(make, SIZES), torch.zeros(3, 2), Layout.mlp(SIZES, kind))
        for kind, make in MODULES.items()
    },
    **{
        f"MLP {kind}": (
            lambda kind=kind: mlp(lambda: Function(ACTIVATIONS[kind]), SIZES), torch.zeros(3, 2),
            Layout.mlp(SIZES, kind, scale=1.0),
        )
        for kind in KINDS if kind not in (*MODULES, "none")
    },
    "two layers": (lambda: nn.Linear(3, 2), torch.zeros(4, 3), Layout.mlp((3, 2))),
    "one neuron": (lambda: mlp(nn.Tanh, (2, 1, 3)), torch.zeros(3, 2), Layout.mlp((2, 1, 3), "tanh")),
    "points of images": (lambda: mlp(nn.ReLU, (2, 4, 3)), torch.zeros(2, 5, 7, 2), Layout.mlp((2, 4, 3))),
    "SIREN": (lambda: Siren((2, 6, 6, 1)), torch.zeros(5, 2), Layout.mlp((2, 6, 6, 1), "sine")),
    "SIREN of dws2023": (
        lambda: Siren((2, 6, 6, 1), offset=0.5), torch.zeros(5, 2), Layout.mlp((2, 6, 6, 1), "sine", offset=0.5),
    ),
    "SIREN ω = 10": (lambda: Siren((2, 6, 3), 10.0), torch.zeros(5, 2), Layout.mlp((2, 6, 3), "sine", scale=10.0)),
    "CNN": (lambda: Convolutional((1, 4, 6), (3, 5), 3), IMAGE, Layout.cnn((1, 4, 6), (3, 5), 3)),
    "CNN strided": (
        lambda: Convolutional((1, 4, 6), (3, 3), 3, stride=2, padding=0), IMAGE,
        Layout.cnn((1, 4, 6), (3, 3), 3, stride=2, padding=0),
    ),
    "CNN flattened": (
        lambda: Convolutional((1, 4, 3), (3, 3), 3, side=8), IMAGE, Layout.cnn((1, 4, 3), (3, 3), 3, places=(8, 8)),
    ),
    "CNN pooled and flattened": (
        lambda: Convolutional((1, 4, 3), (3, 3), 3, side=4, window=2), IMAGE,
        Layout.cnn((1, 4, 3), (3, 3), 3, places=(4, 4), pool=MaxPool(2)),
    ),
    "CNN with skips": (
        lambda: Convolutional((1, 4, 4, 4), (3, 3, 3), 2, skips=(-1, 0, 0), activation=torch.tanh), IMAGE,
        Layout.cnn((1, 4, 4, 4), (3, 3, 3), 2, residual=(-1, 0, 0), activations="tanh"),
    ),
    **{
        f"CNN with skips of some channels, {form}": (
            lambda form=form: Convolutional((3, 8, 16, 4, 8), (5, 3, 7, 3), 2, skips=(-1, -1, 0, 1), form=form),
            torch.zeros(2, 3, 8, 8), Layout.cnn((3, 8, 16, 4, 8), (5, 3, 7, 3), 2, residual=(-1, -1, 0, 1)),
        )
        for form in ("concatenated", "padded")
    },
    "CNN 1×1, one channel": (
        lambda: Convolutional((3, 1, 2), (1, 1), 2), torch.zeros(2, 3, 4, 4), Layout.cnn((3, 1, 2), (1, 1), 2),
    ),
}  # fmt: skip
NAMES = list(CASES)


@pytest.mark.parametrize("name", NAMES)
def test_a_traced_network_has_the_builders_layout(name: str) -> None:
    make, x, built = CASES[name]
    traced = trace(make().eval(), x)
    assert anonymous(traced) == anonymous(built), f"{traced}\n{built}"


@pytest.mark.parametrize("name", [name for name in NAMES if "skip" not in name])
def test_a_state_dict_has_the_builders_layout(name: str) -> None:
    make, _, built = CASES[name]
    hidden = [group for group in built.groups if group.role == "hidden"] or [built.groups[0]]
    options = {"stride": 2, "padding": 0} if "strided" in name else {"pool": MaxPool(2)} if "pooled" in name else {}
    if "MLP" in name or "SIREN" in name:
        options = {"offset": built.groups[-1].offset, "scale": hidden[0].activation.scale}
    shapes = {key: tuple(tensor.shape) for key, tensor in make().state_dict().items()}
    found = from_shapes(shapes, hidden[0].activation.kind if built.groups[1].role == "hidden" else "relu", **options)
    assert anonymous(found) == anonymous(built)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_its_module_also_from_a_file(name: str) -> None:
    make, x, _ = CASES[name]
    module = make().double().eval()
    x = torch.rand(x.shape, dtype=torch.float64)
    layout = trace(module, x)
    if any(atom.size > 1 for atom in layout.free_atoms):
        assert_same_function(module, layout, x)
    networks = Networks.from_modules([module], Layout.from_json(layout.to_json()))
    assert torch.allclose(networks.run(x)[0], module(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_signs_scales_and_probes_find_what_they_find_on_built_ones(name: str) -> None:
    make, x, built = CASES[name]
    traced = trace(make().double().eval(), x.double())
    for kind in (NeuronPermutation, SignFlip, PositiveScale):
        found = [kind.sample(layout, torch.Generator().manual_seed(3), missing_ok=True) for layout in (traced, built)]
        assert torch.equal(*(element.places for element in found))
        assert torch.equal(*(element.place_factors for element in found))
    networks = Networks(torch.rand(2, traced.size, dtype=torch.float64), traced)
    probes = 0 if "CNN" in name else 3
    reader = NGGNN(InputSpec.of([traced, built]), classes=2, width=8, depth=2, probes=probes).double()
    assert torch.equal(reader(networks), reader(Networks(networks.values, built)))
    if any(atom.size > 1 for atom in traced.free_atoms):
        assert_invariant(reader, networks)


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 5), nn.LeakyReLU(0.3), nn.Linear(5, 1)), torch.zeros(3, 2)),
        (lambda: nn.Sequential(nn.Linear(2, 5), nn.GELU(approximate="tanh"), nn.Linear(5, 1)), torch.zeros(3, 2)),
        (lambda: mlp(lambda: Function(lambda x: (x + 1).tanh()), (2, 5, 1)), torch.zeros(3, 2)),
        (lambda: mlp(lambda: Function(lambda x: x.tanh() * 2), (2, 5, 1)), torch.zeros(3, 2)),
        (lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)), torch.zeros(3, 2)),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3, dilation=2), nn.Flatten(), nn.Linear(64, 2)), IMAGE),
        (lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 1)), torch.zeros(3, 2)),
    ],
)  # fmt: skip
def test_what_a_builder_cannot_say_stays_traced(make: Callable[[], nn.Module], x: Tensor) -> None:
    module = make().double().eval()
    layout = trace(module, x.double())
    assert any(block.kind for block in layout.blocks)
    assert_same_function(module, layout, torch.rand(x.shape, dtype=torch.float64))


def test_the_tables_of_names_agree() -> None:
    assert list(KINDS) == list(ACTIVATIONS)
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)
    for kind, function in ACTIVATIONS.items():
        assert KINDS[kind].odd == torch.allclose(function(-x), -function(x), atol=1e-12), kind
        scaled = all(torch.allclose(function(s * x), s * function(x), atol=1e-12) for s in (0.5, 3.0))
        assert KINDS[kind].homogeneous == scaled, kind


def test_pools_are_told() -> None:
    layout = trace(CASES["CNN pooled and flattened"][0]().eval(), IMAGE)
    assert [group.pool for group in layout.groups] == [None, None, MaxPool(2), None]
    assert trace(CASES["CNN"][0]().eval(), IMAGE).groups[2].pool == GlobalMean()
