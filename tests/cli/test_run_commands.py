"""``neural-graphs fit | validate | test | predict``: what they keep, say and refuse."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from neural_graphs.commands.cli import main
from neural_graphs.commands.explain import explain
from neural_graphs.zoo import Zoo


def test_fit_keeps_the_overridden_configuration(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "lr: 0.01" in (run / "config.yaml").read_text(encoding="utf-8")
    assert (run / "checkpoints" / "best.ckpt").is_file()


def test_fit_resumes(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--run", str(folder)]) == 0
    assert main(["fit", "--config", str(config), "--run", str(folder)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["fit", "--run", str(folder), "--resume", "--trainer.max_epochs", "2"]) == 0
    assert len((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert f"test --run {folder}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--model.metanetwork.hiden", "[4]"],
            "metanetwork.hiden of neural_graphs.nn.baselines.FlatMLP; did you mean hidden?",
        ),
        (["--model.metanetwork.class_path", "neural_graphs.nn.baselines.FlatMPL"], "did you mean FlatMLP?"),
        (
            ["--model.metanetwork.hidden", "x"],
            "model.metanetwork.hidden: Expected a <class 'collections.abc.Sequence'>",
        ),
        (["--model.lrr", "1"], "unknown key model.lrr; did you mean lr?"),
        (["--data.batch_siz", "1"], "unknown key data.batch_siz; did you mean batch_size?"),
        (["--trainer.max_epochss", "1"], "unknown key trainer.max_epochss; did you mean max_epochs?"),
        (["--model.lr", "fast"], "model.lr"),
        (["--data.zoo", "nowhere"], "nowhere is not a zoo"),
        (["--trainer.logger", "lightning.pytorch.loggers.WandbLogger"], "pip install 'neural-graphs[wandb]'"),
        (
            ["--trainer.logger", "lightning.pytorch.loggers.TensorBoardLogger", "--trainer.logger.save_dir", "t"],
            "needs",
        ),
        (["--trainer.accelerator", "cuda", "--trainer.devices", "64"], "neural-graphs: error: "),
    ],
)
def test_fit_refuses_a_wrong_configuration(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "r"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "r" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "fit needs --config FILE"),
        (["--resume"], "fit --resume needs --run DIR"),
        (["--config", "nowhere.yaml"], "nowhere.yaml is no file"),
    ],
)
def test_fit_says_what_it_needs(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["fit", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_mistyped_head_of_a_key_is_answered_before_anything_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", "c.yaml", "--modle.lr", "1"])
    assert "did you mean --model?" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "networks"), [("validate", "val"), ("test", "test")])
def test_measuring_in_json(run: Path, capsys: pytest.CaptureFixture[str], command: str, networks: str) -> None:
    assert main([command, "--run", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["split"] == networks and 0 <= result["accuracy"] <= 1


def test_measuring_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--run", str(run)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 networks of the test split of ") and "\n  accuracy " in said and "true \\ said" in said


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> list[str]:
    """The same two networks in both formats."""
    folder = tmp_path_factory.mktemp("networks")
    states = Zoo(zoo).networks([0, 1]).state_dicts()
    save_file({name: tensor.contiguous() for name, tensor in states[0].items()}, folder / "a.safetensors")
    torch.save({name: tensor.clone() for name, tensor in states[1].items()}, folder / "b.pt")
    return [str(folder / "a.safetensors"), str(folder / "b.pt")]


def test_predict_in_all_formats(run: Path, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--run", str(run), *files, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in rows] == files
    assert all(abs(sum(row["probabilities"]) - 1) < 1e-5 for row in rows)
    assert main(["predict", "--run", str(run), *files, "--csv"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("file,class,p0,p1") and [line.split(",")[0] for line in table[1:]] == files
    assert main(["predict", "--run", str(run), *files]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == [str(row["class"]) for row in rows]


def test_predict_names_the_file_it_cannot_read(
    run: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(Path(files[0]).read_bytes()[:50])
    assert main(["predict", "--run", str(run), files[0], str(broken)]) == 2
    assert "broken.safetensors" in capsys.readouterr().err


def test_report_writes_a_page(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["report", "--run", str(run), "--out", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert "FlatMLP" in page.read_text(encoding="utf-8")


# -- what jsonargparse says ---------------------------------------------------------------------------------------

NESTED = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'lightning.pytorch.core.module.LightningModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'argparse.ArgumentParser':
        {}
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {{'some': 'thing'}}"""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            NESTED.format("Option 'eplog' is not accepted"),
            "model.eplog of argparse.ArgumentParser; did you mean epilog?",
        ),
        (
            NESTED.format("module 'json' has no attribute 'JSONDecode'"),
            "model: json has no class JSONDecode; did you mean JSONDecoder?",
        ),
        (
            "Group 'trainer' does not accept option 'max_epoch'",
            "unknown key trainer.max_epoch; did you mean max_epochs?",
        ),
        ("unrecognized arguments: --trainer.max_epoch=7", "unknown key trainer.max_epoch; did you mean max_epochs?"),
        (
            "Option 'dtaa.class_path' is not accepted",
            "unknown key dtaa; did you mean data? (known: model, data, trainer)",
        ),
        (
            "Parser key \"data.n\":\n  Expected a <class 'int'>. Got value: many",
            "data.n: Expected a <class 'int'>. Got value: many",
        ),
        ("Problems parsing config: while parsing\n  line 2", "Problems parsing config: while parsing line 2"),
    ],
)
def test_a_wrong_configuration_names_the_key_and_the_nearest(message: str, expected: str) -> None:
    assert expected in str(explain(message, {"model": None, "data": None, "trainer": "lightning.pytorch.Trainer"}))
