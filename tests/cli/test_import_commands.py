"""``neural-graphs zoo import …`` of CNNs and of one's own checkpoints: what it says, writes and refuses."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_graphs.commands.cli import main
from neural_graphs.zoo import Zoo

NETS = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_small_cnn_zoo(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, start = ["varname,start_idx,end_idx,shape"], 0
    for name, shape in (("c/bias", (4,)), ("c/kernel", (3, 3, 1, 4)), ("d/bias", (2,)), ("d/kernel", (4, 2))):
        end = start + int(np.prod(shape))
        lines.append(f'{name},{start},{end},"{shape}"')
        start = end
    (here / "in").mkdir()
    (here / "in" / "layout.csv").write_text("\n".join(lines), encoding="utf-8")
    np.save(here / "in" / "weights.npy", np.zeros((8, start), np.float32))
    titles = "config.activation,modeldir,step,test_accuracy,test_loss,train_accuracy,train_loss\n"
    rows = [f"{('relu', 'swirl')[row == 5]},m{row},86,0.5,1,0.5,1" for row in range(8)]
    (here / "in" / "metrics.csv.gz").write_bytes(gzip.compress((titles + "\n".join(rows)).encode()))
    (here / "order.csv").write_text("\n".join("76543210"), encoding="utf-8")
    assert main(["zoo", "import", "small-cnn-zoo", "in", "zoo", "--shuffle", "order.csv"]) == 0
    said = capsys.readouterr().out
    assert "7 networks, 1 →(3×3) 4 → 2 · relu" in said
    assert "checkpoints skipped: 1; neural-graphs zoo info zoo says why" in said
    assert main(["zoo", "info", "zoo"]) == 0
    assert "skipped    metrics.csv.gz, row 5: its activation 'swirl' is unknown" in capsys.readouterr().out
    assert set(Zoo("zoo").split("test").column("row").tolist()) == {0, 1, 2, 3}


def test_the_wild_park(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, channels in enumerate((4, 8, 4)):
        state = {"conv0.weight": torch.zeros(channels, 3, 3, 3), "conv0.bias": torch.zeros(channels),
                 "fc.weight": torch.zeros(10, channels), "fc.bias": torch.zeros(10)}  # fmt: skip
        (here / "park" / f"net_{number}").mkdir(parents=True)
        content = {"model": state, "config": {"residual": [-1], "activation": ["relu"]}, "test_accuracy": 0.1}
        torch.save(content, here / "park" / f"net_{number}" / "checkpoint.pt")
    assert main(["zoo", "import", "cnn-wild-park", "park", "zoo", "--seed", "1"]) == 0
    assert "3 networks" in capsys.readouterr().out and sorted(Zoo("zoo").column("split")) == ["test", "train", "val"]


def test_checkpoints_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "nets_of_a_user.py").write_text(NETS, encoding="utf-8")
    module: dict[str, object] = {}
    exec(NETS, module)
    lines = ["file,accuracy"]
    for run in range(4):
        (here / "runs" / str(run)).mkdir(parents=True)
        torch.save(module["make"]().state_dict(), here / "runs" / str(run) / "last.pt")  # type: ignore[operator]
        lines.append(f"{run}/last.pt,{10 * run}")
    (here / "metrics.csv").write_text("\n".join(lines[:-1]), encoding="utf-8")
    words = [
        "zoo",
        "import",
        "state-dicts",
        "runs/**/*.pt",
        "--module",
        "nets_of_a_user:make",
        "--table",
        "metrics.csv",
    ]
    assert main([*words, "zoo"]) == 2
    assert "no column 'test_accuracy'; it has file, accuracy: say --column" in capsys.readouterr().err
    words += ["--column", "accuracy", "--percent"]
    assert main([*words, "zoo"]) == 2
    assert "give its shape, such as --input 1x3x32x32" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--input", "1xx8", "zoo"])
    assert "expected sizes such as 1x3x224x224 or 1x16:int64, got '1xx8'" in capsys.readouterr().err
    assert main([*words, "--input", "1x1x8x8", "zoo"]) == 0
    assert "files skipped: 1;" in capsys.readouterr().out
    assert sorted(Zoo("zoo").column("test_accuracy").tolist()) == [0.0, 0.1, 0.2]
    assert main(["zoo", "info", "zoo"]) == 0
    assert "runs/3/last.pt: the table has no row for it" in capsys.readouterr().out


def test_a_mistyped_format_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["zoo", "import", "small-cnn", "in", "out"])
    assert "did you mean small-cnn-zoo?" in capsys.readouterr().err
