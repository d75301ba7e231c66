"""Test the tester: each assertion passes a sound module, fails on one broken on purpose, and says where."""

import pytest
import torch
from torch import Tensor, nn

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.symmetry import Kind, PositiveScale, SignFlip, sample_symmetry
from neural_graphs.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_invariant,
    assert_learns_identity,
    assert_not_too_symmetric,
    assert_nothing_idle,
    assert_same_function,
    relative_error,
    symmetry_error,
)


class Sums(nn.Module):
    """A sound reader: per network and output neuron, what its bias and its weights from hidden neurons add up to."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(3).double()), nn.Parameter(torch.zeros(3).double())

    def forward(self, networks: Networks) -> Tensor:
        rows = []
        for state_dict in networks.state_dicts():
            names = list(state_dict)
            first = (state_dict[names[0]].flatten(1) @ state_dict[names[0]].new_tensor([1.0, 2.0])).square().sum()
            rows.append(state_dict[names[-2]].pow(3).sum(1) + state_dict[names[-1]] + first)
        return torch.stack(rows) * self.scale + self.shift


class Halves(nn.Module):
    """A sound editor: half of every parameter, and of every bias a bit more."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.more = nn.Parameter(torch.tensor(0.5).double()), nn.Parameter(torch.tensor(0.1).double())

    def edit(self, name: str, tensor: Tensor) -> Tensor:
        return tensor * (self.part + self.more) if name.endswith("bias") else tensor * self.part

    def forward(self, networks: Networks) -> Networks:
        edits = [torch.cat([self.edit(n, t).flatten() for n, t in s.items()]) for s in networks.state_dicts()]
        return networks.with_values(torch.stack(edits) if networks.regular else torch.cat(edits))


class ReadShifted(Halves):
    """Biases are read where they would be if the input neurons were not counted (a defect of the released code)."""

    def forward(self, networks: Networks) -> Networks:
        edits = super().forward(networks)
        layout = networks.layout
        names = [group.bias for group in layout.groups if group.bias]
        biases = torch.cat([edits.tensor(name) for name in names], 1).roll(layout.role_count("input"), 1)
        parts = dict(zip(names, biases.split([layout.shapes[name][0] for name in names], 1), strict=True))
        columns = [parts[n] if n in parts else edits.tensor(n).flatten(1) for n in layout.shapes]
        return networks.with_values(torch.cat(columns, 1))


class Centred(Sums):
    """Takes the mean over the whole mini-batch, as the norm of the released code does."""

    def forward(self, networks: Networks) -> Tensor:
        answer = super().forward(networks)
        return answer - answer.mean(0)


class Blind(Sums):
    """Cannot tell one input from another, or one output: the sum of squares of every tensor."""

    def forward(self, networks: Networks) -> Tensor:
        return torch.stack([torch.stack([t.square().sum() for t in s.values()][:3]) for s in networks.state_dicts()])


