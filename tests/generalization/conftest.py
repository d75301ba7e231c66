"""Tiny zoos of CNNs, and a way to train on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neural_graphs.tasks import Run, fit
from tests.generalization.random_zoos import PARK, SMALL, write_zoo

BARE = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
STATNN = {"class_path": "neural_graphs.nn.baselines.StatNN", "init_args": {"classes": 1, "hidden": [32]}}
NGGNN = {
    "class_path": "neural_graphs.nn.NGGNN",
    "init_args": {"classes": 1, "width": 6, "depth": 2, "reverse": False, "sigma": None},
}


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 networks of one layout, a run each."""
    return write_zoo(tmp_path_factory.mktemp("zoos") / "small", [SMALL], 150)


@pytest.fixture(scope="package")
def park(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 runs of three layouts, three checkpoints each."""
    return write_zoo(tmp_path_factory.mktemp("zoos") / "park", PARK, 60, 3)


@pytest.fixture(scope="package")
def configure(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Words for `fit` that train a metanetwork on a zoo."""

    def configure(zoo: Path, metanetwork: dict[str, Any], epochs: int, **model: Any) -> list[str]:
        content = {
            "task": "neural_graphs.tasks.Generalization",
            "seed_everything": 0,
            "published": 0.9,
            "model": {"metanetwork": metanetwork, "warmup": 0, "lr": 3e-3, **model},
            "data": {"zoo": str(zoo), "batch_size": 16},
            "trainer": {"max_epochs": epochs},
        }
        file = tmp_path_factory.mktemp("configs") / "config.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return ["--config", str(file), *BARE]

    return configure


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory, configure: Callable[..., list[str]], small: Path) -> Run:
    """StatNN, trained on the small zoo."""
    return fit(configure(small, STATNN, 25), tmp_path_factory.mktemp("runs") / "small")
