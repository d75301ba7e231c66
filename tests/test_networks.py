"""Networks: packing without loss, a vector space, and the errors for parameters that do not fit."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.networks.evaluating import evaluating

INR = Layout.mlp((2, 5, 3), activation="sine", names="net.{}")
DEEP = Layout.mlp((2, 4, 4, 3))
CNN = Layout.cnn((1, 4, 6, 4), kernels=(5, 3, 3), classes=3, residual=(-1, 0, 0))
LAYOUTS = [INR, DEEP, CNN]


def draw(layout: Layout, count: int = 3, seed: int = 0, channels: tuple[int, ...] = ()) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    return Networks(torch.randn(count, layout.size, *channels, generator=generator, dtype=torch.float64), layout)


def mixed() -> Networks:
    return Networks.cat([draw(INR, 2), draw(CNN, 1), draw(DEEP, 2)])


def same_bits(first: Tensor, second: Tensor) -> bool:
    views = (torch.int32, torch.int64)
    kind = views[first.dtype == torch.float64]
    return first.shape == second.shape and torch.equal(first.contiguous().view(kind), second.contiguous().view(kind))


@settings(deadline=None)
@given(
    layouts=st.lists(st.sampled_from(range(len(LAYOUTS))), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**32),
)
def test_state_dicts_come_back_bit_for_bit(layouts: list[int], dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    zero = -0.0 if seed % 2 else 1.0  # negative zeros keep their sign
    given_dicts = [
        {p.name: torch.randn(p.shape, generator=generator, dtype=dtype) * zero for p in LAYOUTS[i].parameters}
        for i in layouts
    ]
    networks = Networks.from_state_dicts(given_dicts, [LAYOUTS[i] for i in layouts])
    returned = networks.state_dicts()
    assert networks.regular == (len(set(layouts)) == 1)
    for before, after in zip(given_dicts, returned, strict=True):
        assert list(before) == list(after)
        assert all(same_bits(before[name], after[name]) for name in before)


def test_state_dicts_and_tensors_are_views() -> None:
    networks = draw(INR)
    state_dict = networks.state_dicts()[1]
    state_dict["net.0.weight"][2, 1] = 7.0
    assert networks.values[1, 5] == 7.0
    assert networks.tensor("net.0.weight")[1, 2, 1] == 7.0
    assert networks.tensor("net.1.bias").shape == (3, 3)


def test_modules_are_packed_in_the_order_of_their_state_dict() -> None:
    modules = [nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)) for _ in range(2)]
    networks = Networks.from_modules(modules)
    assert str(networks.layout) == "2 → 4 → 3 · relu"
    assert [p.name for p in networks.layout.parameters] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    expected = torch.stack([nn.utils.parameters_to_vector(module.parameters()) for module in modules])
    assert torch.equal(networks.values, expected)
    twin = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    twin.load_state_dict(networks.state_dicts()[1])
    assert all(map(torch.equal, twin.parameters(), modules[1].parameters()))


@pytest.mark.parametrize("networks", [draw(INR), mixed()], ids=["regular", "mixed"])
def test_networks_form_a_vector_space(networks: Networks) -> None:
    assert torch.equal((networks + networks).values, (networks * 2.0).values)
    assert torch.equal((2.0 * networks - networks).values, networks.values)
    assert (networks + networks * 0.5).layouts == networks.layouts
    assert networks.to(torch.float32).values.dtype == torch.float32
    assert torch.equal(networks.map(torch.abs).values, networks.values.abs())


def test_only_networks_of_the_same_layouts_add_up() -> None:
    with pytest.raises(LayoutError, match="same layouts"):
        draw(INR) + draw(DEEP)
    with pytest.raises(LayoutError, match="same layouts"):
        draw(INR, 2) + draw(INR, 3)


def test_choosing_networks_gives_a_batch() -> None:
    networks = mixed()
    assert networks.layouts == (INR, INR, CNN, DEEP, DEEP)
    for place in range(5):
        assert torch.equal(networks[place].values.reshape(-1), networks.vectors()[place])
        assert networks[place].regular
    assert networks[-1].layouts == (DEEP,)
    assert networks[[4, 0]].layouts == (DEEP, INR)
    assert networks[1:3].layouts == (INR, CNN)
    assert networks[3:].regular
    assert torch.equal(draw(INR)[torch.tensor([2, 0])].values, draw(INR).values[[2, 0]])


@pytest.mark.parametrize("networks", [mixed(), draw(INR, 4)], ids=["mixed", "one"])
def test_networks_are_chosen_by_whatever_chooses_rows(networks: Networks) -> None:
    for one in (torch.tensor(2), np.int64(2), np.array([2]), torch.arange(len(networks)) == 2):
        assert torch.equal(networks[one].values, networks[2].values)
    for none in ([], torch.zeros(len(networks), dtype=torch.bool)):
        assert len(networks[none]) == 0
    with pytest.raises(IndexError):
        networks[torch.tensor(7)]


@pytest.mark.parametrize(
    "networks", [mixed(), draw(INR, 4), draw(INR, 4, channels=(2,))], ids=["mixed", "one", "channels"]
)
def test_a_slice_is_a_view_of_the_networks_it_names(networks: Networks) -> None:
    count = len(networks)
    for start, stop in [(0, count), (1, 3), (2, None), (None, 2), (-2, None), (1, 99)]:
        found, expected = networks[start:stop], networks[list(range(count))[start:stop]]
        assert torch.equal(found.values, expected.values) and found.layouts == expected.layouts
        assert found.regular == expected.regular
        assert found.values.untyped_storage().data_ptr() == networks.values.untyped_storage().data_ptr()
    others = networks[::2]
    assert torch.equal(others.values, networks[list(range(0, count, 2))].values)


def test_chaining_batches_and_parting_them_by_layout() -> None:
    networks = mixed()
    again = Networks.cat([networks[i] for i in range(len(networks))])
    assert torch.equal(again.values, networks.values)
    assert Networks.cat([draw(INR), draw(INR, 1)]).regular
    one_layout = Networks(draw(INR, 2).values.flatten(), [INR, INR])
    assert not one_layout.regular
    assert torch.equal(Networks.cat([one_layout, draw(INR)]).values, torch.cat([draw(INR, 2).values, draw(INR).values]))
    shuffled = networks[[3, 0, 2, 4, 1]]
    for places, part in shuffled.by_layout():
        assert part.regular
        for place, vector in zip(places, part.vectors(), strict=True):
            assert torch.equal(vector, shuffled.vectors()[place])


def test_channels_travel_along() -> None:
    networks = draw(INR, 2, channels=(3,))
    assert networks.vectors()[0].shape == (INR.size, 3)
    assert networks.state_dicts()[0]["net.0.weight"].shape == (5, 2, 3)
    both = Networks.cat([networks, draw(CNN, 1, channels=(3,))])
    assert both.values.shape == (2 * INR.size + CNN.size, 3)
    assert both[2].values.shape == (1, CNN.size, 3)


@pytest.mark.parametrize(
    ("values", "layouts", "message"),
    [
        (torch.zeros(2, 9), INR, r"must be \(networks, 33\) with channels last, got \(2, 9\)"),
        (torch.zeros(33), INR, r"got \(33,\)"),
        (torch.zeros(1, 33, 2, 2), INR, r"got \(1, 33, 2, 2\)"),
        (torch.zeros(33), [INR, INR], r"must be \(66,\)"),
    ],
)
def test_values_must_fit_their_layouts(values: Tensor, layouts: Layout | list[Layout], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        Networks(values, layouts)


def test_a_mixed_batch_has_no_single_layout() -> None:
    with pytest.raises(LayoutError, match="a mixed batch of 5 networks has no single layout"):
        _ = mixed().layout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net.0.bias": None}, r"b\.pt: not a network .* missing tensors \['net\.0\.bias'\]"),
        ({"extra": torch.zeros(1)}, r"b\.pt: .* unexpected \['extra'\]"),
        ({"net.0.weight": torch.zeros(2, 5)}, r"b\.pt: net\.0\.weight has shape \(2, 5\), expected \(5, 2\)"),
        ({"net.1.bias": torch.tensor([0.0, float("nan"), 0.0])}, r"b\.pt: net\.1\.bias holds NaN"),
        ({"net.1.bias": torch.tensor([0.0, float("inf"), 0.0])}, r"b\.pt: net\.1\.bias holds NaN, infinite"),
        ({"net.1.bias": torch.tensor([0, 1, 2])}, r"b\.pt: net\.1\.bias holds .* non-float"),
    ],
)
def test_a_bad_state_dict_names_the_file_and_the_tensor(change: dict[str, Any], message: str) -> None:
    good = draw(INR, 2).to(torch.float32).state_dicts()
    bad = {name: tensor for name, tensor in {**good[1], **change}.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        Networks.from_state_dicts([good[0], bad], INR, names=["a.pt", "b.pt"])


def test_as_many_layouts_as_state_dicts() -> None:
    with pytest.raises(LayoutError, match="1 state dicts cannot be packed with 2 layouts"):
        Networks.from_state_dicts(draw(INR, 1).state_dicts(), [INR, DEEP])
    with pytest.raises(LayoutError, match="0 state dicts"):
        Networks.from_state_dicts([], INR)


def test_the_printed_form_fits_on_a_line() -> None:
    assert repr(draw(INR)) == "Networks(3 × [2 → 5 → 3 · sine], torch.float64, cpu)"
    assert "many layouts" in repr(mixed())


def test_functions_of_one_layout_answer_about_any_batch() -> None:
    """In the order of the batch: a row for every network, or as many numbers as each has."""
    layouts = [Layout.mlp((2, 3, 1), "sine"), Layout.mlp((2, 4, 4, 1), "relu")]
    parts = [Networks(torch.randn(2, each.size, dtype=torch.float64), each) for each in layouts]
    for batch in (parts[0], Networks.cat(parts)[[2, 0, 3, 1]]):
        sums = batch.stack_by_layout(lambda part: part.values.sum(1, keepdim=True))
        assert sums.shape == (len(batch), 1)
        assert sums[:, 0].tolist() == [vector.sum().item() for vector in batch.vectors()]
        doubled = batch.cat_by_layout(lambda part: 2 * part.values)
        assert torch.equal(doubled, 2 * batch.values)


def test_no_networks_are_no_batch() -> None:
    with pytest.raises(LayoutError, match="no networks to put into one batch"):
        Networks.cat([])


def test_what_is_frozen_stays_frozen_after_an_evaluation() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    module[1].eval()
    with evaluating(module):
        assert not any(each.training for each in module.modules())
    assert [each.training for each in module] == [True, False, True] and module.training