class Idle(Sums):
    """Has a parameter that nothing reads, and one that is multiplied by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten, self.muted = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3).double())

    def forward(self, networks: Networks) -> Tensor:
        return super().forward(networks) + 0.0 * self.muted


class Wild(Sums):
    """The square root of zero: a finite answer with an infinite gradient."""

    def forward(self, networks: Networks) -> Tensor:
        return super().forward(networks) + self.shift.abs().sqrt()


class Stuck(Halves):
    """Reads weights and never biases."""

    def edit(self, name: str, tensor: Tensor) -> Tensor:
        return 0 * tensor if name.endswith("bias") else super().edit(name, tensor)


def first_numbers(networks: Networks) -> Tensor:
    """Reads hidden neurons in the order they happen to have."""
    return networks.values[:, :3]


@pytest.fixture
def networks(inr) -> Networks:
    return inr.networks()


def test_sound_modules_pass(networks: Networks, generator: torch.Generator, strangers) -> None:
    assert_invariant(Sums(), networks, generator)
    assert_equivariant(Halves(), networks, generator)
    assert_equivariant(Halves(), strangers.networks(), generator)
    assert_batch_independent(Sums(), networks)
    assert_batch_independent(Halves(), networks, strangers.networks())
    assert_not_too_symmetric(Sums(), networks)
    assert_nothing_idle(Sums(), networks)
    assert_nothing_idle(Halves(), networks)
    assert_learns_identity(Halves(), networks)
    assert_same_function(networks, networks, torch.ones(4, 2).double())


def test_a_reader_of_neuron_order_is_not_invariant(networks: Networks) -> None:
    with pytest.raises(AssertionError, match=r"moved by a NeuronPermutation: by \d.\de.* of the largest .* network \d"):
        assert_invariant(first_numbers, networks)


def test_biases_read_shifted_by_the_inputs_are_not_equivariant(networks: Networks) -> None:
    with pytest.raises(AssertionError, match="edits do not move along") as failure:
        assert_equivariant(ReadShifted(), networks)
    table = {line.split()[0]: line for line in str(failure.value).splitlines()[2:]}
    off = {name for name, line in table.items() if line.endswith("← off")}
    assert set(table) == set(networks.layout.shapes)
    assert off == {"layers.0.bias", "layers.1.bias", "layers.2.bias"}


@pytest.mark.parametrize("broken", [1e-9, 1e-6])
def test_an_error_in_the_last_digits_is_noticed(networks: Networks, broken: float) -> None:
    ramp = 1 + broken * torch.linspace(0, 1, networks.layout.size, dtype=torch.float64)
    with pytest.raises(AssertionError, match="edits do not move along"):
        assert_equivariant(lambda n: Halves()(n) * ramp, networks)
    assert_equivariant(lambda n: Halves()(n) * ramp, networks, tolerance=10 * broken)


@pytest.mark.parametrize("kind", [SignFlip, PositiveScale])
def test_other_symmetries_can_be_asked_for(kind: Kind) -> None:
    layout = Layout.mlp((2, 5, 3), "none")  # allows both
    networks = Networks(torch.randn(2, layout.size, generator=torch.Generator().manual_seed(0)).double(), layout)
    assert_invariant(lambda n: n.tensor("layers.1.bias"), networks, kind=kind)
    with pytest.raises(AssertionError, match=f"moved by a {kind.__name__}"):
        assert_invariant(lambda n: n.tensor("layers.1.weight").sum(2), networks, kind=kind)


def test_a_mean_over_the_batch_shows_in_other_company(networks: Networks) -> None:
    with pytest.raises(AssertionError, match=r"network 0 .* another output alone than in its batch of 3"):
        assert_batch_independent(Centred(), networks)


def test_a_norm_over_copies_shows_among_strangers(networks: Networks) -> None:
    def scaled(networks: Networks) -> Tensor:
        answer = Sums()(networks)
        return answer / answer.abs().max()

    same = Networks(networks.values[:1].expand(3, -1), networks.layout)
    with pytest.raises(AssertionError, match="another output before strangers"):
        assert_batch_independent(scaled, same)


def test_order_blind_readers_are_too_symmetric(networks: Networks) -> None:
    with pytest.raises(AssertionError, match=r"permuting the input neurons changes the answer by \d.\de"):
        assert_not_too_symmetric(Blind(), networks)
    with pytest.raises(AssertionError, match="permuting the output neurons"):
        assert_not_too_symmetric(lambda n: Sums()(n).sum(1, keepdim=True), networks)
    with pytest.raises(AssertionError, match="permuting the input neurons"):
        assert_not_too_symmetric(Halves(), networks)  # an editor that treats every input alike


def test_idle_and_wild_parameters_are_named(networks: Networks) -> None:
    with pytest.raises(AssertionError, match=r"these get no gradient: forgotten, muted$"):
        assert_nothing_idle(Idle(), networks)
    with pytest.raises(AssertionError, match="infinite or NaN ones for shift"):
        assert_nothing_idle(Wild(), networks)


def test_a_reader_of_weights_only_cannot_learn_the_identity(networks: Networks) -> None:
    with pytest.raises(AssertionError, match=r"is left: layers.0.bias \(1.000\), layers.1.bias .*, layers.2.bias"):
        assert_learns_identity(Stuck(), networks)


def test_another_function_is_noticed(networks: Networks) -> None:
    changed = networks.with_values(networks.values.clone())
    changed.values[1, 0] += 1e-6
    x = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(4, 2)
    with pytest.raises(AssertionError, match=r"the functions differ by .* most in network 1"):
        assert_same_function(changed, networks, x)
    with pytest.raises(AssertionError, match="outputs of one shape"):
        assert_same_function(changed[0], networks, x)


def test_modules_are_compared_with_networks() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3)).double()
    values = nn.utils.parameters_to_vector(module.parameters()).detach()[None]
    assert_same_function(module, Networks(values, Layout.mlp((2, 4, 3))), torch.ones(4, 2).double())
    assert module.training and all(part.training for part in module)


def test_nan_is_an_error_and_not_a_pass(networks: Networks) -> None:
    def sometimes(networks: Networks) -> Tensor:
        answer = Sums()(networks)
        return torch.where(answer == answer.max(), torch.nan, answer)

    for assertion in (assert_invariant, assert_batch_independent):
        with pytest.raises(AssertionError, match="by inf"):
            assertion(sometimes, networks)
    with pytest.raises(AssertionError, match="by inf"):
        assert_not_too_symmetric(sometimes, networks)
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0.0
    assert relative_error(torch.tensor([1.0, 2.5]), torch.tensor([1.0, -2.0])) == 2.25


def test_dropout_is_off_while_measuring(networks: Networks) -> None:
    dropping = nn.Sequential(Sums(), nn.Dropout(0.5))
    assert_invariant(dropping, networks)
    assert_nothing_idle(dropping, networks)
    assert dropping.training and dropping[1].training


def test_the_wrong_kind_of_answer_is_pointed_out(networks: Networks) -> None:
    with pytest.raises(AssertionError, match="judge edits with assert_equivariant"):
        assert_invariant(Halves(), networks)
    with pytest.raises(AssertionError, match="judge outputs with assert_invariant"):
        assert_equivariant(Sums(), networks)


def test_empty_questions_are_refused() -> None:
    bare = Networks(torch.ones(2, 3).double(), Layout.mlp((2, 1)))
    with pytest.raises(ValueError, match="no NeuronPermutation moves"):
        assert_invariant(Sums(), bare)
    single = Networks(torch.ones(2, 7).double(), Layout.mlp((1, 2, 1)))
    with pytest.raises(ValueError, match="nothing to permute"):
        assert_not_too_symmetric(Sums(), single)


def test_the_seed_repeats_the_measurement(networks: Networks) -> None:
    symmetries = [sample_symmetry(networks, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    errors = [symmetry_error(first_numbers, networks, symmetry) for symmetry in symmetries]
    assert errors[0] == errors[1] != errors[2]
