"""Ctrl-C: exit code 130, one line that says how the command goes on, and what it says is true."""

import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neural_graphs.commands.cli import main
from neural_graphs.tasks.classification import Classification

FORGOTTEN = "what was done is not kept; the same command begins again"
CONTINUED = "the same command continues where it stopped"


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """Interrupts as in a terminal, and as before afterwards; shells start what runs in the background without them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "a second interrupt would be lost"
    signal.signal(signal.SIGINT, before)


def interrupted_in(monkeypatch: pytest.MonkeyPatch, epoch: int, name: str = "training_step") -> None:
    """Presses Ctrl-C in a step of an epoch."""
    step: Callable[..., Any] = getattr(Classification, name)

    def pressed(self: Classification, *arguments: Any) -> Any:
        if self.current_epoch == epoch:
            signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(Classification, name, pressed)


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_run_says_how_it_goes_on_and_does(
    epoch: int, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my run"
    words = ["--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"]
    with monkeypatch.context() as patch:
        interrupted_in(patch, epoch)
        assert main(["fit", "--config", str(config), "--run", str(folder), *words]) == 130
    start, program, advice = capsys.readouterr().err.partition("neural-graphs fit ")
    assert start == "neural-graphs: interrupted; go on after its last whole epoch: "
    assert main(shlex.split(program + advice)[1:]) == 0
    assert len((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_measurement_is_interrupted_likewise(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_in(monkeypatch, 0, "validation_step")
    assert main(["validate", "--run", str(run)]) == 130
    assert capsys.readouterr().err == f"neural-graphs: interrupted; {FORGOTTEN}\n"


def test_before_there_is_a_run_nothing_is_kept(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neural_graphs.tasks.fit", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 130
    assert FORGOTTEN in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "works", "said"),
    [
        (["optimize", "a:b", "--images", "digits", "--rule", "ff"], "neural_graphs.io.modules.make", FORGOTTEN),
        (["zoo", "info", "zoo"], "neural_graphs.zoo.Zoo", FORGOTTEN),
        (["zoo", "grow", "inr", "--images", "digits", "--out", "z"], "neural_graphs.zoo.grow_inrs", CONTINUED),
        (["reproduce", "FILE"], "neural_graphs.commands.reproduce.Experiment", CONTINUED),
    ],
)
def test_a_command_says_what_it_keeps(
    words: list[str], works: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert main(words) == 130
    assert capsys.readouterr().err == f"neural-graphs: interrupted; {said}\n"
