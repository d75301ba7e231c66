"""What the commands are tried on: a tiny zoo, and a run trained on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from neural_graphs.commands.cli import main

CONFIG = """
model:
  warmup: 0
  metanetwork:
    class_path: neural_graphs.nn.baselines.FlatMLP
    init_args: {classes: 10, hidden: [8]}
trainer: {max_epochs: 1, accelerator: cpu}
"""


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Words that grow twenty networks of four hidden neurons, fitted to nothing in particular."""
    return ["--images", "digits", "--preset", "fast", "--count", "20", "--hidden", "4", "--seed", "3"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, small: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("zoos") / "digits"
    assert main(["zoo", "grow", "inr", *small, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def configure(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Callable[[str], Path]:
    """Writes a configuration on that zoo into a file."""

    def configure(text: str) -> Path:
        file = tmp_path_factory.mktemp("configs") / "tiny.yaml"
        file.write_text(text + f"data: {{zoo: {zoo}, batch_size: 8}}\n", encoding="utf-8")
        return file

    return configure


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains as a configuration and further words say, and returns the folder of the run."""

    def train(config: Path, *words: str) -> Path:
        folder = tmp_path_factory.mktemp("runs") / "tiny"
        assert main(["fit", "--config", str(config), "--run", str(folder), *words]) == 0
        return folder

    return train


@pytest.fixture(scope="module")
def config(configure: Callable[[str], Path]) -> Path:
    return configure(CONFIG)


@pytest.fixture(scope="module")
def run(train: Callable[..., Path], config: Path) -> Path:
    return train(config, "--model.lr", "1e-2")
