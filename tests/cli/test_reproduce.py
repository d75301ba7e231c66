"""`neural-graphs reproduce`: the commands at the head of an experiment file, run and resumed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from neural_graphs.commands import cli, reproduce
from neural_graphs.tasks import Run
from neural_graphs.tasks.history import read_csv
from neural_graphs.zoo import Zoo

HEAD = """\
# Digits, as a test.
#
# neural-graphs zoo grow inr --images fashion-mnist --preset fast --hidden 4 --seed 0 --out zoos/digits
# neural-graphs fit --config experiments/tiny.yaml
# neural-graphs test --run runs/tiny
"""
CONTENT = {
    "published": 91.4,
    "model": {"metanetwork": {"class_path": "neural_graphs.nn.NGGNN", "init_args": {"classes": 10, "width": 4}}},
    "data": {"zoo": "zoos/digits"},
    "trainer": {"max_epochs": 200, "accelerator": "cpu", "enable_progress_bar": False},
}


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tiny.yaml"
    file.write_text(HEAD + yaml.safe_dump(CONTENT), encoding="utf-8")
    return file


def test_it_grows_trains_and_measures_and_goes_on(experiment: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", str(experiment), "--images", "digits", "--small", "--seeds", "0", "1", "--json"]
    assert cli.main(words) == 0
    (found,) = json.loads(capfd.readouterr().out)
    assert len(Zoo("small/zoos/digits")) == 140
    runs = [Run(f"small/runs/{name}") for name in ("tiny", "tiny-seed1")]
    accuracies = [100 * run.result["accuracy"] for run in runs]
    assert found["measure"] == "accuracy" and found["published"] == 91.4 and found["seeds"] == "0 1"
    assert found["mean"] == pytest.approx(sum(accuracies) / 2) and found["spread"] is not None
    assert [run.config["seed_everything"] for run in runs] == [0, 1]
    columns = [read_csv(run.metrics_file)["train_loss"] for run in runs]
    assert columns[0] != columns[1]

    written = {run.folder: run.last.stat().st_mtime_ns for run in runs}
    shutil.rmtree("small/runs/tiny-seed1")  # as if it had been killed before
    assert cli.main(words) == 0
    again = capfd.readouterr()
    assert json.loads(again.out)[0]["mean"] == found["mean"]
    assert again.err.count("neural-graphs fit") == 1  # what was there is kept
    assert runs[0].last.stat().st_mtime_ns == written[runs[0].folder]
    assert read_csv(runs[1].metrics_file)["train_loss"] == columns[1]


def test_a_file_without_commands_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.yaml").write_text("published: 3\n")
    for name in ("other.yaml", "absent.yaml"):
        assert cli.main(["reproduce", str(tmp_path / name)]) == 2
        assert "no experiment" in capsys.readouterr().err


def test_what_a_command_refuses_ends_it(experiment: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", str(experiment), "--images", "nowhere", "--small"]) == 2
    assert "ended with exit code 2" in capfd.readouterr().err


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "experiments").rglob("*.yaml")), ids=str)
def test_every_experiment_can_be_reproduced(file: Path) -> None:
    experiment = reproduce.Experiment(file, None, small=True)
    data, words = yaml.safe_load(file.read_text())["data"], experiment.fit_words(0, False)
    if "zoo" not in data:
        assert not experiment.zoo_words and "--data.outer_steps=2" in words
        return
    assert experiment.zoo_words[1] in ("grow", "import")
    assert f"--data.zoo={experiment.root / data['zoo']}" in words
