"""The metanetworks that come with the package: small, whole, made by committed files, and found by their names."""

import runpy
import shutil
from pathlib import Path

import pytest

from neural_graphs.commands.cli import main
from neural_graphs.errors import ConfigError
from neural_graphs.tasks import Pretrained, share
from neural_graphs.tasks.sharing import pretrained
from neural_graphs.tasks.sharing.pretrained import INSIDE, known

ROOT = Path(__file__).parents[2]
FORMER = ROOT / "tests" / "former"
LIMIT = 5_000_000  # bytes, together


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_they_are_small_together(tmp_path: Path) -> None:
    assert size(INSIDE) <= LIMIT
    (tmp_path / "large").write_bytes(bytes(LIMIT + 1))
    assert size(tmp_path) > LIMIT


@pytest.mark.parametrize("name", known())
def test_each_is_whole_and_tells_its_figures(name: str) -> None:
    trained = Pretrained(name)
    trained.task()
    assert trained.facts["figures"] and trained.facts["licence"] == "mit"


def test_each_is_made_by_an_experiment_file() -> None:
    experiments = runpy.run_path(str(ROOT / "experiments/pretrained/make.py"))["EXPERIMENTS"]
    assert set(known()) <= set(experiments)
    assert all((ROOT / "experiments" / file).is_file() for file in experiments.values())


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that brings two."""
    monkeypatch.setattr(pretrained, "INSIDE", tmp_path / "inside")
    for name, run in (("mnist-inr", "classification"), ("mnist-dilate", "editing")):
        share(FORMER / "runs" / run, tmp_path / "inside" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "inside"


def test_a_name_is_enough(inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(FORMER / "networks/digit.safetensors")
    assert main(["predict", "--pretrained", "mnist-inr", file, "--json"]) == 0
    said = capsys.readouterr().out
    assert main(["predict", "--run", str(FORMER / "runs/classification"), file, "--json"]) == 0
    assert capsys.readouterr().out == said
    assert main(["edit", "--pretrained", "mnist-dilate", file, "--out", "edited.safetensors"]) == 0
    assert Path("edited.safetensors").is_file() and Path("edited.png").is_file()


def test_a_mistyped_name_is_answered_with_the_nearest(inside: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean mnist-inr\? \(known: mnist-dilate, mnist-inr\)"):
        Pretrained("mnist-irn")


def test_a_folder_of_ones_own_comes_first(inside: Path, tmp_path: Path) -> None:
    shutil.copytree(inside / "mnist-dilate", tmp_path / "mnist-inr")
    assert type(Pretrained("mnist-inr").task()).__name__ == "Editing"
