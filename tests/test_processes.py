"""Two processes train as one would that takes their batches together."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from neural_graphs.tasks import Run
from neural_graphs.tasks.history import read_csv
from neural_graphs.testing import relative_error
from neural_graphs.zoo import grow_inrs, preset

TOGETHER = ["--data.batch_size", "8", "--trainer.devices", "2", "--trainer.strategy", "ddp"]


def trained(folder: Path, name: str, options: list[str]) -> tuple[Run, str]:
    words = ["fit", "--config", str(folder / "config.yaml"), "--run", str(folder / name)]
    words += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", *options]
    quiet = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "neural_graphs", *words], capture_output=True, text=True, env=quiet, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return Run(folder / name), done.stdout


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
def test_two_processes_reach_what_one_does(tmp_path: Path) -> None:
    fast = replace(preset("fast"), steps=3)
    grow_inrs(tmp_path / "zoo", "digits", fast, count=90, hidden=(4,), shares=(4, 1, 1))
    metanetwork = {"class_path": "neural_graphs.nn.NGGNN", "init_args": {"classes": 10, "width": 4, "depth": 2}}
    content = {
        "model": {"metanetwork": metanetwork, "classes": 10, "lr": 1e-2, "warmup": 0},
        "data": {"zoo": str(tmp_path / "zoo"), "batch_size": 16},
        "trainer": {"max_epochs": 3, "precision": "64-true"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    one, _ = trained(tmp_path, "one", [])
    two, said = trained(tmp_path, "two", TOGETHER)
    assert said.count("is trained") == 1
    expected, found = (read_csv(run.metrics_file) for run in (one, two))
    for name in ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    states = [run.checkpoint(run.last)["state_dict"] for run in (one, two)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert relative_error(states[1][name].double(), tensor.double()) < 1e-8, name
