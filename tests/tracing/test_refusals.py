"""What cannot be traced is refused by name, with what to do about it: nothing is ever guessed."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.errors import LayoutError
from neural_graphs.testing import assert_same_function

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Between(nn.Module):
    """A linear layer, something, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6, dtype=torch.float64), nn.Linear(6, 2, dtype=torch.float64)

    def something(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.something(self.first(x)))


class Spectrum(Between):
    def something(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x).abs()


class Determined(Between):
    def something(self, x: Tensor) -> Tensor:
        return x * torch.linalg.det(x[:, None] * x[:, :, None] + torch.eye(6, dtype=x.dtype))[:, None]


@pytest.mark.parametrize(("module", "operator"), [(Spectrum(), "fft"), (Determined(), "linalg_det")])
def test_an_operator_without_a_rule_is_refused_by_name(module: nn.Module, operator: str) -> None:
    with pytest.raises(LayoutError, match=operator) as refusal:
        ng.trace(module, X)
    assert "rule" in str(refusal.value)


class Branching(Between):
    def something(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Routed(Between):
    """Every expert sees the points that chose it, and only those."""

    def something(self, x: Tensor) -> Tensor:
        found = torch.zeros_like(x)
        for place in range(2):
            (points,) = torch.where(x[:, :2].argmax(-1) == place)
            found.index_add_(0, points, x[points].tanh() * place)
        return found


def test_numbers_that_values_count_are_refused_with_a_way_out() -> None:
    with pytest.raises(LayoutError, match=r"aten\.\w+\.default \(\w+\): how many .* zeros\.scatter"):
        ng.trace(Routed(), X)


def test_a_choice_that_is_read_as_a_number_stays() -> None:
    """The answer has the number of the place in it; what is added up beside it has no order."""

    class Choosing(Between):
        def forward(self, x: Tensor) -> Tensor:
            scores = self.first(x)
            return self.last(scores).relu().sum(-1) + scores.argmax(-1)

    module = Choosing()
    layout = ng.trace(module, X)
    assert [atom.size for atom in layout.free_atoms] == [2]
    assert_same_function(module, layout, X)


def test_control_flow_that_depends_on_values_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"Branching cannot be traced.*depend on the values"):
        ng.trace(Branching(), X)


def test_an_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LayoutError, match="Between cannot be traced"):
        ng.trace(Between(), X[:, :2])


class Turned(Between):
    """Hidden neurons are turned in the complex plane."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = nn.Parameter(torch.ones(6, dtype=torch.complex128))

    def something(self, x: Tensor) -> Tensor:
        return (x * self.phase).abs()


def test_complex_parameters_are_refused() -> None:
    """Else they would be carried along, and lose their imaginary part on the way."""
    with pytest.raises(LayoutError, match="phase holds complex numbers"):
        ng.trace(Turned(), X)


class Sorted(Between):
    def something(self, x: Tensor) -> Tensor:
        return x.sort(-1).values


class Summed(Between):
    def something(self, x: Tensor) -> Tensor:
        return x.cumsum(-1)


class Shifted(Between):
    def something(self, x: Tensor) -> Tensor:
        return torch.relu(x.roll(1, -1)) + x


class Strided(Between):
    def something(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, ::2] * x[:, 1::2], x[:, :3]], -1)


class Largest(Between):
    def something(self, x: Tensor) -> Tensor:
        return x * (x == x.max(-1, keepdim=True).values)


class Padded(Between):
    def something(self, x: Tensor) -> Tensor:
        return F.pad(x, (1, -1)).tanh()


class Gathered(Between):
    def something(self, x: Tensor) -> Tensor:
        return x[:, torch.tensor([0, 0, 1, 3, 2, 5])]


class Normalised(Between):
    def something(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * F.softmax(x, -1)


class Scanned(Between):
    """Neurons become places: a window slides over them, so their order matters."""

    def __init__(self) -> None:
        super().__init__()
        self.window = nn.Conv1d(1, 1, 3, padding=1, dtype=torch.float64)

    def something(self, x: Tensor) -> Tensor:
        return torch.tanh(self.window(x[:, None])[:, 0])


class Pooled(Between):
    """As `Scanned`: neighbours are averaged."""

    def something(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(x[:, None], 3, 1, 1)[:, 0].exp()


class Stretched(Between):
    def something(self, x: Tensor) -> Tensor:
        return F.interpolate(x[:, None, :3], scale_factor=2, mode="linear")[:, 0].tanh()


class Mapped(Between):
    """Six neurons become a map of two by three, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, 4, 3, padding=1, dtype=torch.float64)

    def something(self, x: Tensor) -> Tensor:
        return self.filters(x.view(-1, 1, 2, 3)).relu().mean(1).flatten(1)


