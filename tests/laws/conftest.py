"""What the laws range over: backbones × readouts × processed networks. A new backbone joins by one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from neural_graphs.graph import AllPairs, Looped
from neural_graphs.layout import Layout, MaxPool
from neural_graphs.networks import Networks
from neural_graphs.nn import (
    NGGNN,
    NGT,
    Metanetwork,
    NGGNNEditor,
    NGTEditor,
    Propagator,
    PropagatorEditor,
    ScaleGMN,
    ScaleGMNEditor,
    SharedUNF,
    SharedUNFEditor,
    SignsAndScales,
)
from neural_graphs.nn.backbones.scale_equivariant import Factors
from neural_graphs.nn.spec import InputSpec
from tests.laws.intricate import INTRICATE


@dataclass(frozen=True)
class Backbone:
    """Two tiny metanetworks around one backbone, in float64 and the same at every call."""

    name: str
    make_reader: Callable[..., Metanetwork]
    make_editor: Callable[..., Metanetwork]
    whole: bool = False  # every neuron hears of all others in every layer, whatever the readout looks at

    def reader(self, family: InputSpec, **options: Any) -> Metanetwork:
        """Answers three numbers for each network."""
        return self._build(self.make_reader, family, options)

    def editor(self, family: InputSpec, **options: Any) -> Metanetwork:
        """Answers a change of every parameter."""
        return self._build(self.make_editor, family, options)

    def _build(self, make: Callable[..., Metanetwork], family: InputSpec, options: dict[str, Any]) -> Metanetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make(family, **options).double()


def gnn(name: str, **options: Any) -> Backbone:
    tiny = {"width": 8, "depth": 2, **options}
    return Backbone(name, lambda f, **o: NGGNN(f, 3, **tiny, **o), lambda f, **o: NGGNNEditor(f, **tiny, **o))


def transformer(name: str, **options: Any) -> Backbone:
    tiny = {"widths": (8, 6), "attention": 8, "heads": 2, "hidden": (8, 6), "depth": 2, **options}
    return Backbone(name, lambda f, **o: NGT(f, 3, **tiny, **o), lambda f, **o: NGTEditor(f, **tiny, **o))


def scale_gmn(name: str, symmetry: Factors, **options: Any) -> Backbone:
    """It reads raw numbers: there is no `sigma`."""
    tiny = {"symmetry": symmetry, "width": 8, "depth": 4, **options}
    return Backbone(
        name,
        lambda f, sigma=None, **o: ScaleGMN(f, 3, **tiny, **o),
        lambda f, sigma=None, **o: ScaleGMNEditor(f, **tiny, **o),
    )


def propagator(name: str, **options: Any) -> Backbone:
    """It reads numbers at several scales: there is no `sigma`."""
    tiny = {"width": 8, "depth": 2, "heads": 2, **options}
    return Backbone(
        name,
        lambda f, sigma=None, **o: Propagator(f, 3, **tiny, **o),
        lambda f, sigma=None, **o: PropagatorEditor(f, **tiny, **o),
    )


def shared_linear(name: str) -> Backbone:
    tiny = {"width": 8, "depth": 2}
    reader = partial(SharedUNF, classes=3, **tiny)
    return Backbone(name, reader, partial(SharedUNFEditor, **tiny), whole=True)


BACKBONES = [
    gnn("NG-GNN", reverse=False),
    gnn("NG-GNN both ways", reverse=True),
    transformer("NG-T all pairs", wiring=AllPairs()),
    transformer("NG-T all pairs both ways", wiring=AllPairs(copies=2)),
    transformer("NG-T over weights", wiring=Looped(), depth=4),  # the inputs are four weights away from the outputs
    propagator("Propagator"),
    shared_linear("SharedUNF"),
    scale_gmn("ScaleGMN both ways", SignsAndScales()),  # others are in test_scale_gmn.py
]

INR = Layout.mlp((2, 6, 5, 3), activation="sine", offset=0.5)
FLATTENING = Layout.cnn((3, 4, 3), kernels=(3, 5), classes=3, places=(2, 2), pool=MaxPool(4))
PARK = Layout.cnn(
    (3, 4, 6, 5, 6), kernels=(5, 3, 7, 3), classes=3, residual=(-1, -1, 0, 1),
    activations=("relu", "tanh", "leaky_relu", "none"),
)  # fmt: skip
REGULAR = {
    "INR": INR,
    "MLP": Layout.mlp((4, 7, 3), activation="relu"),
    "CNN": Layout.cnn((1, 4, 5, 4), kernels=(3, 3, 3), classes=3, stride=2, padding=0),
    "flattening CNN": FLATTENING,
    "residual CNN": PARK,
}
MIXED = {
    "mixed INRs": [Layout.mlp((2, *hidden, 3), activation="sine", offset=0.5) for hidden in [(6, 5), (4,), (3, 5, 4)]],
    "mixed CNNs": [
        Layout.cnn((3, 4, 5), kernels=(3, 1), classes=3, activations=("silu", "relu")),
        PARK,
        Layout.cnn((3, 3, 4, 4), kernels=(3, 5, 3), classes=3, residual=(-1, 0, 1), activations="gelu"),
    ],
    "MLPs among CNNs": [REGULAR["MLP"], PARK, FLATTENING, INR],
}


@dataclass(frozen=True)
class Case:
    """Random networks to read (three of one layout, or one of each), and inputs that each of them can be run on."""

    name: str
    layouts: tuple[Layout, ...]

    def networks(self, seed: int = 0) -> Networks:
        """Float64, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        each = self.layouts * 3 if len(self.layouts) == 1 else self.layouts
        vectors = [0.3 * torch.randn(1, layout.size, generator=generator, dtype=torch.float64) for layout in each]
        for vector, layout in zip(vectors, each, strict=True):
            for carried in (parameter.name for parameter in layout.parameters if parameter.dtype):
                vector[:, layout.slices[carried]] = 0  # whole numbers that no metanetwork reads or writes
        return Networks.cat([Networks(vector, layout) for vector, layout in zip(vectors, each, strict=True)])

    @property
    def family(self) -> InputSpec:
        """The smallest family that holds these networks."""
        return InputSpec.of(self.layouts)

    def inputs(self, place: int) -> Tensor:
        """Points or images for the network at that place."""
        layout = self.layouts[place % len(self.layouts)]
        size, side = layout.role_count("input"), 8 if layout == FLATTENING else 15
        shape = (2, size, side, side) if layout.blocks[0].kernel else (7, size)
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


