"""``neural-graphs align``: two networks in, one out, and the barrier between them as figures and a picture."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from neural_graphs import Layout, Networks
from neural_graphs.commands.cli import main
from neural_graphs.symmetry import NeuronPermutation

LAYOUT = Layout.mlp((64, 12, 10), names="net.{}")


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A network, and the same in another order."""
    monkeypatch.chdir(tmp_path)
    network = Networks(torch.randn(1, LAYOUT.size, generator=torch.Generator().manual_seed(0)), LAYOUT)
    hidden = NeuronPermutation.sample(LAYOUT, torch.Generator().manual_seed(1)).act(network)
    for name, each in (("a.safetensors", network), ("b.safetensors", hidden)):
        save_file({key: tensor.contiguous() for key, tensor in each.state_dicts()[0].items()}, name)
    return Path("a.safetensors"), Path("b.safetensors")


def test_files_come_back_in_order(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", *map(str, pair), "--out", "c.safetensors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["distance"]
    assert found["aligned"] == 0 < found["naive"]
    one, near = load_file(pair[0]), load_file("c.safetensors")
    assert all(torch.equal(one[name], near[name]) for name in one)


def test_the_barrier_is_measured_and_drawn(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--images", "digits", "--count", "60", "--plot", "barrier.png", "--out", "c.safetensors"]
    assert main(["align", *map(str, pair), *words]) == 0
    said = capsys.readouterr().out
    naive, aligned = (line.split() for line in said.splitlines() if line.split()[:1] in (["naive"], ["aligned"]))
    assert float(aligned[1]) == float(aligned[-1]) == 0 < float(naive[1]) and "barrier.png" in said
    assert Path("barrier.png").stat().st_size > 5000


def test_modules_with_batch_norms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.pt", "b.pt")):
        torch.manual_seed(seed)
        torch.save({"state_dict": conv().state_dict()}, name)
    words = [
        "--module",
        "tests.cli.test_align_command:conv",
        "--input",
        "1x1x8x8",
        "--images",
        "digits",
        "--count",
        "40",
    ]
    assert main(["align", "a.pt", "b.pt", *words, "--out", "c.safetensors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["naive"]) == len(found["aligned"]) == 11
    assert found["naive"][-1] == pytest.approx(found["aligned"][-1], rel=1e-5)  # the same function, in another order
    assert found["distance"]["aligned"] < found["distance"]["naive"]


def test_a_plot_needs_images(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", *map(str, pair), "--out", "c.safetensors", "--plot", "x.png"]) == 2
    assert "say which with --images" in capsys.readouterr().err
