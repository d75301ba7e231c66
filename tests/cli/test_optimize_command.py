"""``neural-graphs optimize``: what is said before the training, and modules of any precision."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from neural_graphs.commands.cli import main
from neural_graphs.layout import Conv, Layout

MODULES = """
from torch import nn


def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10))


def double():
    return small().double()


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 800), nn.ReLU(), nn.Linear(800, 10))
"""
WORDS = ["--images", "digits", "--rule", "ff", "--steps", "2", "--batch", "8"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules."""
    (tmp_path / "modules_to_optimize.py").write_text(MODULES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def optimize(name: str, *words: str) -> int:
    return main(["optimize", f"modules_to_optimize:{name}", *WORDS, *words])


def test_pixels_come_in_the_precision_of_the_module(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize("double", "--json", "--beside", "0.01", "--out", "new/net.safetensors") == 0
    assert list(json.loads(capsys.readouterr().out)) == ["ff", "Adam, 0.01"]
    assert {tensor.dtype for tensor in load_file(place / "new/net.safetensors").values()} == {torch.float64}
    assert [file.name for file in (place / "new").iterdir()] == ["net.safetensors"]


def test_a_file_that_cannot_be_written_is_refused_before_the_training(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr("neural_graphs.optim.training.train_module", train)
    with pytest.raises(AssertionError, match="it trains"):
        optimize("small", "--out", "new/net.safetensors")
    (place / "file").touch()
    (place / "folder.safetensors").mkdir()
    for out, said in (("file/net.safetensors", "as a file; choose another"), ("folder.safetensors", "name a file")):
        assert optimize("small", "--out", out) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    monkeypatch.setattr("os.access", lambda *_: False)
    assert optimize("small", "--out", "net.safetensors") == 2
    assert "net.safetensors: it may not be read or written by you" in capsys.readouterr().err


def test_a_module_of_far_more_inputs_than_the_rule_knows_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize("small") == 0
    assert not capsys.readouterr().err
    assert optimize("wide") == 0
    said = capsys.readouterr().err
    assert "warning: neurons of this module have up to 800 inputs" in said and "trained on 196:" in said
    assert said.count("\n") == 1


def test_all_taps_of_kernels_come_into_a_neuron() -> None:
    cnn = Layout.cnn((3, 4, 5), (3, 3), 10)
    assert isinstance(cnn.blocks[0].operator, Conv)
    assert cnn.fan_in.tolist() == [0] * 3 + [27] * 4 + [36] * 5 + [5] * 10
    assert Layout.mlp((2, 3, 1)).fan_in.tolist() == [0, 0, 2, 2, 2, 3]
