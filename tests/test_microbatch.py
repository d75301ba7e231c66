"""Piece by piece gives what one go gives: outputs, loss, gradients, and dropout that can be repeated."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNN, NGT, Metanetwork, NGGNNEditor
from neural_graphs.nn.run import microbatch
from neural_graphs.nn.run.dropout import Dropout, dropout_generator
from neural_graphs.nn.spec import InputSpec

LAYOUTS = [Layout.mlp((2, 5, 1), "sine"), Layout.mlp((2, 4, 3, 1), "sine")]
FAMILY = InputSpec.of(LAYOUTS)
LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 2])


def regular() -> Networks:
    generator = torch.Generator().manual_seed(0)
    return Networks(torch.randn(7, LAYOUTS[0].size, generator=generator, dtype=torch.float64), LAYOUTS[0])


def mixed() -> Networks:
    generator = torch.Generator().manual_seed(1)
    layouts = [LAYOUTS[i % 2] for i in range(7)]
    values = torch.randn(sum(layout.size for layout in layouts), generator=generator, dtype=torch.float64)
    return Networks(values, layouts)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return int(request.param)


@pytest.fixture(params=[1, 3], ids=["single", "in threes"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of so many networks."""
    monkeypatch.setattr(microbatch, "BUDGET", {"cpu": request.param})
    monkeypatch.setattr(Metanetwork, "numbers", lambda self, networks: 1)


def gradients(loss: Tensor, module: Metanetwork) -> dict[str, Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("networks", [regular(), mixed()], ids=["regular", "mixed"])
@pytest.mark.parametrize("make", [lambda: NGGNN(FAMILY, 3, width=8, depth=2), lambda: NGT(FAMILY, 3, depth=3)])
@pytest.mark.usefixtures("threads", "size")
def test_loss_gradients_and_outputs_equal_those_of_one_go(make: type, networks: Networks) -> None:
    torch.manual_seed(0)
    module = make().double()
    loss, outputs = microbatch.mean_loss(module, networks, LABELS, F.cross_entropy)
    found = gradients(3 * loss, module)
    whole = module.read(networks)
    expected = gradients(3 * F.cross_entropy(whole, LABELS), module)
    torch.testing.assert_close(loss, F.cross_entropy(whole, LABELS), rtol=1e-12, atol=0)
    torch.testing.assert_close(outputs, whole.detach(), rtol=1e-10, atol=1e-13)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("networks", [regular(), mixed()], ids=["regular", "mixed"])
@pytest.mark.usefixtures("threads", "size")
def test_reading_without_gradients_keeps_the_order(networks: Networks) -> None:
    reader, editor = NGGNN(FAMILY, 3, width=8, depth=2).double(), NGGNNEditor(FAMILY, width=8, depth=2).double()
    with torch.no_grad():
        torch.testing.assert_close(reader(networks), reader.read(networks), rtol=1e-10, atol=1e-13)
        found, expected = editor(networks), editor.read(networks)
    assert found.layouts == expected.layouts
    torch.testing.assert_close(found.values, expected.values, rtol=1e-10, atol=1e-13)


@pytest.mark.usefixtures("threads", "size")
def test_dropout_repeats_with_the_seed_and_differs_between_pieces() -> None:
    module = NGGNN(FAMILY, 3, width=8, depth=3, dropout=0.5).double().train()
    same = Networks(regular().values[:1].expand(7, -1).clone(), LAYOUTS[0])

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return microbatch.mean_loss(module, same, LABELS, F.cross_entropy)[1]

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))
    assert len({tuple(row.tolist()) for row in draw(3)}) > 3


def test_dropout_keeps_the_mean_and_draws_nothing_when_it_need_not() -> None:
    x, layer = torch.ones(200_000), Dropout(0.25)
    with dropout_generator(torch.Generator().manual_seed(0)):
        kept = layer(x)
    assert abs(float(kept.mean()) - 1) < 0.01
    assert abs(float((kept == 0).float().mean()) - 0.25) < 0.01
    state = torch.get_rng_state()
    assert torch.equal(layer.eval()(x), x) and torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(ConfigError, match=r"\[0, 1\)"):
        Dropout(1.0)


def test_the_device_budget_sets_the_size_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    module, networks = NGGNN(FAMILY, 3, width=8), regular()
    monkeypatch.setattr(microbatch, "BUDGET", {"cpu": 2 * module.numbers(networks)})
    cuts = microbatch.pieces(module, networks)
    assert [len(range(7)[cut]) for cut in cuts] == [2, 2, 2, 1]


def test_autocast_changes_nothing() -> None:
    module, networks = NGT(FAMILY, 3, depth=3), regular().to(torch.float32)
    plain = module.read(networks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module.read(networks), plain)


def test_what_predicting_made_does_not_stop_training() -> None:
    layout = Layout.mlp((2, 7, 3))  # of no other test: its index tensors are made here, in inference mode
    networks = Networks(torch.rand(2, layout.size), layout)
    metanetwork = NGGNN(InputSpec.of([layout]), classes=2, width=4, depth=2)
    with torch.inference_mode():
        metanetwork(networks)
    metanetwork(networks).sum().backward()
