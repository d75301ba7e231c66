"""The demo, on a few networks: it prints its table, writes its pictures, and shuffling moves the flat MLP only."""

from pathlib import Path

import pytest
import yaml
from matplotlib.image import imread

from neural_graphs.commands.demonstration import PICTURES, configurations, run

EXPERIMENTS = Path(__file__).parents[1] / "experiments" / "inr_classification"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


def test_the_demo_tells_its_story(out, capsys) -> None:
    result = run(out, quick=True)
    said = capsys.readouterr().out
    assert set(result["models"]) == {"NG-GNN", "flat MLP"}
    assert result["models"]["NG-GNN"]["changed"] == 0
    assert result["models"]["NG-GNN"]["accuracy"] == result["models"]["NG-GNN"]["shuffled"]
    assert result["models"]["flat MLP"]["changed"] > 0
    assert all(text in said for text in ("test accuracy", "neurons shuffled", "predictions changed", "0 of "))
    for name in PICTURES:
        assert imread(out / name).std() > 0, name


def test_it_can_be_run_again_in_the_same_folder(out, capsys) -> None:
    shards = {file: file.stat().st_mtime_ns for file in (out / "zoo-quick").glob("shard-*")}
    result = run(out, quick=True)
    assert result["models"]["NG-GNN"]["changed"] == 0
    assert {file: file.stat().st_mtime_ns for file in (out / "zoo-quick").glob("shard-*")} == shards  # grown once


@pytest.mark.parametrize(("name", "file"), [("NG-GNN", "digits_nggnn.yaml"), ("flat MLP", "digits_flat_mlp.yaml")])
def test_the_experiment_files_are_what_the_demo_trains(name, file) -> None:
    written = yaml.safe_load((EXPERIMENTS / file).read_text(encoding="utf-8"))
    assert written == configurations(Path("zoos/digits"))[name]
