"""Symmetry, company and gradients of metanetworks of linear layers, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neural_graphs import InputSpec, Layout, Networks
from neural_graphs.errors import LayoutError
from neural_graphs.nn.run import checkpointing
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_invariant,
    assert_learns_identity,
    assert_not_too_symmetric,
    assert_nothing_idle,
    symmetry_error,
)
from tests.laws.conftest import NAMED, ONE_LAYOUT, Case
from tests.linear.models import EDITORS, READERS, SAME_TENSORS, Make, built

CASES = [*ONE_LAYOUT, Case("mixed widths", tuple(SAME_TENSORS))]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_reader = pytest.mark.parametrize("reader", READERS)
every_editor = pytest.mark.parametrize("editor", EDITORS)


@every_case
@every_reader
def test_answers_do_not_change(case: Case, reader: str) -> None:
    module, networks = built(READERS[reader], case.family), case.networks()
    assert_invariant(module, networks)
    assert_not_too_symmetric(module, networks)
    assert_nothing_idle(module, networks)


@every_case
@every_editor
def test_edits_move_along(case: Case, editor: str) -> None:
    module, networks = built(EDITORS[editor], case.family), case.networks()
    assert_equivariant(module, networks)
    assert_not_too_symmetric(module, networks)
    assert_nothing_idle(module, networks)


@pytest.mark.parametrize("name", ["residual CNN", "attention", "tied recurrence"])
@every_editor
def test_one_swap_of_one_layer_is_enough_to_see(name: str, editor: str) -> None:
    case = NAMED[name]
    module, networks = built(EDITORS[editor], case.family), case.networks()
    for atom in networks.layout.free_atoms:
        swap = NeuronPermutation(networks.layout, {atom.name: torch.arange(atom.size).roll(1).numpy()})
        assert symmetry_error(module, networks, swap) < 1e-10


@pytest.mark.parametrize("case", [NAMED["INR"], NAMED["attention"], CASES[-1]], ids=lambda case: case.name)
@every_reader
def test_the_same_alone_among_equals_and_among_strangers(case: Case, reader: str) -> None:
    assert_batch_independent(built(READERS[reader], case.family), case.networks())


@every_editor
def test_edits_too(editor: str) -> None:
    mixed = CASES[-1]
    assert_batch_independent(built(EDITORS[editor], mixed.family), mixed.networks(), NAMED["INR"].networks(1))


@every_reader
def test_regular_and_mixed_batches_agree_in_values_and_gradients(reader: str) -> None:
    case = NAMED["INR"]
    module, networks = built(READERS[reader], case.family), case.networks()
    ragged = Networks(networks.values.flatten(), networks.layouts)
    for one, other in zip(gradients(module, networks), gradients(module, ragged), strict=True):
        torch.testing.assert_close(one, other.reshape(one.shape), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [READERS["DWSNet with norms"], READERS["NFN-HNP"], EDITORS["UNF with ends"]])
@pytest.mark.parametrize("case", [NAMED["INR"], CASES[-1]], ids=lambda case: case.name)
def test_large_networks_are_read_again_for_the_backward_pass(
    case: Case, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answers bit for bit; gradients are the same summands."""
    module, networks = built(make, case.family), case.networks()
    expected = gradients(module, networks)
    counted = Counter(module)
    kept = counted.during(lambda: gradients(module, networks))
    monkeypatch.setattr(checkpointing, "LARGE", {"cpu": 0})
    found = gradients(module, networks)
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14 * float(other.abs().max()))
    assert counted.during(lambda: gradients(module, networks)) > kept


class Counter:
    """How often the first grid of the first layer is written."""

    def __init__(self, module: torch.nn.Module):
        self.count = 0
        module.layers[0].into[0].register_forward_hook(self)

    def __call__(self, *_: object) -> None:
        self.count += 1

    def during(self, run: Callable[[], object]) -> int:
        self.count = 0
        run()
        return self.count


def gradients(module: torch.nn.Module, networks: Networks) -> list[Tensor]:
    values = networks.values.detach().clone().requires_grad_()
    found = module(networks.with_values(values))
    answer = found.values if isinstance(found, Networks) else found
    weight = torch.randn(answer.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return [answer.detach(), *torch.autograd.grad((answer * weight).sum(), [values, *module.parameters()])]


@pytest.mark.parametrize("editor", ["DWSNet", "NFN-NP", "NFN-HNP", "NFT", "UNF between neighbours"])
def test_editors_learn_to_return_what_they_read(editor: str) -> None:
    layout = Layout.mlp((2, 4, 3), "sine")
    generator = torch.Generator().manual_seed(1)
    networks = Networks(0.3 * torch.randn(16, layout.size, generator=generator, dtype=torch.float64), layout)
    options = {"sigma": 0.5} if editor.startswith("NF") else {}
    module = built(EDITORS[editor], InputSpec.of([layout]), **options)
    assert_learns_identity(module, networks, rate=0.02)


def test_networks_of_other_tensors_are_refused() -> None:
    module = built(READERS["DWSNet"], InputSpec.of([Layout.mlp((2, 5, 4, 1))]))
    for other in (Layout.mlp((2, 5, 1)), Layout.mlp((3, 5, 4, 1)), Layout.mlp((2, 5, 4, 2))):
        with pytest.raises(LayoutError, match="the same tensors and differ in free sizes only"):
            module(Networks(torch.zeros(1, other.size, dtype=torch.float64), other))
    deep = InputSpec.of([Layout.mlp((2, 5, 4, 1)), Layout.mlp((2, 5, 5, 5, 1))])
    with pytest.raises(LayoutError, match="differ in free sizes only"):
        layout = Layout.mlp((2, 5, 4, 1))
        built(READERS["UNF"], deep)(Networks(torch.zeros(1, layout.size, dtype=torch.float64), layout))


def test_permuted_ends_read_other_numbers_of_inputs() -> None:
    """NP layers have no parameters for single inputs, so networks with more of them are read, too."""
    layouts = [Layout.mlp((2, 5, 4, 3)), Layout.mlp((4, 5, 4, 2))]
    module = built(READERS["NFN-NP"], InputSpec.of(layouts))
    networks = Networks(torch.randn(sum(each.size for each in layouts)).double(), layouts)
    assert module(networks).shape == (2, 3)
    assert_batch_independent(module, networks)
