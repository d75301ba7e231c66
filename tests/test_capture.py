"""Captured steps are plain steps: on a pretended device whose graphs are recorded and replayed without Python."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs import InputSpec, Layout, Networks
from neural_graphs.graph import AllPairs
from neural_graphs.nn import NGGNN, NGT, CapturedAnswers, CapturedLoss, Metanetwork, NGGNNEditor, mean_loss
from neural_graphs.nn.run import capture
from neural_graphs.tasks import Classification
from neural_graphs.tasks.editing import Drawing
from neural_graphs.testing import relative_error
from neural_graphs.zoo.canvas import Canvas
from tests.recorder import Recorder

INR = Layout.mlp((2, 6, 5, 1), "sine")
CNN = Layout.cnn((1, 3, 4), (3, 5), 2)
SMALL: dict[str, Any] = {"widths": (8, 4), "attention": 8, "heads": 2, "hidden": (8, 8), "depth": 2}
READERS: dict[str, Callable[[InputSpec], Metanetwork]] = {
    "NG-GNN": lambda spec: NGGNN(spec, 3, width=8, dropout=0.3),
    "NG-T": lambda spec: NGT(spec, 3, dropout=0.3, **SMALL),
    "NG-T all pairs": lambda spec: NGT(spec, 3, dropout=0.3, wiring=AllPairs(2), **SMALL),
}


@pytest.fixture(autouse=True)
def _pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(capture.RECORDERS, "cpu", Recorder)


def batches(layout: Layout, count: int, sizes: tuple[int, ...] = (4, 4, 3)) -> list[tuple[Networks, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    found = []
    for step in range(count):
        size = sizes[step % len(sizes)]
        values = torch.randn(size, layout.size, generator=draw, dtype=torch.float64)
        found.append((Networks(values, layout), torch.randint(3, (size,), generator=draw)))
    return found


def train(module: nn.Module, loss_of: Any, work: list[tuple[Networks, Tensor]], accumulate: int = 1) -> list[float]:
    """Steps as people write them: accumulated, clipped, on a schedule, with dropout."""
    torch.manual_seed(5)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2, amsgrad=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 10)
    losses = []
    for number, (networks, targets) in enumerate(work, start=1):
        loss, _ = loss_of(networks, targets)
        (loss / accumulate).backward()
        losses.append(float(loss.detach()))
        if number % accumulate == 0:
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return losses


@pytest.mark.parametrize(
    ("name", "layout", "accumulate"),
    [*((name, layout, 1) for name in READERS for layout in (INR, CNN)), ("NG-GNN", INR, 2)],
    ids=str,
)
def test_captured_training_is_plain_training(name: str, layout: Layout, accumulate: int) -> None:
    plain = READERS[name](InputSpec.of([layout])).double()
    captured = copy.deepcopy(plain)
    step = CapturedLoss(captured, F.cross_entropy)
    work = batches(layout, 15)
    expected = train(plain, lambda n, t: mean_loss(plain, n, t, F.cross_entropy), work, accumulate)
    found = train(captured, step, work, accumulate)
    assert len(step.captured.recordings) == 2  # one per size
    assert found == pytest.approx(expected, rel=1e-12)
    for one, other in zip(captured.parameters(), plain.parameters(), strict=True):
        assert relative_error(one.detach(), other.detach()) < 1e-10


def test_answers_are_those_of_the_batch_and_stay() -> None:
    module = READERS["NG-GNN"](InputSpec.of([INR])).double().eval()
    step, ask = CapturedLoss(module, F.cross_entropy), CapturedAnswers(module)
    kept = []
    for networks, targets in batches(INR, 12):
        loss, answers = step(networks, targets)
        kept.append((networks, targets, loss, answers, ask(networks)))
    assert step.captured.recordings and ask.captured.recordings
    for networks, targets, loss, answers, asked in kept:
        expected = module.read(networks).detach()
        assert relative_error(answers, expected) < 1e-12 and relative_error(asked, expected) < 1e-12
        assert not answers.requires_grad and not asked.requires_grad
        assert relative_error(loss.detach(), F.cross_entropy(expected, targets)) < 1e-12


def test_editors_are_captured_with_the_drawing() -> None:
    editor = NGGNNEditor(InputSpec.of([INR]), width=8).double()
    drawing = Drawing(editor, Canvas(6, 5, 1))
    step = CapturedLoss(drawing, F.mse_loss)
    for networks, _ in batches(INR, 6, (4,)):
        targets = torch.rand(4, 30, 1, dtype=torch.float64)
        loss, pictures = step(networks, targets)
        found = torch.autograd.grad(loss, list(editor.parameters()), allow_unused=True)
        expected_loss = F.mse_loss(expected := drawing.read(networks), targets)
        wanted = torch.autograd.grad(expected_loss, list(editor.parameters()), allow_unused=True)
        assert relative_error(pictures, expected.detach()) < 1e-12
        for one, other in zip(found, wanted, strict=True):
            assert (one is None) == (other is None)
            assert one is None or other is None or relative_error(one, other) < 1e-10
    assert step.captured.recordings


def test_what_cannot_be_captured_is_computed() -> None:
    other = Layout.mlp((2, 4, 1), "sine")
    module = NGGNN(InputSpec.of([INR, other]), 3, width=8).double()
    step = CapturedLoss(module, F.cross_entropy)
    mixed = Networks.cat([Networks(torch.randn(2, each.size, dtype=torch.float64), each) for each in (INR, other)])
    targets = torch.tensor([0, 1, 2, 0])
    for _ in range(6):
        loss, answers = step(mixed, targets)
    assert not step.captured.recordings
    assert relative_error(answers, module.read(mixed).detach()) < 1e-12
    inner = Networks(torch.randn(3, INR.size, dtype=torch.float64, requires_grad=True), INR)
    loss, _ = step(inner, targets[:3])
    (found,) = torch.autograd.grad(loss, [inner.values])
    assert found.abs().sum() > 0


def test_moved_and_frozen_parameters_are_captured_anew() -> None:
    module = READERS["NG-GNN"](InputSpec.of([INR])).double().eval()
    ask, step = CapturedAnswers(module), CapturedLoss(module, F.cross_entropy)
    ((networks, targets),) = batches(INR, 1)
    for _ in range(5):
        ask(networks), step(networks, targets)
    assert ask.captured.recordings and step.captured.recordings
    for parameter in module.parameters():
        parameter.data = parameter.data * 2
    module.encoder.requires_grad_(False)
    assert relative_error(ask(networks), module.read(networks).detach()) < 1e-12
    loss, _ = step(networks, targets)
    loss.backward()
    assert all((p.grad is None) == (not p.requires_grad) for p in module.parameters())
    assert not ask.captured.recordings and not step.captured.recordings


def test_answers_are_captured_in_inference_mode_and_outside() -> None:
    module = READERS["NG-GNN"](InputSpec.of([INR])).double().eval()
    ask, ((networks, _),) = CapturedAnswers(module), batches(INR, 1)
    with torch.inference_mode():
        for _ in range(5):
            ask(Networks(networks.values.clone(), INR))
    assert ask.captured.recordings
    other = Networks(networks.values + 1, INR)
    assert relative_error(ask(other), module.read(other).detach()) < 1e-12
    with torch.inference_mode():
        assert relative_error(ask(networks), module.read(networks)) < 1e-12


def test_a_copy_of_a_task_asks_its_own_metanetwork() -> None:
    task = Classification(READERS["NG-GNN"](InputSpec.of([INR])).double().eval(), 3)
    ((networks, targets),) = batches(INR, 1)
    step = CapturedLoss(task.metanetwork, task.loss)
    for _ in range(5):
        task.mean_answer(networks), step(networks, targets)
    copied, again = copy.deepcopy(task), copy.deepcopy(step)
    with torch.no_grad():
        for parameter in [*copied.parameters(), *again.reader.parameters()]:
            parameter.mul_(1.5)
    expected = copied.metanetwork(networks).detach()
    assert relative_error(copied.mean_answer(networks), expected) < 1e-12
    assert relative_error(again(networks, targets)[1], expected) < 1e-12
    assert relative_error(task.mean_answer(networks), expected) > 1e-3


def test_a_capture_keeps_the_tables_it_reads() -> None:
    module = READERS["NG-GNN"](InputSpec.of([INR])).double()
    step = CapturedLoss(module, F.cross_entropy)
    for networks, targets in batches(INR, 5, (4,)):
        step(networks, targets)
    (recording,) = step.captured.recordings.values()
    assert len(recording.held) > 3


def test_where_no_compiler_works_a_step_is_captured_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise torch._dynamo.exc.BackendCompilerFailed(torch.compile, RuntimeError("no C compiler"), None)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    module = READERS["NG-GNN"](InputSpec.of([INR])).double().eval()
    step = CapturedLoss(module, F.cross_entropy, compile=True)
    with pytest.warns(RuntimeWarning, match="torch.compile failed .*no C compiler"):
        step(*batches(INR, 1)[0])
    for networks, targets in batches(INR, 5, (4,)):
        _, answers = step(networks, targets)
        assert relative_error(answers, module.read(networks).detach()) < 1e-12
    assert step.captured.recordings


def test_the_recorder_catches_what_python_would_decide_anew() -> None:
    number, out = torch.zeros(()), []

    def steps() -> Tensor:
        out.append(1)
        return number * len(out)

    found, replay = Recorder().record(steps)
    number.fill_(3)
    replay(), replay()
    assert float(found) == 3 and len(out) == 1  # Python did not run again
    with pytest.raises(RuntimeError, match="waits"):
        Recorder().record(lambda: float(number + 1))


def test_a_wrong_input_does_not_end_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails without compiling as well says nothing about the compiler."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    called: list[int] = []

    def fused(x: Tensor) -> Tensor:
        called.append(len(x))
        return x @ torch.ones(3, 2)

    attempt = capture.compiled(fused, lambda x: x @ torch.ones(3, 2))
    with pytest.raises(RuntimeError):
        attempt(torch.ones(1, 4))
    called.clear()
    assert attempt(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]
    assert called == [1]
