"""Training on accuracies: figures of a test, exact resume, the control, and what is refused."""

import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau

from neural_graphs.errors import ConfigError
from neural_graphs.nn.baselines import StatNN
from neural_graphs.tasks import Generalization, ZooData, boosted_trees, fit, load_task, predict, validate
from neural_graphs.tasks import test as evaluate
from neural_graphs.tasks.losses import CrossEntropy, SquaredError
from neural_graphs.zoo import Zoo
from tests.generalization.conftest import NGGNN, STATNN

SCRIPT = Path(__file__).parents[2] / "experiments" / "cnn_generalization" / "trees.py"


def test_a_test_gives_figures_that_can_be_made_by_hand(run, small) -> None:
    result = evaluate(run.folder)
    task, _ = load_task(run.folder)
    zoo = Zoo(small).split("test")
    with torch.no_grad():
        predicted = task.eval()(zoo.networks())[:, 0].sigmoid().numpy()
    true = zoo.column("test_accuracy")
    assert result["tau"] == pytest.approx(kendalltau(predicted, true).statistic, abs=1e-6)
    assert result["tau"] > 0.6
    assert result["mae"] == pytest.approx(np.abs(predicted - true).mean(), abs=1e-6)
    assert result["tau_interval"][0] < result["tau"] < result["tau_interval"][1] <= 1
    assert result["runs"] == len(zoo) and result["ceiling"] <= 1
    assert result["coverage"] == pytest.approx((np.abs(predicted - true) <= result["margin"]).mean(), abs=1e-6)
    assert json.loads(run.result_file.read_text()) == result
    assert (run.folder / "scatter-small.png").is_file()
    assert run.facts["classes"] is None


def test_the_epoch_that_is_kept_is_the_one_of_the_best_order(run) -> None:
    rows = [line.split(",") for line in run.metrics_file.read_text().splitlines()]
    column = rows[0].index("val_tau")
    assert validate(run.folder)["tau"] == pytest.approx(max(float(row[column]) for row in rows[1:]), abs=1e-6)


def test_a_resumed_run_on_mixed_layouts_ends_as_if_it_had_not_been_interrupted(park, configure, tmp_path) -> None:
    words = configure(park, NGGNN, 3, criterion={"class_path": "neural_graphs.tasks.losses.CrossEntropy"})
    whole = fit(words, tmp_path / "whole")
    part = fit([*words, "--trainer.max_epochs", "1"], tmp_path / "part")
    part = fit(["--trainer.max_epochs", "3"], part.folder, resume=True)
    for file, other in ((part.last, whole.last), (part.best, whole.best)):
        ours, theirs = part.checkpoint(file)["state_dict"], whole.checkpoint(other)["state_dict"]
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert isinstance(load_task(part.folder)[0].criterion, CrossEntropy)
    result = evaluate(part.folder)
    assert (result["networks"], result["runs"]) == (36, 12)


def test_the_control_learns_from_wrong_accuracies_and_is_tested_on_right_ones(small, configure, tmp_path) -> None:
    task = Generalization(StatNN(ZooData(small).family, 1), shuffled=True)
    zoo, plain = Zoo(small), Generalization(task.metanetwork)
    for split in ("train", "val"):
        ours, theirs = task.targets(zoo.split(split)), plain.targets(zoo.split(split))
        assert not torch.equal(ours, theirs) and torch.equal(ours.sort().values, theirs.sort().values)
    assert torch.equal(task.targets(zoo.split("test")), plain.targets(zoo.split("test")))
    control = fit(configure(small, STATNN, 8, shuffled=True), tmp_path / "control")
    assert abs(evaluate(control.folder)["tau"]) < 0.45  # 30 networks: σ = 0.13


def test_losses() -> None:
    logits, targets = torch.tensor([-1.0, 0.0, 3.0]), torch.tensor([0.2, 0.5, 1.0])
    p = logits.sigmoid()
    torch.testing.assert_close(SquaredError()(logits, targets), ((p - targets) ** 2).mean())
    torch.testing.assert_close(CrossEntropy()(logits, targets), F.binary_cross_entropy(p, targets))
    task = Generalization(torch.nn.Identity(), CrossEntropy())
    torch.testing.assert_close(task.loss(logits[:, None], targets), F.binary_cross_entropy(p, targets))


def test_accuracies_must_be_shares(small) -> None:
    task = Generalization(torch.nn.Identity(), column="epoch")
    assert (task.targets(Zoo(small)) == 0).all()
    task = Generalization(torch.nn.Identity(), column="network")
    with pytest.raises(ConfigError, match=r"network must be shares in \[0, 1\], network 2 has 2.0; divide"):
        task.targets(Zoo(small))


def test_only_some_networks_are_taken(park) -> None:
    data = ZooData(park, 8, only="epoch == 2")
    assert len(data.zoo) == 60 and set(data.zoo.column("epoch")) == {2}
    assert data.family.statistics is None  # layouts differ


def test_a_run_of_accuracies_predicts_no_classes(run, tmp_path) -> None:
    with pytest.raises(ConfigError, match="was trained for Generalization; classes are predicted by"):
        predict(run.folder, [tmp_path / "any.pt"])


@pytest.mark.parametrize("zoo", ["small", "park"])
def test_trees_on_statistics_are_a_strong_baseline(zoo, request, monkeypatch, capsys) -> None:
    place = request.getfixturevalue(zoo)
    found = boosted_trees(place)
    assert found["tau"] > 0.7 and 0.5 <= found["coverage"] <= 1 and not math.isnan(found["r2"])
    monkeypatch.setattr("sys.argv", ["trees.py", str(place), "--json"])
    runpy.run_path(str(SCRIPT))
    assert json.loads(capsys.readouterr().out) == found


def test_sentences_say_how_sure_they_are(run) -> None:
    first, second, third, fourth = Generalization.summary(evaluate(run.folder))
    assert "95 % interval" in first and "150" not in first and "30 runs" in first
    assert "R²" in second and "promised: 90 %, give or take 7.6 by chance" in third and fourth == "published: τ 0.900"
