"""Meta-training is a task like others: configured, resumed exactly, measured beside tuned optimizers."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from neural_graphs.commands.cli import main
from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.layout.recorded import arguments_of
from neural_graphs.optim import ImageSet, load_rule, save_rule
from neural_graphs.optim.architectures import ConvNet
from neural_graphs.optim.descent import Trained
from neural_graphs.optim.inner import accuracies
from neural_graphs.tasks import InnerTasks, Run, fit, load_run, validate
from neural_graphs.tasks import test as evaluate
from neural_graphs.tasks.learning_to_optimize import compare
from neural_graphs.tasks.report import report
from tests.optim.rules import LAYOUTS, RULES, built
from tests.page.checking import outline

ESTIMATORS = {
    "Stepwise": {"steps": 4, "networks": 2},
    "PersistentStepwise": {"steps": 4, "length": 12, "runs": 2},
    "PersistentES": {"steps": 4, "piece": 2, "pairs": 1},
}


def configuration(folder: Path, estimator: str = "Stepwise") -> Path:
    """Two epochs of three meta-gradients on scikit-learn's digits."""
    refined = {"scaled_inputs": True, "decay": {"time": 50.0}}
    content = {
        "task": "neural_graphs.tasks.LearningToOptimize",
        "published": 85.9,
        "model": {
            "metanetwork": {
                "class_path": "neural_graphs.optim.NGGNNRule",
                "init_args": {"width": 6, "depth": 2, "rows": None, "refinements": refined},
            },
            "estimator": {"class_path": f"neural_graphs.optim.{estimator}", "init_args": ESTIMATORS[estimator]},
            "inner_steps": 10,
            "steps": 6,
        },
        "data": {
            "images": "digits",
            "architectures": [
                {"class_path": "neural_graphs.optim.ConvNet", "init_args": {"width": 3}},
                {"class_path": "neural_graphs.optim.Perceptron", "init_args": {"hidden": [4]}},
            ],
            "unseen": [{"name": "one layer more", "architecture": {"class_path": "neural_graphs.optim.ConvNet",
                                                                   "init_args": {"width": 3, "layers": 4}}}],
            "batch_size": 8,
            "held_out": 100,
            "outer_steps": 3,
        },
        "trainer": {"max_epochs": 2, "enable_progress_bar": False, "accelerator": "cpu"},
    }  # fmt: skip
    file = folder / f"{estimator}.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    return fit(["--config", str(configuration(folder))], folder / "whole")


def weights(run: Run) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = run.checkpoint(run.last)["state_dict"]
    return found


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_resumed_meta_training_ends_as_if_it_had_not_been_interrupted(estimator: str, tmp_path: Path) -> None:
    words = ["--config", str(configuration(tmp_path, estimator))]
    whole = fit(words, tmp_path / "whole")
    part = fit([*words, "--trainer.max_epochs", "1"], tmp_path / "part")
    part = fit(["--trainer.max_epochs", "2"], part.folder, resume=True)
    ours, theirs = weights(part), weights(whole)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    lines = [[row.rsplit(",", 1)[0] for row in each.metrics_file.read_text().splitlines()] for each in (part, whole)]
    assert lines[0] == lines[1] and len(lines[0]) == 3
    assert lines[0][0].startswith("epoch,step,train_loss,train_accuracy,train_diverged,val_loss,val_accuracy")


def test_a_run_keeps_its_rule_and_is_validated(run: Run) -> None:
    rule, config = load_run(run.folder)
    assert type(rule).__name__ == "NGGNNRule" and config["data"]["images"] == "digits"
    assert run.family.channels == 14 and len(run.layouts) == 2
    columns = [row.split(",") for row in run.metrics_file.read_text().splitlines()]
    best = max(float(row[columns[0].index("val_accuracy")]) for row in columns[1:])
    assert validate(run.folder)["accuracy"] == pytest.approx(best, abs=1e-6)


