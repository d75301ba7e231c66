"""Weight matching finds what a permutation hid, and brings strangers closer than any order by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs import Layout, Networks, trace
from neural_graphs.errors import LayoutError
from neural_graphs.layout.axes import Axis, coordinates
from neural_graphs.networks.statistics import renew_statistics
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.symmetry.align import SWEEPS, align, interpolate, merge, moved


class Block(nn.Module):
    """A residual block with batch norms."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.first, self.second = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.two(F.relu(self.first(self.one(x))))) + self.short(x))


def residual() -> nn.Module:
    stem = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(
        *stem, Block(8, 8, 1), Block(8, 12, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)
    )


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    return nn.Sequential(nn.Linear(3, 16), layer, nn.Linear(16, 2))


def grouped() -> nn.Module:
    inner = (nn.Conv2d(8, 12, 3, groups=4), nn.ReLU(), nn.Conv2d(12, 12, 3, groups=12), nn.ReLU())
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), *inner, nn.Conv2d(12, 4, 2), nn.Flatten(), nn.Linear(16, 3))


class Recurrent(nn.Module):
    """An LSTM and its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 7, batch_first=True), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


TRACED: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "residual": (residual, torch.rand(2, 3, 14, 14)),
    "transformer": (transformer, torch.rand(2, 5, 3)),
    "grouped": (grouped, torch.rand(2, 2, 9, 9)),
    "recurrent": (Recurrent, torch.rand(2, 4, 3)),
}


def layout_of(name: str) -> Layout:
    make, x = TRACED[name]
    return trace(make().eval(), x)


LAYOUTS: dict[str, Callable[[], Layout]] = {
    "MLP": lambda: Layout.mlp((4, 20, 30, 20, 3)),
    "SIREN": lambda: Layout.mlp((2, 32, 32, 1), "sine", offset=0.5),
    "CNN with skips": lambda: Layout.cnn((1, 6, 9, 6, 6), (3, 3, 3, 3), 3, residual=(-1, -1, 0, 1)),
    "flattened CNN": lambda: Layout.cnn((1, 6, 9), (3, 3), 3, places=(2, 2)),
    **{name: lambda name=name: layout_of(name) for name in TRACED},  # type: ignore[misc]
}


def draw(layout: Layout, seed: int = 0) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    return Networks(torch.randn(1, layout.size, generator=generator, dtype=torch.float64), layout)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("seed", range(6))
def test_a_permutation_is_undone_exactly(name: str, seed: int) -> None:
    network = draw(LAYOUTS[name](), seed)
    hidden = NeuronPermutation.sample(network.layout, torch.Generator().manual_seed(seed)).act(network)
    assert not torch.equal(hidden.values, network.values)
    found = align(network, hidden, seed=seed)
    assert torch.equal(found.act(hidden).values, network.values)
    noisy = Networks(hidden.values + 0.1 * draw(network.layout, seed + 9).values, network.layout)
    again = align(network, noisy, seed=seed)
    assert torch.equal(again.act(hidden).values, network.values)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_numbers_an_axis_moves_are_those_that_the_symmetry_moves(name: str) -> None:
    layout = LAYOUTS[name]()
    for atom in NeuronPermutation.movable(layout):
        shape = [{a.name: a.size for g in layout.groups for a in g.axis.atoms()}[each] for each in atom.within]
        order = np.broadcast_to(np.roll(np.arange(atom.size), 1), (*shape, atom.size))
        places = np.arange(layout.size)
        for each in moved(layout, atom).places:
            at = np.take_along_axis(each, order.reshape(-1, atom.size, 1), 1)
            places[each] = places[at]
        assert np.array_equal(places, NeuronPermutation(layout, {atom.name: order}).places.numpy()), atom


@pytest.mark.parametrize("name", LAYOUTS)
def test_strangers_come_closer_and_their_functions_stay(name: str) -> None:
    layout = LAYOUTS[name]()
    one, other = draw(layout), draw(layout, 1)
    near = align(one, other).act(other)
    trained = torch.cat([torch.full((p.size,), not p.buffer) for p in layout.parameters])
    distances = [float((each.values - one.values)[:, trained].square().sum()) for each in (other, near)]
    assert distances[1] < distances[0]
    if name in TRACED:
        x = TRACED[name][1].double()
        for each in (other, near):
            each.values[:] = each.values.abs() if "residual" in name else each.values  # of variances
        torch.testing.assert_close(near.run(x), other.run(x), rtol=1e-9, atol=1e-12)


def relabelled(axes: tuple[Axis, ...], shape: tuple[int, ...], orders: dict[str, np.ndarray]) -> np.ndarray:
    """Old place of every number of a tensor whose dimensions are reordered by their axes, `shape`."""
    new = np.indices(shape).reshape(len(shape), -1)
    names = [{atom.name for atom in axis.atoms()} for axis in axes]
    old = []
    for dim, axis in enumerate(axes):
        around = {
            name: coordinates(other, name)[new[at]]
            for at, other in enumerate(axes) if at != dim for name in names[at] - names[dim]
        }  # fmt: skip
        old.append(axis.old(new[dim], orders, around))
    return np.ravel_multi_index(old, shape).reshape(shape) if shape else np.zeros((), np.int64)


@pytest.mark.parametrize("name", LAYOUTS)
def test_permuting_tensors_by_their_axes_is_the_symmetry(name: str) -> None:
    layout = LAYOUTS[name]()
    layout = Layout.from_json(layout.to_json())
    element = NeuronPermutation.sample(layout, torch.Generator().manual_seed(0))
    for parameter in (each for each in layout.parameters if each.shape):
        axes = layout.axes[parameter.name]
        assert tuple(axis.size for axis in axes) == parameter.shape
        places = element.places.numpy()[layout.slices[parameter.name]] - layout.slices[parameter.name].start
        assert np.array_equal(relabelled(axes, parameter.shape, element.orders), places.reshape(parameter.shape)), axes


def test_axes_of_packed_tensors_are_told() -> None:
    layout = layout_of("transformer")
    rows, columns = layout.axes["1.self_attn.in_proj_weight"]
    assert [part.size for part in rows.parts] == [16, 16, 16] and columns.free  # type: ignore[attr-defined]
    assert all(len(part.atoms()) == 2 for part in rows.parts)  # type: ignore[attr-defined]  # head × dimension
    gates = layout_of("recurrent").axes["lstm.weight_hh_l0"][0]
    assert [part.name for part in gates.parts] == [layout_of("recurrent").free_atoms[0].name] * 4  # type: ignore[attr-defined]


def test_lines_begin_and_end_where_they_should() -> None:
    one, other = draw(LAYOUTS["MLP"]()), draw(LAYOUTS["MLP"](), 1)
    line = interpolate(one, other, [0.0, 0.25, 1.0])
    assert torch.equal(line.values[0], one.values[0]) and torch.equal(line.values[2], other.values[0])
    assert torch.allclose(line.values[1], 0.75 * one.values[0] + 0.25 * other.values[0])


def test_networks_that_differ_by_noise_and_order_merge_to_what_they_have_in_common() -> None:
    network = draw(LAYOUTS["CNN with skips"]())
    several = []
    for seed in range(4):
        noisy = Networks(network.values + 0.1 * draw(network.layout, seed + 5).values, network.layout)
        several.append(NeuronPermutation.sample(network.layout, torch.Generator().manual_seed(seed)).act(noisy))
    merged = merge(Networks.cat(several))
    back = align(network, merged).act(merged)
    error, before = ((each.values - network.values).square().mean().sqrt() for each in (back, several[0]))
    assert float(error) < 0.06 < float(before)
    assert torch.equal(merge(several[0]).values, several[0].values)


def test_what_cannot_be_aligned_is_told() -> None:
    mlp, siren = LAYOUTS["MLP"](), LAYOUTS["SIREN"]()
    with pytest.raises(LayoutError, match="only networks of one layout"):
        align(draw(mlp), draw(siren))
    with pytest.raises(LayoutError, match="a batch of one network"):
        align(draw(mlp), Networks(torch.zeros(2, mlp.size), mlp))
    linear = Layout.mlp((3, 2))
    with pytest.raises(LayoutError, match="nothing to align"):
        align(draw(linear), draw(linear))
    assert coordinates(mlp.groups[1].axis, "layers.0").tolist() == list(range(20)) and SWEEPS > 1


class Counted(nn.Module):
    """A batch norm, and whole numbers before all other tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", torch.arange(3))
        self.first, self.norm, self.last = nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.norm(self.first(x))))


def test_statistics_are_those_of_the_batches() -> None:
    x, module = torch.rand(7, 3, dtype=torch.float64), Counted().double().eval()
    networks = Networks.from_modules([module], trace(module, x))
    renewed = renew_statistics(networks, [x[:4], x[3:]])
    hidden = module.first(x)
    means = torch.stack([hidden[:4].mean(0), hidden[3:].mean(0)])
    torch.testing.assert_close(renewed.tensor("norm.running_mean")[0], means.mean(0), rtol=1e-12, atol=1e-12)
    assert torch.equal(renewed.state_dicts()[0]["places"], torch.arange(3))
    with pytest.raises(LayoutError, match="on batches of inputs, got none"):
        renew_statistics(networks, [])
