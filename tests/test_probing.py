"""Probes from deep linear generators, and a reader that sees nothing but the answers of networks to them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neural_graphs import InputSpec, Layout, Networks, trace
from neural_graphs.errors import ConfigError
from neural_graphs.nn import ImageProbes, LinearProbes, ProbeGen
from neural_graphs.nn.run import microbatch
from neural_graphs.nn.run.microbatch import mean_loss, pieces
from neural_graphs.symmetry import Kind, NeuronPermutation, PositiveScale, SignFlip
from neural_graphs.testing import assert_invariant, relative_error

INR = Layout.mlp((2, 6, 5, 3), "sine", offset=0.5)
RELU = Layout.mlp((3, 5, 4, 2), "relu")
CNN = Layout.cnn((1, 4, 3), (3, 5), 2, residual=(-1, 0))


def networks(layout: Layout, count: int = 4, seed: int = 0) -> Networks:
    draw = torch.Generator().manual_seed(seed)
    return Networks(torch.randn(count, layout.size, generator=draw, dtype=torch.float64), layout)


def reader(*layouts: Layout, shape: tuple[int, ...] | None = None) -> ProbeGen:
    torch.manual_seed(0)
    return ProbeGen(InputSpec.of(layouts), 3, probes=7, shape=shape, hidden=(16,)).double()


@pytest.mark.parametrize(
    ("layout", "kind", "shape"),
    [
        (INR, NeuronPermutation, None),
        (INR, SignFlip, None),
        (RELU, PositiveScale, None),
        (CNN, NeuronPermutation, (1, 9, 6)),
    ],
)
def test_what_leaves_the_function_leaves_the_answer(layout: Layout, kind: Kind, shape: tuple[int, ...] | None) -> None:
    assert_invariant(reader(layout, shape=shape), networks(layout), kind=kind)


def test_a_traced_network_is_probed_as_its_module_runs() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.gate, self.two = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(torch.tanh(self.one(x)) * torch.sigmoid(self.gate(x)))

    modules = [Gated().double() for _ in range(3)]
    layout = trace(modules[0], torch.randn(4, 3, dtype=torch.float64))
    probed, batch = reader(layout), Networks.from_modules(modules, layout)
    expected = torch.stack([module(probed.probes()).flatten() for module in modules])
    assert relative_error(probed.embed(batch).detach(), expected.detach()) < 1e-12
    assert_invariant(probed, batch)


def test_networks_of_all_shapes_keep_no_company() -> None:
    deep = Layout.mlp((2, 4, 7, 4, 3), "tanh")
    module, every = reader(INR, deep), [networks(INR, 2), networks(deep, 1), networks(INR, 1, seed=1)]
    with torch.no_grad():
        together = module(Networks.cat(every))
        assert relative_error(together, torch.cat([module(each) for each in every])) < 1e-12


def test_pieces_have_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch, targets = reader(INR), networks(INR, 9), torch.arange(9) % 3
    whole = torch.autograd.grad(F.cross_entropy(module.read(batch), targets), list(module.parameters()))
    assert all(float(grad.abs().max()) > 0 for grad in whole)  # nothing is idle
    monkeypatch.setitem(microbatch.BUDGET, "cpu", 90)
    assert len(pieces(module, batch)) > 2
    loss, _ = mean_loss(module, batch, targets, F.cross_entropy)
    found = torch.autograd.grad(loss, list(module.parameters()))
    assert all(relative_error(a, b) < 1e-10 for a, b in zip(found, whole, strict=True))


def test_dropout_repeats_with_the_seed_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ProbeGen(InputSpec.of([INR]), 3, probes=7, hidden=(64,), dropout=0.5).double().train()
    batch, targets = networks(INR, 9), torch.arange(9) % 3
    monkeypatch.setitem(microbatch.BUDGET, "cpu", 90)
    assert len(pieces(module, batch)) > 2

    def draw(threads: int) -> torch.Tensor:
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        torch.manual_seed(3)
        return mean_loss(module, batch, targets, F.cross_entropy)[1]

    assert torch.equal(draw(1), draw(4))


def test_generators_are_linear_in_their_codes() -> None:
    for make in (LinearProbes(5, (2, 3)), ImageProbes(5, (2, 9, 6))):
        made = make.double()
        shape = (5, 2, 3) if isinstance(made, LinearProbes) else (5, 2, 9, 6)
        assert tuple(made().shape) == shape
        first = made().detach()
        codes = made.codes.detach().clone()
        with torch.no_grad():
            made.codes.zero_()
            nothing = made()
            made.codes.copy_(3 * codes)
        assert relative_error(made().detach() - nothing, 3 * (first - nothing)) < 1e-10


def test_probes_start_in_the_square() -> None:
    for made in (LinearProbes(500, (2,)), ImageProbes(50, (1, 28, 28))):
        assert 0.4 < float(made().detach().std()) < 0.8


def test_it_learns_what_a_network_does() -> None:
    torch.manual_seed(0)
    layout = Layout.mlp((2, 8, 1), "tanh")
    batch = networks(layout, 600)
    targets = (batch.run(torch.tensor([[0.3, -0.2]], dtype=torch.float64))[:, 0, 0] > 0).long()
    module = ProbeGen(InputSpec.of([layout]), 2, probes=16, hidden=(64,)).double()
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(module.read(batch[:500]), targets[:500]).backward()
        optimizer.step()
    found = (module.read(batch[500:]).argmax(1) == targets[500:]).double().mean()
    assert float(found) > 0.85


@pytest.mark.parametrize(("count", "shape"), [(0, (2,)), (3, ()), (3, (0, 2))])
def test_probes_of_nothing_are_refused(count: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="at least one probe"):
        ProbeGen(InputSpec(2, 1, 1), 3, probes=count, shape=shape)
