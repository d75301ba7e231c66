"""`fit` as on an accelerator, with the processor as the device: the zoo on it, steps captured, nothing asked of it."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from neural_graphs.nn.run import capture
from neural_graphs.tasks import Run, ZooData, fit
from neural_graphs.tasks.data import DeviceBatches
from neural_graphs.tasks.history import read_csv
from neural_graphs.tasks.task import Task
from neural_graphs.testing import relative_error
from neural_graphs.zoo import grow_inrs, preset
from tests.recorder import Recorder
from tests.test_constants import Operators

NGGNN = {"class_path": "neural_graphs.nn.NGGNN", "init_args": {"classes": 10, "width": 4, "depth": 2, "dropout": 0.3}}
EDITOR = {"class_path": "neural_graphs.nn.NGGNNEditor", "init_args": {"width": 4, "depth": 2}}
AUGMENTATIONS = [
    {"class_path": f"neural_graphs.zoo.transforms.{name}"} for name in ("TranslateDeep", "Rotate", "Noise", "Dropout")
]
ON_DEVICE = ["--data.on_device", "true"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoos") / "digits"
    grow_inrs(folder, "digits", replace(preset("fast"), steps=3), count=108, hidden=(4,), shares=(4, 1, 1))
    return folder


def configuration(zoo: Path, folder: Path, **trainer: Any) -> list[str]:
    content = {
        "seed_everything": 1,
        "model": {"metanetwork": NGGNN, "lr": 1e-2, "warmup": 4, "steps": 30},
        "data": {
            "zoo": str(zoo),
            "batch_size": 16,
            "augmentation": {
                "class_path": "neural_graphs.zoo.transforms.Compose",
                "init_args": {"transforms": AUGMENTATIONS},
            },
        },
        "trainer": {"max_epochs": 4, "enable_progress_bar": False, "accelerator": "cpu", "precision": "64-true"}
        | trainer,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return ["--config", str(folder / "config.yaml")]


def same(one: Run, other: Run, tolerance: float) -> None:
    """Whether two runs measured and learned the same."""
    for name, column in read_csv(other.metrics_file).items():
        if name != "seconds":
            assert read_csv(one.metrics_file)[name] == pytest.approx(column, rel=1e-5), name
    states = [run.checkpoint(run.last)["state_dict"] for run in (one, other)]
    for name, tensor in states[1].items():
        assert relative_error(states[0][name].double(), tensor.double()) <= tolerance, name


def test_a_zoo_on_the_device_gives_the_batches_of_the_loader(zoo: Path, tmp_path: Path) -> None:
    words = configuration(zoo, tmp_path)
    same(fit([*words, *ON_DEVICE], tmp_path / "device"), fit(words, tmp_path / "loader"), 0)


def test_an_epoch_on_the_device_holds_every_network_once(zoo: Path) -> None:
    data = ZooData(zoo, 16, on_device=True)
    loader = data.train_dataloader()
    assert isinstance(loader, DeviceBatches)
    assert [len(targets) for _, targets in loader] == [16, 16, 16, 16, 8] and len(loader) == 5
    first, again = (torch.cat([networks.values for networks, _ in loader]) for _ in range(2))
    loader.sampler.set_epoch(1)
    other = torch.cat([networks.values for networks, _ in loader])
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(first.sort(0).values, other.sort(0).values)


@pytest.mark.parametrize("trainer", [{}, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1}], ids=str)
def test_captured_training_is_training(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: dict[str, Any]
) -> None:
    words = [*configuration(zoo, tmp_path, **trainer), *ON_DEVICE]
    plain = fit(words, tmp_path / "plain")
    recorded = pretend(monkeypatch)
    same(fit(words, tmp_path / "captured"), plain, 1e-9)
    assert len(recorded) >= 4  # whole and last batches, of training and of validation


def pretend(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """Let the processor capture; the recorders that it uses."""
    made: list[Recorder] = []

    class Counted(Recorder):
        def record(self, function: Any) -> Any:
            made.append(self)
            return super().record(function)

    monkeypatch.setitem(capture.RECORDERS, "cpu", Counted)
    return made


def test_a_captured_run_resumes_as_if_it_had_not_stopped(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    words = [*configuration(zoo, tmp_path), *ON_DEVICE]
    whole = fit(words, tmp_path / "whole")
    fit([*words, "--trainer.max_epochs", "2"], tmp_path / "parts")
    same(fit(["--trainer.max_epochs", "4"], tmp_path / "parts", resume=True), whole, 1e-12)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_optimizer_of_a_card_goes_with_clipping(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Lightning refuses to clip what a fused optimizer would unscale."""
    monkeypatch.setattr(Task, "on_card", property(lambda _: True))
    words = configuration(zoo, tmp_path, precision=precision, gradient_clip_val=1.0, max_epochs=1)
    assert fit(words, tmp_path / "run").last.is_file()


@pytest.mark.parametrize("task", ["classification", "editing"])
def test_further_steps_of_fit_ask_the_device_nothing(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", partial(torch.optim.AdamW, fused=True))  # as on a card
    words = [*configuration(zoo, tmp_path), *ON_DEVICE]
    if task == "editing":
        text = (tmp_path / "config.yaml").read_text()
        content = yaml.safe_load(text)
        content |= {"task": "neural_graphs.tasks.Editing"}
        content["model"]["metanetwork"] = EDITOR
        content["model"]["style"] = {"class_path": "neural_graphs.zoo.styles.Dilate"}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    asked = []
    for batch_size in (16, 8):  # 5 and 9 steps an epoch
        with Operators() as operators:
            fit([*words, "--data.batch_size", str(batch_size), "--trainer.max_epochs", "1"], tmp_path / str(batch_size))
        asked.append(
            {name: count for name, count in operators.seen.items() if re.search("_local_scalar|nonzero|bool", name)}
        )
    assert asked[0] == asked[1]
