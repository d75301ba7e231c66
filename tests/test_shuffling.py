"""Symmetries drawn for all networks at once are symmetries: those that `Element` makes of the same numbers."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from neural_graphs import Layout, Networks
from neural_graphs.errors import LayoutError
from neural_graphs.layout.permissions import factor_index
from neural_graphs.symmetry import Kind, NeuronPermutation, PositiveScale, SignFlip, shuffle, shuffling
from neural_graphs.symmetry.elements import Element, PerNetwork
from tests.hand_layouts import resnet
from tests.test_align import LAYOUTS

MADE: dict[str, Callable[[], Layout]] = {
    **LAYOUTS,
    "SIREN": lambda: Layout.mlp((2, 6, 5, 1), "sine", scale=30.0),
    "park": lambda: Layout.cnn((1, 4, 4), (3, 3), 2, residual=(-1, 0)),
    "residual by hand": lambda: resnet((4, 6), (1, 1), 3, 3),
}
KINDS: list[Kind] = [NeuronPermutation, SignFlip, PositiveScale]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffling, "HOST", "no device")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks_of(layout: Layout, channels: tuple[int, ...] = ()) -> Networks:
    return Networks(torch.randn(3, layout.size, *channels, generator=seeded(), dtype=torch.float64), layout)


def one_by_one(networks: Networks, kind: Kind, monkeypatch: pytest.MonkeyPatch, scale: float = 1.0) -> torch.Tensor:
    """What elements of the numbers that `shuffle` draws make of the networks."""
    drawn: dict[str, np.ndarray] = {}
    orders = kind is NeuronPermutation
    act = shuffling.reordered if orders else shuffling.multiplied

    def noted(values: torch.Tensor, layout: Layout, moved, numbers: torch.Tensor) -> torch.Tensor:
        if orders:
            drawn[moved.name] = numbers.numpy()
        else:  # the factor of every neuron, 1 for those that have none
            each = np.pad(scale * numbers.double().numpy(), ((0, 0), (0, 1)), constant_values=1.0)
            drawn["factors"] = each[:, factor_index(layout, moved)]
        return act(values, layout, moved, numbers)

    monkeypatch.setattr(shuffling, act.__name__, noted)
    shuffle(networks, seeded(4), kind, missing_ok=True)
    monkeypatch.setattr(shuffling, act.__name__, act)
    every = [{name: each[place] for name, each in drawn.items()} for place in range(len(networks))]
    elements = [Element(networks.layout, each if orders else None, each.get("factors")) for each in every]
    return PerNetwork(elements).act(networks).values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("channels", [(), (2,)], ids=["", "channels"])
def test_all_at_once_is_one_by_one(name: str, kind: Kind, channels: tuple[int, ...], monkeypatch) -> None:
    networks = networks_of(MADE[name](), channels)
    before = networks.values.clone()
    expected = one_by_one(networks, kind, monkeypatch)
    found = shuffle(networks, seeded(4), kind, missing_ok=True).values
    torch.testing.assert_close(found, expected, rtol=0 if kind is not PositiveScale else 1e-13, atol=0)
    assert torch.equal(networks.values, before)
    assert torch.equal(found, before) == (not kind.movable(networks.layout))


def test_other_factors_are_found_out(monkeypatch) -> None:
    networks = networks_of(MADE["SIREN"]())
    expected = one_by_one(networks, SignFlip, monkeypatch, scale=-1.0)
    assert not torch.equal(shuffle(networks, seeded(4), SignFlip).values, expected)


def test_every_order_is_as_likely() -> None:
    layout = Layout.mlp((1, 3, 1), "sine")
    values = torch.zeros(6000, layout.size)
    values[:, :3] = torch.arange(3.0)  # the incoming weights
    found = Counter(map(tuple, shuffle(Networks(values, layout), seeded()).values[:, :3].tolist()))
    assert len(found) == 6 and all(abs(count - 1000) < 150 for count in found.values())


def test_mixed_batches_go_one_by_one_and_refusals_are_the_same() -> None:
    mixed = Networks.cat([networks_of(MADE["SIREN"]()), networks_of(MADE["park"]())])
    assert not torch.equal(shuffle(mixed, seeded()).values, mixed.values)
    with pytest.raises(LayoutError, match="no PositiveScale moves"):
        shuffle(networks_of(MADE["SIREN"]()), seeded(), PositiveScale)
