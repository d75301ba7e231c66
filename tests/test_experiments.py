"""Every experiment file trains for two steps on a tiny zoo, and holds a published figure or says why not."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from neural_graphs.tasks import fit, load_run
from neural_graphs.tasks import test as evaluate
from neural_graphs.zoo import grow_inrs, preset
from tests.generalization.random_zoos import PARK, SMALL, write_zoo

FOLDER = Path(__file__).parents[1] / "experiments"
FILES = sorted(FOLDER.rglob("*.yaml"))
OPTIMIZERS = sorted((FOLDER / "learning_to_optimize").glob("*.yaml"))  # trained on images, not on zoos


@pytest.fixture(scope="module")
def inrs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zoos") / "tiny"
    grow_inrs(folder, "digits", replace(preset("fast"), steps=2), count=12, hidden=(3, 3), shares=(4, 1, 1))
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_zoo(tmp_path_factory.mktemp("zoos") / "small", [SMALL], 10)


@pytest.fixture(scope="module")
def park(tmp_path_factory) -> Path:
    return write_zoo(tmp_path_factory.mktemp("zoos") / "park", PARK, 10)


def zoo_for(file: Path) -> str:
    """The fixture with networks of the kind that an experiment reads."""
    return file.stem.partition("_")[0] if file.parent.name == "cnn_generalization" else "inrs"


@pytest.mark.parametrize("file", [file for file in FILES if file not in OPTIMIZERS], ids=lambda file: file.stem)
def test_it_trains(file, request, tmp_path, monkeypatch) -> None:
    zoo = request.getfixturevalue(zoo_for(file))
    monkeypatch.chdir(tmp_path)  # zoos that an experiment is measured on elsewhere are not there
    tiny = {"data.zoo": zoo, "data.batch_size": 4, "trainer.max_epochs": 1, "trainer.limit_train_batches": 2}
    tiny |= {"trainer.enable_progress_bar": "false", "trainer.accelerator": "cpu"}
    if zoo_for(file) != "inrs":
        tiny["data.only"] = "null"  # the tiny zoos have other epochs
    run = fit(["--config", str(file), *(f"--{key}={value}" for key, value in tiny.items())], tmp_path / "run")
    assert len(run.metrics_file.read_text().splitlines()) == 2
    metanetwork, _ = load_run(run.folder)
    assert run.facts["parameters"] == sum(p.numel() for p in metanetwork.parameters())
    assert evaluate(run.folder)["networks"] == 2


@pytest.mark.parametrize("file", OPTIMIZERS, ids=lambda file: file.stem)
def test_an_optimizer_trains(file, tmp_path) -> None:
    tiny = {"data.images": "digits", "data.shrink": 1, "data.batch_size": 4, "data.held_out": 50, "data.unseen": "[]"}
    tiny |= {"data.outer_steps": 2, "trainer.max_epochs": 1, "model.inner_steps": 2}
    tiny |= {"model.estimator.init_args.steps": 2, "model.estimator.init_args.networks": 1}
    tiny |= {"model.estimator.init_args.piece": 1} if "PersistentES" in file.read_text(encoding="utf-8") else {}
    tiny |= {"trainer.enable_progress_bar": "false", "trainer.accelerator": "cpu"}
    run = fit(["--config", str(file), *(f"--{key}={value}" for key, value in tiny.items())], tmp_path / "run")
    assert len(run.metrics_file.read_text().splitlines()) == 2
    rule, _ = load_run(run.folder)
    assert run.facts["parameters"] == sum(p.numel() for p in rule.parameters())
    assert list(evaluate(run.folder)["settings"]["as in training"])[1:] == ["Adam", "AdamW", "SGD"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_says_how_to_run_it_and_what_to_expect(file) -> None:
    text = file.read_text(encoding="utf-8")
    assert f"neural-graphs fit --config {file.relative_to(FOLDER.parent)}" in text
    assert f"neural-graphs test --run runs/{file.stem}" in text
    assert "ublished" in text
    published = yaml.safe_load(text)["published"]
    assert published is None or f"{published:g}" in "".join(line for line in text.splitlines() if line.startswith("#"))
