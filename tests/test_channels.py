"""Several numbers for every parameter (its value, gradient, momenta): read, and answered with, by all metanetworks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neural_graphs import InputSpec, Layout, Networks, assert_equivariant, assert_invariant, trace
from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.graph import AllPairs
from neural_graphs.nn import NGGNN, NGT, Metanetwork, NGGNNEditor, NGTEditor
from neural_graphs.nn.ablation import Ablation
from neural_graphs.nn.spec import Statistics
from tests.test_align import TRACED

SMALL = {"widths": (8, 4), "attention": 8, "heads": 2, "hidden": (8, 8), "depth": 2}
READERS: dict[str, Callable[[InputSpec], Metanetwork]] = {
    "NG-GNN": lambda spec: NGGNN(spec, 3, width=8, depth=2),
    "NG-GNN one way": lambda spec: NGGNN(spec, 3, width=8, depth=2, reverse=False, sigma=None),
    "NG-T": lambda spec: NGT(spec, 3, **SMALL),  # type: ignore[arg-type]
    "NG-T all pairs": lambda spec: NGT(spec, 3, wiring=AllPairs(2), sight=Ablation(scalars_apart=True), **SMALL),  # type: ignore[arg-type]
}
EDITORS: dict[str, Callable[[InputSpec, int], Metanetwork]] = {
    "NG-GNN": lambda spec, channels: NGGNNEditor(spec, width=8, depth=2, channels=channels),
    "NG-T": lambda spec, channels: NGTEditor(spec, channels=channels, **SMALL),  # type: ignore[arg-type]
}
LAYOUTS: dict[str, Callable[[], list[Layout]]] = {
    "MLP": lambda: [Layout.mlp((2, 5, 4, 2), "tanh")],
    "CNN": lambda: [Layout.cnn((1, 3, 4), (3, 5), 2, places=(2, 2))],
    "mixed": lambda: [Layout.mlp((2, 5, 2), "tanh"), Layout.mlp((2, 4, 3, 2), "relu")],
    "traced": lambda: [trace(TRACED["transformer"][0]().eval(), TRACED["transformer"][1])],
}


def draw(layouts: list[Layout], channels: int, count: int = 4) -> Networks:
    generator = torch.Generator().manual_seed(0)
    each = [layouts[place % len(layouts)] for place in range(count)]
    if len(layouts) == 1:
        return Networks(torch.randn(count, each[0].size, channels, generator=generator, dtype=torch.float64), each[0])
    size = sum(layout.size for layout in each)
    return Networks(torch.randn(size, channels, generator=generator, dtype=torch.float64), each)


def build(make: Callable[[], Metanetwork]) -> Metanetwork:
    torch.manual_seed(0)
    return make().double()


@pytest.mark.parametrize("layouts", LAYOUTS)
@pytest.mark.parametrize("name", READERS)
def test_readers_of_three_channels_are_invariant_and_see_each(name: str, layouts: str) -> None:
    networks = draw(LAYOUTS[layouts](), 3)
    module = build(lambda: READERS[name](InputSpec.of(networks.layouts, channels=3)))
    assert_invariant(module, networks)
    before = module(networks)
    for channel in range(3):
        other = networks.values.clone()
        other[..., channel] *= 1.5
        assert not torch.allclose(module(networks.with_values(other)), before, rtol=1e-6)


@pytest.mark.parametrize("layouts", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", EDITORS)
def test_editors_return_as_many_channels_as_asked(name: str, channels: int, layouts: str) -> None:
    networks = draw(LAYOUTS[layouts](), 3)
    module = build(lambda: EDITORS[name](InputSpec.of(networks.layouts, channels=3), channels))
    found = module(networks).values
    expected = networks.values.shape[:-1]
    assert found.shape == (expected if channels == 1 else (*expected, channels))
    assert_equivariant(module, networks)


@pytest.mark.parametrize("make", [*READERS.values(), lambda spec: EDITORS["NG-GNN"](spec, 1)])
def test_another_number_of_channels_is_refused_by_name(make: Callable[[InputSpec], Metanetwork]) -> None:
    layouts = LAYOUTS["MLP"]()
    module = build(lambda: make(InputSpec.of(layouts, channels=2)))
    with pytest.raises(LayoutError, match=r"have 3 channels per number, this metanetwork reads 2.*channels=3"):
        module(draw(layouts, 3))
    plain = Networks(draw(layouts, 1).values[..., 0], layouts[0])
    with pytest.raises(LayoutError, match="have 1 channels per number"):
        module(plain)


def test_one_channel_with_an_axis_of_its_own_is_read_as_without() -> None:
    networks = draw(LAYOUTS["MLP"](), 1)
    module = build(lambda: READERS["NG-GNN"](InputSpec.of(networks.layouts)))
    without: Tensor = module(Networks(networks.values[..., 0], networks.layout))
    assert torch.equal(module(networks), without)


def test_specifications_say_how_many_channels_and_older_ones_mean_one() -> None:
    layouts = LAYOUTS["MLP"]()
    spec = InputSpec.of(layouts, channels=4)
    assert InputSpec.from_json(spec.to_json()) == spec and spec.to_json()["channels"] == 4
    assert "channels" not in InputSpec.of(layouts).to_json() and InputSpec.of(layouts).channels == 1
    with pytest.raises(LayoutError, match="no statistics of several"):
        InputSpec.of(layouts, Statistics((0.0,), (1.0,), (0.0,), (1.0,)), channels=2)
    with pytest.raises(ConfigError, match="at least one number"):
        NGGNNEditor(spec, width=4, channels=0)
