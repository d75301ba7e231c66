"""What editing is tried on: networks that draw digits, networks whose pictures are known exactly, a trained editor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.tasks import Run, fit
from neural_graphs.zoo import Zoo, grow_inrs, preset
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.writer import ShardData, writing

Configure = Callable[..., list[str]]
BARE = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """INRs 2 → 8 → 1 of digits, with the digits."""
    folder = tmp_path_factory.mktemp("zoos") / "digits"
    return grow_inrs(
        folder, "digits", replace(preset("same-start"), steps=100), count=90, hidden=(8,), shares=(4, 1, 1)
    )


class Negative(nn.Module):
    """The exact edit for `Invert`: −2 × the last layer, around the middle grey that networks start from."""

    def forward(self, networks: Networks) -> Networks:
        change = networks.with_values(torch.zeros_like(networks.values))
        for name in list(networks.layout.shapes)[-2:]:
            change.tensor(name).copy_(-2 * networks.tensor(name))  # a view of change
        return change


class Nothing(nn.Module):
    """The edit that changes nothing."""

    def forward(self, networks: Networks) -> Networks:
        return networks * 0.0


@pytest.fixture(scope="session")
def negative() -> nn.Module:
    return Negative()


@pytest.fixture(scope="session")
def nothing() -> nn.Module:
    return Nothing()


@pytest.fixture(scope="session", params=[0.0, -1.0], ids=["fitted to 0 … 1", "fitted to −1 … 1"])
def soft(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Networks that draw greys around the middle of their range, without images, as published zoos are."""
    canvas = Canvas(9, 6, 1, low=request.param)
    layout = Layout.mlp((2, 6, 1), "sine", scale=30.0, offset=0.5 if request.param == 0 else 0.0)
    folder = tmp_path_factory.mktemp("zoos") / "soft"
    values = 0.05 * torch.randn(12, layout.size, generator=torch.Generator().manual_seed(0))
    with writing(folder, {}, [layout], 12, canvas=canvas) as writer:
        writer.write(ShardData(values.numpy(), {"split": ["train", "val", "test"] * 4, "label": np.zeros(12, int)}))
    found = Zoo(folder)
    pictures = found.render(slice(None))
    assert pictures.min() > 0.05 and pictures.max() < 0.95 and pictures.std() > 0.02
    return found


@pytest.fixture(scope="session")
def configure() -> Configure:
    """Words for `fit`: a small editor on a zoo, and what else the configuration should say."""

    def words(zoo: Zoo, folder: Path, style: str = "Dilate", **more: Any) -> list[str]:
        editor = {"width": 8, "depth": 2, "sigma": None, "dropout": 0.1, "initial": 0.1, "standardised": True}
        model = {
            "metanetwork": {"class_path": "neural_graphs.nn.NGGNNEditor", "init_args": editor},
            "style": {"class_path": f"neural_graphs.zoo.styles.{style}"},
            "lr": 1e-2,
            "warmup": 4,
        }
        content = {"task": "neural_graphs.tasks.Editing", "seed_everything": 1, "model": model}
        content |= {"data": {"zoo": str(zoo.path), "batch_size": 8}, "trainer": {"max_epochs": 8}, **more}
        (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return ["--config", str(folder / "config.yaml"), *BARE]

    return words


@pytest.fixture(scope="session")
def run(zoo: Zoo, configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An editor trained for a few seconds to dilate digits."""
    folder = tmp_path_factory.mktemp("runs")
    return fit(configure(zoo, folder), folder / "run")