def test_it_is_compared_with_tuned_optimizers_in_every_setting(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate(run.folder)
    assert result["networks"] == 2 and list(result["settings"]) == ["as in training", "one layer more"]
    for found in result["settings"].values():
        assert list(found) == ["NGGNN", "Adam", "AdamW", "SGD"]
        for name, each in found.items():
            assert len(each["accuracy"]) == len(each["loss"]) == len(compare.SEEDS)
            assert ("lr" in each) == (name != "NGGNN")
            assert len(each["curves"]["loss"]["mean"]) == 10
        assert found["Adam"]["lr"] in compare.RATES
    assert json.loads(run.result_file.read_text())["settings"]["one layer more"]["SGD"]["accuracy"]
    assert (run.folder / "curves.png").stat().st_size > 10_000
    kept = sorted((run.folder.parent / "baselines").iterdir())
    assert len(kept) == 6
    before = [file.stat().st_mtime_ns for file in kept]
    capsys.readouterr()
    assert main(["test", "--run", str(run.folder)]) == 0
    said = capsys.readouterr()
    assert "2 networks of the test split of digits" in said.out and "one layer more: NGGNN " in said.out
    assert "published: 85.9 %" in said.out
    assert [file.stat().st_mtime_ns for file in kept] == before  # found, not made again
    found = outline(report(run.folder).read_text(encoding="utf-8"))
    assert "Training by each optimizer: one layer more" in found.text
    _, as_in_training, _ = found.charts
    _, accuracy = as_in_training["panels"]
    assert [curve["name"] for curve in accuracy["curves"]] == ["NGGNN", "Adam", "AdamW", "SGD"]
    told = result["settings"]["as in training"]["Adam"]["curves"]["accuracy"]
    assert accuracy["curves"][1]["x"] == told["step"]
    assert accuracy["curves"][1]["y"] == pytest.approx([100 * value for value in told["mean"]], rel=1e-4)


def test_other_images_are_taken_where_asked(run: Run) -> None:
    config = run.config["data"]
    data = InnerTasks.of(config, None)
    assert config == run.config["data"]  # it is only read
    assert data.place == "digits" and data.count("test") == 2 and data.count("val") == 1
    assert isinstance(data.architectures[0], ConvNet) and data.unseen[0].name == "one layer more"
    assert InnerTasks.of(run.config["data"], "elsewhere").place == "elsewhere"
    splits = data.splits
    assert len(splits.val.labels) == 100 and len(splits.train.labels) + 100 == 1438 and len(splits.test.labels) == 359
    assert abs(float(splits.train.pixels.max()) - (1 - 0.1307) / 0.3081) < 1e-6
    assert len(InnerTasks("digits").splits.val.labels) == 287  # at most a fifth
    with pytest.raises(ConfigError, match="expected an architecture"):
        InnerTasks("digits", architectures=[])


def test_figures_tell_which_seeds_diverged() -> None:
    losses = torch.arange(40, dtype=torch.float64)[:, None].expand(40, 5)
    made = Trained(losses, (40,), torch.full((1, 5), 0.5), torch.tensor([False, True, False, False, True]))
    found = compare.figures(made)
    assert found["diverged"] == [102, 105] and found["loss"] == [37.5] * 5
    assert found["curves"]["loss"]["step"][-1] == 40 and found["curves"]["loss"]["std"] == [0.0] * 10


def test_a_misspelt_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configuration(tmp_path)
    assert main(["fit", "--config", str(file), "--run", str(tmp_path / "r"), "--data.imagse=digits"]) == 2
    assert "unknown key data.imagse; did you mean images?" in capsys.readouterr().err


@pytest.mark.parametrize("name", RULES)
def test_every_rule_goes_through_a_folder(name: str, tmp_path: Path) -> None:
    """Those whose parts share numbers, too."""
    rule = built(RULES[name], LAYOUTS["CNN"]()).float()
    again = load_rule(save_rule(rule, tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(rule.state_dict().values(), again.state_dict().values(), strict=True))


def test_rules_go_through_a_folder(run: Run, tmp_path: Path) -> None:
    rule, _ = load_run(run.folder)
    again = load_rule(save_rule(rule, tmp_path / "rule"))  # type: ignore[arg-type]
    assert arguments_of(again) == arguments_of(rule) and again.decay is not None
    assert all(torch.equal(a, b) for a, b in zip(rule.state_dict().values(), again.state_dict().values(), strict=True))
    data = InnerTasks.of(run.config["data"], None)
    networks = data.inner_task(data.splits).start(2, torch.Generator().manual_seed(0))
    few = ImageSet(data.splits.test.pixels[:50], data.splits.test.labels[:50])
    assert accuracies(networks, few).shape == (2,)


MODULE = """
from torch import nn

def make():
    layers = (nn.Conv2d(1, 3, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    return nn.Sequential(*layers)
"""


def test_a_module_is_trained_from_the_command_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny_models.py").write_text(MODULE, encoding="utf-8")
    words = ["optimize", "tiny_models:make", "--images", "digits", "--steps", "20", "--batch", "8"]
    assert main([*words, "--rule", str(run.folder), "--beside", "0.01", "--out", "net.safetensors"]) == 0
    said = capsys.readouterr().out
    assert "Adam, 0.01" in said and said.count(" %") == 20 and (tmp_path / "net.safetensors").is_file()
    save_rule(load_run(run.folder)[0], tmp_path / "rule")  # type: ignore[arg-type]
    assert main([*words, "--rule", "rule", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["rule"]
    assert [each["step"] for each in told] == list(range(2, 21, 2)) and 0 <= told[-1]["accuracy"] <= 1
    assert main([*words, "--rule", "nowhere"]) == 2
    assert "nowhere is neither a folder of save_rule nor the name of a rule" in capsys.readouterr().err


def test_damaged_and_unknown_rules_are_refused(run: Run, tmp_path: Path) -> None:
    folder = save_rule(load_run(run.folder)[0], tmp_path / "rule")  # type: ignore[arg-type]
    text = (folder / "rule.json").read_text()
    (folder / "rule.json").write_text(text.replace('"width": 6', '"width": 7'))
    with pytest.raises(CheckpointError, match=r"rule\.json is damaged \(its values are not those"):
        load_rule(folder)
    content = json.loads(text)
    del content["sha256"]
    content["rule"] = "Unheard"
    (folder / "rule.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="unknown rule 'Unheard'; import the module that defines it"):
        load_rule(folder)
    content["rule"] = "FeedForwardRule"
    content["arguments"] = {"family": content["arguments"]["family"]}
    (folder / "rule.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"rule\.safetensors is damaged"):
        load_rule(folder)