class Outer(Between):
    """All pairs of neurons: both places of a pair move together."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.Linear(36, 6, dtype=torch.float64)

    def something(self, x: Tensor) -> Tensor:
        return self.pairs((x[:, :, None] - x[:, None, :]).relu().flatten(1)).tanh()


class Diagonal(Between):
    def something(self, x: Tensor) -> Tensor:
        return torch.tril(x[:, :, None] * x[:, None, :]).sum(-1)


class Compared(Between):
    """With the first of them, which is thereby told apart."""

    def something(self, x: Tensor) -> Tensor:
        return torch.where(x > x[:, :1], x, x.square())


class Folded(Between):
    """Pairs of neighbours compete, threes of them are added."""

    def something(self, x: Tensor) -> Tensor:
        return F.softmax(x.view(-1, 3, 2), -1).flatten(1) + x.view(-1, 2, 3).sum(1).repeat(1, 2)


class Flipped(Between):
    def something(self, x: Tensor) -> Tensor:
        return x * x.flip(-1)


class Picked(Between):
    """The place of the largest neuron is a number that the rest depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 6, dtype=torch.float64)

    def something(self, x: Tensor) -> Tensor:
        return x + self.table(x.argmax(-1))


class Counted(Between):
    """Which of the neurons is the largest is read as a number."""

    def something(self, x: Tensor) -> Tensor:
        return x * x.argmax(-1, keepdim=True)


class Placed(Between):
    """The rank of every neuron: of places that are sorted again."""

    def something(self, x: Tensor) -> Tensor:
        return x * x.argsort(-1).argsort(-1)


class Named(Between):
    """The first neuron counts more, wherever it ranks."""

    def something(self, x: Tensor) -> Tensor:
        return x * (x.sort(-1).indices == 0)


class Largest1d(Between):
    """Counted through the whole batch."""

    def something(self, x: Tensor) -> Tensor:
        return x * x.argmax()


class Moved(Between):
    """Neurons are put into places that their own values say, not where they were."""

    def something(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x).scatter(-1, x.argsort(-1), x)


class PutApart(Between):
    """Every neuron is put at other points, which constants say."""

    def something(self, x: Tensor) -> Tensor:
        places = torch.stack([torch.arange(len(x)).roll(shift) for shift in range(x.shape[1])], 1)
        return torch.zeros_like(x).scatter_add(0, places, x).cumsum(0)


class PutInPart(Between):
    """One list of choices for many neurons: only the first of them is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 5, dtype=torch.float64)

    def something(self, x: Tensor) -> Tensor:
        which = self.router(x).mean(0).topk(2).indices
        return x * x.mean(0)[:, None].repeat(1, 5).scatter(1, which[None], 0).sum(1)


class Fetched(Between):
    """Other neurons at the places that these say."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(3, 6, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        places = self.first(x).topk(2, -1).indices
        return self.last(self.first(x) * self.other(x).gather(-1, places).sum(-1, keepdim=True))


class WeightNormed(Between):
    """Weights that are computed from parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(self.first)


class Adapted(Between):
    """A low-rank change of a weight: the rank is a group of neurons too."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in ((6, 2), (2, 6)))
        self.middle = nn.Linear(6, 6, dtype=torch.float64)

    def something(self, x: Tensor) -> Tensor:
        return F.linear(x.tanh(), self.middle.weight + self.up @ self.down, self.middle.bias).tanh()


class Powered(Between):
    """A parameter that is one number."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def something(self, x: Tensor) -> Tensor:
        return x.abs().pow(self.power) / self.power


class Similar(Between):
    """The networks of a batch look at each other."""

    def something(self, x: Tensor) -> Tensor:
        return (x @ x.t()).softmax(-1) @ x


ODD = [
    Sorted, Summed, Shifted, Strided, Largest, Padded, Gathered, Normalised, Scanned, Pooled, Stretched, Mapped, Outer,
    Diagonal, Compared, Folded, Flipped, Picked, Counted, Placed, Named,
    Largest1d, Moved, PutApart, PutInPart, Fetched, WeightNormed, Adapted, Powered, Similar,
]  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_what_is_not_refused_is_right(kind: type[Between]) -> None:
    """Operators for which the order of neurons matters: refused, or traced with no more symmetry than there is."""
    module = kind().double()
    try:
        layout = ng.trace(module, X)
    except LayoutError:
        return
    assert_same_function(module, layout, X)