MIXED_INTRICATE = [REGULAR["MLP"], INTRICATE["grouped convolutions"], *INTRICATE.values()]
RUNNABLE = [Case(name, (layout,)) for name, layout in REGULAR.items()]
RUNNABLE += [Case(name, tuple(layouts)) for name, layouts in MIXED.items()]
ONE_LAYOUT = [*RUNNABLE[: len(REGULAR)], *(Case(name, (layout,)) for name, layout in INTRICATE.items())]
CASES = [*RUNNABLE, *ONE_LAYOUT[len(REGULAR) :], Case("mixed intricate", tuple(MIXED_INTRICATE))]
NAMED = {case.name: case for case in CASES}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Every kind of batch, regular and mixed."""
    return request.param


@pytest.fixture(params=RUNNABLE, ids=lambda case: case.name)
def runnable_case(request: pytest.FixtureRequest) -> Case:
    """Every kind of batch whose layouts say how their networks are run."""
    return request.param


@pytest.fixture(params=ONE_LAYOUT, ids=lambda case: case.name)
def regular_case(request: pytest.FixtureRequest) -> Case:
    """Every regular batch."""
    return request.param


@pytest.fixture(params=[NAMED["INR"], NAMED["mixed INRs"]], ids=lambda case: case.name)
def inr_case(request: pytest.FixtureRequest) -> Case:
    """INRs, all alike and mixed: probes of two coordinates can be run through them."""
    return request.param


@pytest.fixture
def strangers() -> Case:
    """A mixed batch of networks unlike each other."""
    return NAMED["MLPs among CNNs"]


@pytest.fixture
def inr() -> Case:
    """One case where any will do."""
    return NAMED["INR"]


@pytest.fixture(params=BACKBONES, ids=lambda backbone: backbone.name)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Every backbone."""
    return request.param


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
